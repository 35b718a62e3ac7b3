/**
 * Coins of probability exp(-x) for rational x, exactly: comparisons of uniform integers only.
 * Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Algorithm 1.
 *
 * Running time depends on the outcome and on x: do not time it on a secret.
 */
import type { RandomWords } from "./randomWords.ts";

/** Up to it uniform numbers below a denominator are drawn without big integers. */
const LARGEST_IN_DOUBLES = 2n ** 53n;

/** True with probability exp(-numerator / denominator); numerator >= 0, denominator > 0. */
export function bernoulliExp(numerator: bigint, denominator: bigint, words: RandomWords): boolean {
	let rest = numerator;
	while (rest > denominator) {
		if (!bernoulliExpSmall(1, 1, words)) return false;
		rest -= denominator;
	}
	if (denominator <= LARGEST_IN_DOUBLES) return bernoulliExpSmall(Number(rest), Number(denominator), words);
	let k = 1n;
	while (words.below(denominator * k) < rest) k++;
	return k % 2n === 1n;
}

/** True with probability 1/e. */
export function bernoulliExpOne(words: RandomWords): boolean {
	return bernoulliExpSmall(1, 1, words);
}

/**
 * For numerator <= denominator <= 2^53: the first k at which a coin of probability gamma / k fails is
 * odd. The coin is one of gamma and one of 1 / k, so that no product must stay exact.
 */
function bernoulliExpSmall(numerator: number, denominator: number, words: RandomWords): boolean {
	let k = 1;
	while (words.belowNumber(denominator) < numerator && words.belowNumber(k) === 0) k++;
	return k % 2 === 1;
}
