/**
 * The discrete Gaussian N_Z(0, sigma^2), P[X = x] proportional to exp(-x^2 / (2 sigma^2)),
 * sampled exactly: integer arithmetic on uniform words, no logarithm, no rounding.
 * Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Algorithm 3.
 *
 * It is the reference the bulk sampler is tested against, and it is slow (BigInt). Its running
 * time depends on the value drawn: never use it where its duration can be observed.
 */
import { bernoulliExp } from "./bernoulliExp.ts";
import { sampleDiscreteLaplace } from "./discreteLaplace.ts";
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
		const y = sampleDiscreteLaplace({ numerator: t, denominator: 1n }, words);
		const magnitude = y < 0n ? -y : y;
		const distance = magnitude * t * denominator - numerator;
		if (bernoulliExp(distance * distance, bias, words)) return Number(y);
	}
}
