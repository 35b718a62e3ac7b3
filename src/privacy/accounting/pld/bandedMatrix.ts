/** Banded matrix factorisation with Poisson sampling inside groups of records (Choquette-Choo et al. 2023). */
import { AlthingError } from "../../../../crypto/error.ts";
import { gaussian, type PrivacyEvent, poissonSampled, selfComposed } from "../events.ts";

/**
 * The event of `iterations` steps with noise of `bands` bands, the records dealt into `bands` groups that
 * take turns, each record sampled with `samplingProbability` whenever its group's turn comes. A record's
 * contributions never share a band, so the run costs as much as ceil(iterations / bands) sampled Gaussian steps.
 * @param noiseMultiplier for a strategy matrix whose columns have norm 1 at most
 * @throws AlthingError `privacy.bad_event`
 */
export function amplifiedBandedEvent(run: {
	readonly noiseMultiplier: number;
	readonly iterations: number;
	readonly bands: number;
	readonly samplingProbability: number;
}): PrivacyEvent {
	const { noiseMultiplier, iterations, bands, samplingProbability } = run;
	if (![iterations, bands].every((value) => Number.isSafeInteger(value) && value >= 1)) {
		throw new AlthingError(
			"privacy.bad_event",
			`Iterations and bands are integers from 1 upwards, not ${iterations} and ${bands}.`,
		);
	}
	return selfComposed(
		poissonSampled(samplingProbability, gaussian(noiseMultiplier)),
		Math.ceil(iterations / bands),
	);
}
