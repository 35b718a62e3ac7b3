/** How much noise a plan needs: the inverse of the accountant, always ending on the safe side. */
import { AlthingError } from "../../../crypto/error.ts";
import { gaussian, type PrivacyEvent, poissonSampled, selfComposed } from "./events.ts";
import { epsilonOf } from "./rdp.ts";

/** A run of equal rounds. */
export interface RoundsPlan {
	/** Target, > 0. */
	readonly epsilon: number;
	/** Target without the parts charged separately (sampler, noise shares), in (0, 1). */
	readonly delta: number;
	/** Of each record into each round, in (0, 1]; 1 for no secret sampling. */
	readonly samplingProbability: number;
	/** Number of rounds, an integer >= 1. */
	readonly steps: number;
}

const LEAST_MULTIPLIER = 0.05;
const LARGEST_MULTIPLIER = 1e6;
const RELATIVE_TOLERANCE = 1e-6;

/** The event one round of the plan is charged as. */
export function roundEvent(samplingProbability: number, noiseMultiplier: number): PrivacyEvent {
	const event = gaussian(noiseMultiplier);
	return samplingProbability === 1 ? event : poissonSampled(samplingProbability, event);
}

/**
 * Least noise multiplier (to 1e-6 relative, rounded up) whose `steps` rounds stay within
 * (epsilon, delta) by RDP accounting.
 * @throws AlthingError `privacy.bad_target` for an epsilon or step count out of range,
 *   `privacy.unreachable_target` when not even a multiplier of 1e6 is enough
 */
export function calibrateNoiseMultiplier(plan: RoundsPlan): number {
	const { epsilon, delta, samplingProbability, steps } = plan;
	if (!(epsilon > 0 && epsilon < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_target",
			`The target epsilon must be positive and finite, not ${epsilon}.`,
		);
	}
	if (!Number.isSafeInteger(steps) || steps < 1) {
		throw new AlthingError(
			"privacy.bad_target",
			`The number of rounds must be an integer from 1 upwards, not ${steps}.`,
		);
	}
	const meetsTarget = (multiplier: number): boolean =>
		epsilonOf(selfComposed(roundEvent(samplingProbability, multiplier), steps), delta) <= epsilon;

	let enough = 1;
	while (!meetsTarget(enough)) {
		enough *= 2;
		if (enough > LARGEST_MULTIPLIER) {
			throw new AlthingError(
				"privacy.unreachable_target",
				`No noise multiplier up to ${LARGEST_MULTIPLIER} gives epsilon ${epsilon} at delta ${delta} over ${steps} rounds. Allow a larger epsilon or delta, or fewer rounds.`,
				{ epsilon, delta, samplingProbability, steps },
			);
		}
	}
	let tooLittle = enough / 2;
	while (tooLittle >= LEAST_MULTIPLIER && meetsTarget(tooLittle)) {
		enough = tooLittle;
		tooLittle /= 2;
	}
	if (tooLittle < LEAST_MULTIPLIER) return enough;
	while (enough > tooLittle * (1 + RELATIVE_TOLERANCE)) {
		const middle = Math.sqrt(enough * tooLittle);
		if (meetsTarget(middle)) enough = middle;
		else tooLittle = middle;
	}
	return enough;
}
