/**
 * The symmetric Skellam law: the difference of two independent Poisson variables of equal mean,
 * sampled exactly. Closed under sums, so shares of it add up to it whoever drops out (Agarwal,
 * Kairouz, Liu 2021). Timing: as for `poisson.ts`.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { poisson } from "./poisson.ts";
import { RandomWords } from "./randomWords.ts";

/**
 * A sampler of one variance.
 * @param variance integer units squared
 * @throws AlthingError `privacy.bad_variance` unless 0 < variance <= 2^41
 */
export function skellam(variance: number): (words: RandomWords) => number {
	if (!(variance > 0 && variance <= 2 ** 41 && variance / 2 > 0)) {
		throw new AlthingError(
			"privacy.bad_variance",
			`The variance of Skellam noise must be above 0 and at most 2^41, not ${variance}.`,
			{ variance },
		);
	}
	// Halving a double is exact.
	const sample = poisson(variance / 2);
	return (words) => sample(words) - sample(words);
}

/** `target` becomes independent samples from the system CSPRNG. */
export function fillSkellam(
	target: Float64Array,
	variance: number,
	words: RandomWords = new RandomWords(),
): void {
	const sample = skellam(variance);
	for (let i = 0; i < target.length; i++) target[i] = sample(words);
}
