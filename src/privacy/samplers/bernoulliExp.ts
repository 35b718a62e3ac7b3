/**
 * Coins of probability exp(-x) for rational x, exactly: comparisons of uniform integers only.
 * Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Algorithm 1.
 *
 * Running time depends on the outcome and on x: do not time it on a secret.
 */
import type { RandomWords } from "./randomWords.ts";

/** Below it the whole of a coin is done in doubles, exactly: k stays far below 2^13 in any lifetime. */
const SMALL_DENOMINATOR = 2n ** 40n;

/** True with probability exp(-numerator / denominator); numerator >= 0, denominator > 0. */
export function bernoulliExp(numerator: bigint, denominator: bigint, words: RandomWords): boolean {
	let rest = numerator;
	while (rest > denominator) {
		if (!bernoulliExpSmall(1, 1, words)) return false;
		rest -= denominator;
	}
	if (denominator <= SMALL_DENOMINATOR) return bernoulliExpSmall(Number(rest), Number(denominator), words);
	let k = 1n;
	while (words.below(denominator * k) < rest) k++;
	return k % 2n === 1n;
}

/** True with probability 1/e. */
export function bernoulliExpOne(words: RandomWords): boolean {
	return bernoulliExpSmall(1, 1, words);
}

/** For numerator <= denominator <= 2^40: the first k at which Bernoulli(gamma / k) fails is odd. */
function bernoulliExpSmall(numerator: number, denominator: number, words: RandomWords): boolean {
	let k = 1;
	// Reaching k = 2^13 has probability 1 / (2^13)!; until then denominator * k < 2^53.
	while (words.belowNumber(denominator * k) < numerator) k++;
	return k % 2 === 1;
}
