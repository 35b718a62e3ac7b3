/**
 * The discrete Gaussian N_Z(0, sigma^2), P[X = x] proportional to exp(-x^2 / (2 sigma^2)),
 * sampled exactly: integer arithmetic on uniform words, no logarithm, no rounding.
 * Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Algorithms 1-3.
 *
 * It is the reference the bulk sampler is tested against, and it is slow (BigInt). Its running
 * time depends on the value drawn: never use it where its duration can be observed.
 */

import type { RandomWords } from "./randomWords.ts";
import { exactSquare } from "./rational.ts";

/**
 * One exact sample.
 * @param sigma standard deviation parameter in integer units; the double is taken as the exact fraction it is
 * @throws AlthingError `privacy.bad_sigma` unless 0 < sigma < infinity
 */
export function sampleExactGaussian(sigma: number, words: RandomWords): number {
	const { numerator, denominator } = exactSquare(sigma);
	const t = BigInt(Math.floor(sigma)) + 1n;
	// (|y| - sigma^2/t)^2 / (2 sigma^2) over the common denominator, sigma^2 = numerator/denominator.
	const bias = 2n * numerator * denominator * t * t;
	for (;;) {
		const y = discreteLaplace(t, words);
		const magnitude = y < 0n ? -y : y;
		const distance = magnitude * t * denominator - numerator;
		if (bernoulliExp(distance * distance, bias, words)) return Number(y);
	}
}

/** Discrete Laplace of scale t: P[X = x] proportional to exp(-|x| / t) (Algorithm 2, s = 1). */
function discreteLaplace(t: bigint, words: RandomWords): bigint {
	for (;;) {
		const u = words.below(t);
		if (!bernoulliExp(u, t, words)) continue;
		let v = 0n;
		while (bernoulliExp(1n, 1n, words)) v++;
		const magnitude = u + t * v;
		const negative = words.word() >>> 31 === 1;
		// Zero would be counted twice, once with each sign.
		if (negative && magnitude === 0n) continue;
		return negative ? -magnitude : magnitude;
	}
}

/** True with probability exp(-numerator / denominator), numerator >= 0 (Algorithm 1). */
function bernoulliExp(numerator: bigint, denominator: bigint, words: RandomWords): boolean {
	let rest = numerator;
	while (rest > denominator) {
		if (!bernoulliExpSmall(1n, 1n, words)) return false;
		rest -= denominator;
	}
	return bernoulliExpSmall(rest, denominator, words);
}

/** The same for numerator <= denominator: the first k at which Bernoulli(gamma / k) fails is odd. */
function bernoulliExpSmall(numerator: bigint, denominator: bigint, words: RandomWords): boolean {
	let k = 1n;
	while (words.below(denominator * k) < numerator) k++;
	return k % 2n === 1n;
}
