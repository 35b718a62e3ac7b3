/**
 * The Poisson law, sampled exactly by rejection from blocks of geometrically falling height.
 *
 * Let m = floor(mean) and p the probabilities. To the right of m the ratio p(k+1) / p(k) =
 * mean / (k+1) is below 1 and falls; to the left p(k-1) / p(k) = k / mean likewise. Choose a
 * width w such that w steps from m, to either side, at least halve p. Then, with sides
 * k = m + j and k = m - 1 - j for j >= 0,
 *
 *     p(k) <= p(m) 2^-floor(j / w),
 *
 * so a fair side, a block b with P[b] = 2^-(b+1), a uniform place in the block and a coin of
 * probability 2^b p(k) / p(m) give k with its exact probability. The coin's probability is a
 * product of j + 1 fractions at most; doubles bound it to a relative 2^-50 (j + 1), a uniform
 * of 53 bits decides unless it falls into that gap, and then integers do. About half the
 * proposals are accepted; each costs O(sqrt(mean)) multiplications (CPU time a sample: 0.2 us at
 * mean 1, 0.8 us at 10^4, 5 us at 10^6, 0.15 ms at 10^9).
 *
 * Running time depends on the value drawn: never sample where the duration can be observed.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { RandomWords } from "./randomWords.ts";
import { exactFraction } from "./rational.ts";

const LARGEST_MEAN = 2 ** 40;

/**
 * A sampler of one mean.
 * @param mean the double is taken as the exact fraction it is
 * @throws AlthingError `privacy.bad_mean` unless 0 < mean <= 2^40
 */
export function poisson(mean: number): (words: RandomWords) => number {
	if (!(mean > 0 && mean <= LARGEST_MEAN)) {
		throw new AlthingError(
			"privacy.bad_mean",
			`The mean of a Poisson law must be above 0 and at most 2^40, not ${mean}.`,
			{ mean },
		);
	}
	const mode = Math.floor(mean);
	const width = halvingWidth(mean, mode);
	return (words) => {
		for (;;) {
			const right = words.word() >>> 31 === 1;
			const block = zerosBeforeOne(words);
			const distance = block * width + words.belowNumber(width);
			const value = right ? mode + distance : mode - 1 - distance;
			if (value >= 0 && accepts(mean, mode, value, block, words)) return value;
		}
	};
}

/** Number of fair coins that fall zero before the first one. */
function zerosBeforeOne(words: RandomWords): number {
	let zeros = 0;
	for (;;) {
		const word = words.word();
		if (word !== 0) return zeros + Math.clz32(word);
		zeros += 32;
	}
}

/**
 * A number of steps that halves the probability on both sides. The product is rounded by less
 * than a relative 1e-10 over any width that occurs (w ~ 1.2 sqrt(mean) <= 2^21), hence 0.499.
 */
function halvingWidth(mean: number, mode: number): number {
	let right = 1;
	let left = 1;
	let width = 0;
	while (right > 0.499 || left > 0.499) {
		right *= mean / (mode + width + 1);
		left *= Math.max(0, mode - width) / mean;
		width++;
	}
	return width;
}

/** A coin of probability 2^block p(value) / p(mode), exactly. */
function accepts(mean: number, mode: number, value: number, block: number, words: RandomWords): boolean {
	let product = 2 ** block;
	if (value >= mode) for (let k = mode + 1; k <= value; k++) product *= mean / k;
	else for (let k = mode; k > value; k--) product *= k / mean;
	// Each factor is a correctly rounded quotient and product, (1 + 2^-53)^2 a step; the last term is for underflow.
	const error = product * (Math.abs(value - mode) + 1) * 2 ** -51 + 2 ** -1000;
	const uniform = words.word53();
	if ((uniform + 1) * 2 ** -53 <= product - error) return true;
	if (uniform * 2 ** -53 >= product + error) return false;
	return exactlyBelow(uniform, exactRatio(mean, mode, value, block), words);
}

/** Whether (uniform + V) / 2^53 < numerator / denominator for a V uniform in [0, 1). */
function exactlyBelow(
	uniform: number,
	{ numerator, denominator }: { readonly numerator: bigint; readonly denominator: bigint },
	words: RandomWords,
): boolean {
	const rest = (numerator << 53n) - BigInt(uniform) * denominator;
	if (rest <= 0n) return false;
	return rest >= denominator || words.below(denominator) < rest;
}

function exactRatio(mean: number, mode: number, value: number, block: number) {
	const exact = exactFraction(mean);
	let numerator = 1n << BigInt(block);
	let denominator = 1n;
	for (let k = mode + 1; k <= value; k++) {
		numerator *= exact.numerator;
		denominator *= exact.denominator * BigInt(k);
	}
	for (let k = mode; k > value; k--) {
		numerator *= BigInt(k) * exact.denominator;
		denominator *= exact.numerator;
	}
	return { numerator, denominator };
}
