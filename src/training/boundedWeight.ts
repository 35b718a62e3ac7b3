/**
 * Weights by records under a norm bound. A claimed number of records is a lever as long as nothing holds it:
 * here the weight is one more coordinate of the vector whose length is enforced, and an update and its weight
 * are shortened together, so that a site with much to say keeps its direction and weighs less.
 *
 * A site of s in (0, 1] sends (s u, s b / 2) within the round's bound b: s is its records over the job's
 * largestWeight. Whoever lies about s or u moves the sum of updates by b at most, as under equal weights, and the
 * sum of weights by 2 at most, up or down. The mean's divisor is never below an eighth of the sites, so that
 * weights that cancel others cannot make a step of nothing.
 */
import type { ResolvedJobSpec } from "./jobSpec.ts";

/** Part of the bound that the whole weight takes up in the vector. */
const WEIGHT_PART = 0.5;
/** Share of the survivors that the divisor is at least. */
const LEAST_SHARE = 0.125;

/** Records from which on a site weighs no more; undefined where sites weigh alike or without a bound. */
export function boundedWeightOf({ robustness }: Pick<ResolvedJobSpec, "robustness">): number | undefined {
	return robustness?.mode === "norm_bound" ? robustness.largestWeight : undefined;
}

/**
 * @param share s, in [0, 1]
 * @param bound b, of the round
 * @returns the weighted update and behind it the weight, at most `bound` long
 */
export function weightedWithin(update: ArrayLike<number>, share: number, bound: number): Float64Array {
	const vector = new Float64Array(update.length + 1);
	let squares = 0;
	for (let i = 0; i < update.length; i++) {
		const value = share * (update[i] as number);
		vector[i] = value;
		squares += value * value;
	}
	const weight = share * bound * WEIGHT_PART;
	vector[update.length] = weight;
	const factor = Math.min(1, bound / Math.sqrt(squares + weight * weight));
	return factor < 1 ? vector.map((value) => value * factor) : vector;
}

/**
 * What the sum of weighted updates is divided by.
 * @param weight the sum of the last coordinates
 */
export function weightedDivisor(weight: number, bound: number, survivors: number): number {
	return Math.max(weight / (bound * WEIGHT_PART), LEAST_SHARE * survivors);
}
