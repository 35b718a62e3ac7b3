/**
 * Randomized response over k categories (Warner 1965; k-ary: Kairouz, Bonawitz, Ramage 2016): the
 * answer is replaced by a uniform category with probability p, exactly.
 *
 * Unit: one person's answer replaced by any other (local privacy: nobody is trusted). Sensitivity:
 * the whole answer. Cost: `randomizedResponse` with k and p, which is ln(1 + k (1 - p) / p).
 *
 * Timing: a coin and a category are drawn for every answer, used or not.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { requireEpsilon } from "./scores.ts";

export interface RandomizedResponse extends Mechanism {
	readonly categories: number;
	/** p, a multiple of 2^-40. */
	readonly noiseProbability: number;
	/** @param answer a category, 0 .. k - 1 @throws AlthingError `privacy.bad_category` */
	respond(answer: number): number;
	/**
	 * Unbiased shares of the true answers.
	 * @param counts of the responses by category
	 * @returns for each category the estimated share of people and its standard error
	 * @throws AlthingError `privacy.wrong_length`, `privacy.bad_count` without any response
	 */
	estimate(counts: ArrayLike<number>): { readonly share: number; readonly standardError: number }[];
}

const STEPS = 2 ** 40;

/**
 * @param epsilon the probability is k / (e^epsilon + k - 1), rounded up to a multiple of 2^-40
 * @throws AlthingError `privacy.bad_epsilon` (also where nothing of an answer would be left), `privacy.bad_count` unless k is a whole number from 2 to 2^20
 */
export function randomizedResponse(
	{ epsilon, categories }: { readonly epsilon: number; readonly categories: number },
	words: RandomWords = new RandomWords(),
): RandomizedResponse {
	requireEpsilon(epsilon);
	if (!Number.isSafeInteger(categories) || categories < 2 || categories > 2 ** 20) {
		throw new AlthingError(
			"privacy.bad_count",
			`The number of categories must be a whole number from 2 to 2^20, not ${categories}.`,
			{ categories },
		);
	}
	// One step more than rounding up covers the rounding of the exponential itself.
	const steps = Math.min(STEPS, Math.ceil((categories / (Math.expm1(epsilon) + categories)) * STEPS) + 1);
	if (steps === STEPS) {
		throw new AlthingError(
			"privacy.bad_epsilon",
			`At epsilon ${epsilon} every answer would be pure noise. Use a larger one.`,
			{
				epsilon,
			},
		);
	}
	const noiseProbability = steps / STEPS;
	return {
		name: "randomized response",
		unit: "one person's answer replaced",
		sensitivity: 1,
		event: { kind: "randomizedResponse", categories, noiseProbability },
		categories,
		noiseProbability,
		respond: (answer) => {
			if (!Number.isSafeInteger(answer) || answer < 0 || answer >= categories) {
				throw new AlthingError(
					"privacy.bad_category",
					`An answer must be a category from 0 to ${categories - 1}. Map every answer outside the public list to one of its own first.`,
				);
			}
			const replaced = words.belowNumber(STEPS) < steps;
			const uniform = words.belowNumber(categories);
			return replaced ? uniform : answer;
		},
		estimate: (counts) => {
			if (counts.length !== categories) {
				throw new AlthingError(
					"privacy.wrong_length",
					`There are ${counts.length} counts for ${categories} categories.`,
				);
			}
			let people = 0;
			for (let i = 0; i < counts.length; i++) people += counts[i]!;
			if (!(people > 0))
				throw new AlthingError("privacy.bad_count", "There are no responses to estimate from.");
			const kept = 1 - noiseProbability;
			return Array.from({ length: categories }, (_, i) => {
				const seen = counts[i]! / people;
				return {
					share: (seen - noiseProbability / categories) / kept,
					standardError: Math.sqrt((seen * (1 - seen)) / people) / kept,
				};
			});
		},
	};
}
