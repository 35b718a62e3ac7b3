/**
 * The discrete Laplace law, P[X = x] proportional to exp(-|x| / scale) on the integers (the
 * two-sided geometric law), sampled exactly: no logarithm of a uniform double, which is how
 * Mironov 2012 broke the textbook sampler. Canonne, Kamath, Steinke 2020, Algorithm 2.
 *
 * Running time depends on the value drawn: never sample where the duration can be observed.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { bernoulliExp, bernoulliExpOne } from "./bernoulliExp.ts";
import { RandomWords } from "./randomWords.ts";
import { exactFraction, type Rational } from "./rational.ts";

/** Beyond 2^53 no sample could be a double; at this scale that has probability exp(-8192). */
const LARGEST_SCALE = 2 ** 40;

/**
 * A sampler of one scale.
 * @param scale in integer units; the double is taken as the exact fraction it is
 * @throws AlthingError `privacy.bad_scale` unless 0 < scale <= 2^40
 */
export function discreteLaplace(scale: number): (words: RandomWords) => number {
	if (!(scale > 0 && scale <= LARGEST_SCALE)) {
		throw new AlthingError(
			"privacy.bad_scale",
			`The scale of Laplace noise must be above 0 and at most 2^40 integer units, not ${scale}.`,
			{ scale },
		);
	}
	const fraction = exactFraction(scale);
	return (words) => Number(sampleDiscreteLaplace(fraction, words));
}

/** `target` becomes independent samples from the system CSPRNG. */
export function fillDiscreteLaplace(
	target: Float64Array,
	scale: number,
	words: RandomWords = new RandomWords(),
): void {
	const sample = discreteLaplace(scale);
	for (let i = 0; i < target.length; i++) target[i] = sample(words);
}

/** One sample, scale = numerator / denominator. */
export function sampleDiscreteLaplace({ numerator, denominator }: Rational, words: RandomWords): bigint {
	for (;;) {
		const u = words.below(numerator);
		if (!bernoulliExp(u, numerator, words)) continue;
		let v = 0n;
		while (bernoulliExpOne(words)) v++;
		const magnitude = (u + numerator * v) / denominator;
		const negative = words.word() >>> 31 === 1;
		// Zero would be counted twice, once with each sign.
		if (negative && magnitude === 0n) continue;
		return negative ? -magnitude : magnitude;
	}
}
