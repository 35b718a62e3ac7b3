/**
 * The k candidates of highest score, by peeling: k exponential mechanisms, each without what was
 * already taken (the same law as k largest scores with Gumbel noise in one shot, Durfee, Rogers 2019).
 *
 * Unit: one record added or removed, which may move every score by up to the sensitivity. Cost:
 * `epsilon` divided evenly: k times (epsilon / k)-bounded range. Where a record counts for one
 * candidate only, noisy counts of all of them (src/queries, kind topK) cost less.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { selfComposed } from "../accounting/events.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import { exponentialMechanism } from "./exponential.ts";
import type { Mechanism } from "./mechanism.ts";
import type { SelectionRequest } from "./scores.ts";

export interface TopK extends Mechanism {
	/** @returns k indices, in the order they were taken @throws AlthingError `privacy.bad_scores` */
	select(scores: ArrayLike<number>): number[];
}

/**
 * @param request epsilon is that of all k together
 * @throws AlthingError `privacy.bad_count` unless k is a whole number from 1, `privacy.bad_epsilon`, `privacy.bad_sensitivity`
 */
export function topK(
	request: SelectionRequest & { readonly k: number },
	words: RandomWords = new RandomWords(),
): TopK {
	const { k } = request;
	if (!Number.isSafeInteger(k) || k < 1) {
		throw new AlthingError("privacy.bad_count", `k must be a whole number from 1 upwards, not ${k}.`, { k });
	}
	const single = exponentialMechanism({ ...request, epsilon: request.epsilon / k }, words);
	return {
		name: "top k by peeling",
		unit: single.unit,
		sensitivity: request.sensitivity,
		event: selfComposed(single.event, k),
		select: (scores) => {
			if (scores.length < k) {
				throw new AlthingError(
					"privacy.bad_scores",
					`There are ${scores.length} candidates, fewer than the ${k} asked for.`,
				);
			}
			const left = Array.from({ length: scores.length }, (_, index) => index);
			return Array.from({ length: k }, () => {
				const [taken] = left.splice(single.select(left.map((index) => scores[index]!)), 1);
				return taken!;
			});
		},
	};
}
