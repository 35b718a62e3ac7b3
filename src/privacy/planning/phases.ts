/** What a plan allocates a budget to: phases of equal rounds, and the events they are charged as. */
import { AlthingError } from "../../../crypto/error.ts";
import { composed, gaussian, type PrivacyEvent, poissonSampled, selfComposed } from "../accounting/events.ts";

export interface Phase {
	readonly name: string;
	/** Releases of this phase, all with the same noise; an integer >= 1. */
	readonly rounds: number;
	/** Of each record into each round, in (0, 1]; 1 without secret sampling. */
	readonly samplingProbability: number;
	/** L2 sensitivity S of one release, in the units its noise is counted in, > 0. */
	readonly sensitivity: number;
	/** w: utility lost per round for each unit of noise variance, > 0. */
	readonly weight: number;
}

/** @throws AlthingError `privacy.bad_plan` for no phases or a figure out of range */
export function requirePhases(phases: readonly Phase[]): void {
	const refuse = (why: string): never => {
		throw new AlthingError("privacy.bad_plan", `The budget cannot be allocated: ${why}.`);
	};
	const finite = (value: number) => value > 0 && value < Number.POSITIVE_INFINITY;
	if (phases.length === 0) refuse("there is no phase");
	for (const { name, rounds, samplingProbability, sensitivity, weight } of phases) {
		if (!Number.isSafeInteger(rounds) || rounds < 1) refuse(`phase ${name} has ${rounds} rounds`);
		if (!(samplingProbability > 0 && samplingProbability <= 1)) {
			refuse(`phase ${name} samples with probability ${samplingProbability}, not in (0, 1]`);
		}
		if (!finite(sensitivity)) refuse(`phase ${name} has sensitivity ${sensitivity}`);
		if (!finite(weight)) refuse(`phase ${name} has weight ${weight}`);
	}
}

/**
 * Everything that phases release with these noise multipliers. Unsampled Gaussians are one
 * Gaussian together, 1/z^2 adding up, which saves the accountant work and loses nothing.
 */
export function eventOfPhases(phases: readonly Phase[], noiseMultipliers: readonly number[]): PrivacyEvent {
	let precision = 0;
	const sampled = phases.flatMap(({ samplingProbability, rounds }, i) => {
		const multiplier = noiseMultipliers[i]!;
		if (samplingProbability === 1) {
			precision += rounds / multiplier ** 2;
			return [];
		}
		return [selfComposed(poissonSampled(samplingProbability, gaussian(multiplier)), rounds)];
	});
	// Rounded so that the one Gaussian never has more noise than all of them.
	const together = precision === 0 ? [] : [gaussian((1 / Math.sqrt(precision)) * (1 - 2 ** -48))];
	return composed(...together, ...sampled);
}
