/**
 * Reputation by direction: who has been pulling against, or running ahead of, what the federation
 * certified, for many rounds. Of each participant it needs one number a round, the inner product of its
 * bounded update with the last certified aggregate, and no pair of participants is compared. So it fits
 * secure aggregation at any size: one public projection of each input, besides the norm's.
 *
 * Attackers that push against the aggregate (sign flip, inner-product manipulation) get low scores. Those
 * that push elsewhere together bend the aggregate towards themselves in time, and get high ones. What
 * keeps a middling score for long harms little, being bounded and neither for nor against.
 */
import { AlthingError } from "../../crypto/error.ts";
import { ascending, dot, medianOf, norm } from "./vectors.ts";

/** Weight of the past: an average over about ten rounds. */
const DECAY = 0.9;
/** Farther than so many median absolute deviations from the median is an outlier. */
const DEVIATIONS = 4;

/** By participant, in a fixed order; each in [-1, 1], 0 at first. */
export type Reputations = Float64Array;

/**
 * How far an update agrees with the last certified aggregate m: <x, m> / (|m| bound), 0 without an m yet.
 * @param update of an L2 norm of at most `bound`, > 0
 */
export function alignment(update: Float64Array, aggregate: Float64Array, bound: number): number {
	const length = norm(aggregate);
	return length > 0 ? dot(update, aggregate) / (length * bound) : 0;
}

/**
 * The scores after a round: r <- 0.9 r + 0.1 a for those who were seen.
 * @param alignments one for each participant, undefined for who sent nothing; clamped to [-1, 1]
 * @throws AlthingError `robustness.bad_argument` for another number of participants or what is no number
 */
export function nextReputations(
	reputations: Reputations,
	alignments: readonly (number | undefined)[],
): Reputations {
	if (alignments.length !== reputations.length || alignments.some((one) => Number.isNaN(one))) {
		throw new AlthingError(
			"robustness.bad_argument",
			`There are ${reputations.length} reputations, and not as many alignments that are numbers.`,
		);
	}
	return reputations.map((score, i) => {
		const seen = alignments[i];
		return seen === undefined ? score : DECAY * score + (1 - DECAY) * Math.min(1, Math.max(-1, seen));
	});
}

/**
 * Who is left out: the farthest from the median score, on either side, at most f of them, and nobody
 * within four median absolute deviations.
 * @param attackers f, below half of the participants
 * @returns sorted indices
 * @throws AlthingError `robustness.too_many_attackers`
 */
export function excludedByReputation(reputations: Reputations, attackers: number): number[] {
	if (!(2 * attackers < reputations.length)) {
		throw new AlthingError(
			"robustness.too_many_attackers",
			`Medians of ${reputations.length} scores do not stand ${attackers} attackers: fewer robustness.attackers, or more participants.`,
			{ vectors: reputations.length, attackers },
		);
	}
	const middle = medianOf(reputations);
	const distances = reputations.map((score) => Math.abs(score - middle));
	const limit = DEVIATIONS * medianOf(distances);
	return ascending(distances)
		.reverse()
		.slice(0, attackers)
		.filter((index) => distances[index]! > limit)
		.sort((a, b) => a - b);
}
