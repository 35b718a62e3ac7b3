/**
 * Exact selection: index i with probability proportional to multiplicity_i exp(-rate gap_i).
 *
 * A uniform number of 192 bits is compared with the cumulative weights, of which integer bounds
 * are known; where it falls between the bounds (a chance below 2^-100), more bits of the same
 * uniform number and tighter bounds decide. So the outcome has exactly the stated law.
 *
 * Timing: a few operations on big integers an item, by the length of its gap, plus one series for
 * each digit of a gap (base 1024) not met before. The time says something of how far apart and how
 * many the distinct scores are; rejection sampling would say how concentrated they are, which is
 * more. Select off the request path all the same.
 */
import type { RandomWords } from "../samplers/randomWords.ts";
import type { Rational } from "../samplers/rational.ts";
import { type Bounds, ExponentialWeights } from "./exponentialWeights.ts";

const FIRST_BITS = 192;

export interface WeightedItems {
	/** Largest score minus the item's, >= 0, safe integers. */
	readonly gaps: Float64Array;
	/** How often each item counts, integers >= 0, not all zero; absent: once each. */
	readonly multiplicities?: Float64Array | undefined;
}

/** Selects at one rate; keeps the exponentials it has computed. */
export class ExactSelection {
	readonly #rate: Rational;
	readonly #weights: ExponentialWeights;

	/** @param rate >= 0 */
	constructor(rate: Rational) {
		this.#rate = rate;
		this.#weights = new ExponentialWeights(rate, FIRST_BITS);
	}

	select(items: WeightedItems, words: RandomWords): number {
		let uniform = 0n;
		let drawn = 0;
		let weights = this.#weights;
		for (let bits = FIRST_BITS; ; bits *= 2, weights = new ExponentialWeights(this.#rate, bits)) {
			for (; drawn < bits; drawn += 32) uniform = (uniform << 32n) | BigInt(words.word());
			const index = decide(cumulativeBounds(items, weights), uniform, BigInt(bits));
			if (index !== undefined) return index;
		}
	}
}

/** Bounds of the sums of the first 0, 1, .. items' weights. */
function cumulativeBounds({ gaps, multiplicities }: WeightedItems, weights: ExponentialWeights): Bounds[] {
	let low = 0n;
	let high = 0n;
	const sums: Bounds[] = [{ low, high }];
	for (const [i, gap] of gaps.entries()) {
		const weight = weights.at(gap);
		const times = BigInt(multiplicities?.[i] ?? 1);
		low += weight.low * times;
		high += weight.high * times;
		sums.push({ low, high });
	}
	return sums;
}

/**
 * The index i with C_(i-1) <= U C_n < C_i for U in [uniform, uniform + 1) / 2^bits, if the bounds
 * prove one; undefined if they do not.
 */
function decide(sums: readonly Bounds[], uniform: bigint, bits: bigint): number | undefined {
	const total = sums.at(-1)!;
	const most = (uniform + 1n) * total.high;
	// The lower bounds increase: binary search for the first that is certainly above.
	let low = 0;
	let high = sums.length - 1;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (sums[middle + 1]!.low << bits >= most) high = middle;
		else low = middle + 1;
	}
	if (low === sums.length - 1) return undefined;
	return sums[low]!.high << bits <= uniform * total.low ? low : undefined;
}
