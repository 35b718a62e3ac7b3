/**
 * The exponential mechanism (McSherry, Talwar 2007): candidate i with probability proportional to
 * exp(eta score_i), exactly (selection.ts).
 *
 * Unit: one record added or removed. Sensitivity: as stated by the caller, in whole units of score.
 * Cost: epsilon-bounded range, which composes better than plain epsilon (Durfee, Rogers 2019): the
 * log-ratio of the probabilities between neighbours is eta (score_i - score'_i) plus a constant, and
 * the first term ranges over 2 sensitivity, or over 1 sensitivity when all move to the same side.
 */
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { gapsOf, type SelectionRequest, selectionRate } from "./scores.ts";
import { ExactSelection } from "./selection.ts";

export interface ExponentialMechanism extends Mechanism {
	/**
	 * @param scores whole numbers
	 * @param multiplicities how many candidates stand behind each score, whole numbers
	 * @returns the index chosen
	 * @throws AlthingError `privacy.bad_scores`
	 */
	select(scores: ArrayLike<number>, multiplicities?: Float64Array): number;
}

/** @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_sensitivity` */
export function exponentialMechanism(
	request: SelectionRequest,
	words: RandomWords = new RandomWords(),
): ExponentialMechanism {
	const selection = new ExactSelection(selectionRate(request));
	return {
		name: "exponential mechanism",
		unit: "one record added or removed",
		sensitivity: request.sensitivity,
		event: { kind: "boundedRange", epsilon: request.epsilon },
		select: (scores, multiplicities) => selection.select({ gaps: gapsOf(scores), multiplicities }, words),
	};
}
