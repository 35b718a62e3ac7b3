/**
 * Permute-and-flip (McKenna, Sheldon 2020): candidates in random order, each taken with
 * probability exp(-eta (largest - score)), exactly; never worse than the exponential mechanism in
 * expected score at the same epsilon, though it composes like Laplace noise.
 *
 * Unit: one record added or removed. Sensitivity: as stated by the caller, in whole units of score.
 * Cost: `permuteAndFlip` at epsilon (dominated by Laplace noise of scale 1 / epsilon); with monotone
 * scores, for which that domination is not shown, plain epsilon.
 *
 * Timing: the number of coins tossed before one is taken depends on the scores, as the algorithm
 * has it. Select off the request path.
 */
import { bernoulliExp } from "../samplers/bernoulliExp.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { gapsOf, type SelectionRequest, selectionRate } from "./scores.ts";

export interface PermuteAndFlip extends Mechanism {
	/** @returns the index chosen @throws AlthingError `privacy.bad_scores` */
	select(scores: ArrayLike<number>): number;
}

/** @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_sensitivity` */
export function permuteAndFlip(
	request: SelectionRequest,
	words: RandomWords = new RandomWords(),
): PermuteAndFlip {
	const { numerator, denominator } = selectionRate(request);
	const { epsilon, sensitivity, monotone } = request;
	return {
		name: "permute-and-flip",
		unit: "one record added or removed",
		sensitivity,
		event: { kind: monotone ? "pureDp" : "permuteAndFlip", epsilon },
		select: (scores) => {
			const gaps = gapsOf(scores);
			const order = Uint32Array.from(gaps.keys());
			// Fisher-Yates, one step a candidate; a largest score is taken with certainty, so the loop returns.
			for (let placed = 0; ; placed++) {
				const drawn = placed + words.belowNumber(order.length - placed);
				const candidate = order[drawn]!;
				order[drawn] = order[placed]!;
				if (bernoulliExp(numerator * BigInt(gaps[candidate]!), denominator, words)) return candidate;
			}
		},
	};
}
