/**
 * Reputation by direction: who has been pulling against, or running ahead of, what the federation
 * certified, for many rounds. Of each participant it needs one number a round, the inner product of its
 * bounded update with the last certified aggregate, and no pair of participants is compared. So it fits
 * secure aggregation at any size: one public projection of each input, besides the norm's.
 *
 * Attackers that push against the aggregate (sign flip, inner-product manipulation) get low scores. Those
 * that push elsewhere together bend the aggregate towards themselves in time, and get high ones. What
 * keeps a middling score for long harms little, being bounded and neither for nor against.
 *
 * A score alone forgets: when training has converged everybody's is near zero, and attackers found long before
 * are back. And who is left out pulls against an aggregate without it, comes back, and bends it again: the two
 * sides cancel in its score. So a standing remembers over about fifty rounds how far a score has been out, on
 * either side. It is kept from when scores have settled: before that the aggregate may be the attackers', and
 * whom they make look bad would not get in again.
 */
import { AlthingError } from "../../crypto/error.ts";
import { ascending, dot, medianOf, norm } from "./vectors.ts";

/** Weight of the past: an average over about ten rounds. */
const DECAY = 0.9;
/** Farther than so many median absolute deviations from the median is an outlier. */
const DEVIATIONS = 4;
/** Rounds after which little is left in a score of what it began with, 0.9^20. */
const SETTLED_AFTER_ROUNDS = 20;
/** Weight of the past in a standing: an average over about fifty rounds. */
const STANDING_DECAY = 0.98;
/** No round counts for more deviations than that. */
const MOST_DEVIATIONS = 10;
/** A standing above so many times the median one is an outlier's. */
const STANDINGS = 3;

/** By participant, in a fixed order; each in [-1, 1], 0 at first. */
export type Reputations = Float64Array;

/** By participant, in the same order; each in [0, 10], 0 at first: how many deviations its score has been out. */
export type Standings = Float64Array;

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
 * Who is left out, at most f: the farthest from the median score, on either side, beyond four median absolute
 * deviations; and in the places that are left those of the largest standings, above three times the median one.
 * @param attackers f, below half of the participants
 * @param standings before the round; of nobody where there are none yet
 * @returns sorted indices
 * @throws AlthingError `robustness.too_many_attackers`
 */
export function excludedByReputation(
	reputations: Reputations,
	attackers: number,
	standings: Standings = new Float64Array(reputations.length),
): number[] {
	if (!(2 * attackers < reputations.length)) {
		throw new AlthingError(
			"robustness.too_many_attackers",
			`Medians of ${reputations.length} scores do not stand ${attackers} attackers: fewer robustness.attackers, or more participants.`,
			{ vectors: reputations.length, attackers },
		);
	}
	const now = largestAbove(distancesFromMedian(reputations), DEVIATIONS);
	const before = largestAbove(standings, STANDINGS).filter((index) => !now.includes(index));
	return [...now, ...before].slice(0, attackers).sort((a, b) => a - b);
}

/**
 * The standings after a round: s <- 0.98 s + 0.02 z for those who were seen, z being how many median absolute
 * deviations the score is from the median, of those who were seen, and 10 at most. None in the first 20 rounds.
 * @param standings undefined before the first
 * @param reputations after the round
 * @param seen who counts, one for each participant; the others' standings stay
 * @param round of the job, from 0
 * @throws AlthingError `robustness.bad_argument` for numbers of participants that differ
 */
export function nextStandings(
	standings: Standings | undefined,
	reputations: Reputations,
	seen: readonly boolean[],
	round: number,
): Standings | undefined {
	if (round < SETTLED_AFTER_ROUNDS) return undefined;
	const next = standings?.slice() ?? new Float64Array(reputations.length);
	if (next.length !== reputations.length || seen.length !== reputations.length) {
		throw new AlthingError(
			"robustness.bad_argument",
			`There are ${next.length} standings of ${reputations.length} participants, of whom ${seen.length} may have been seen.`,
		);
	}
	const places = [...seen.keys()].filter((place) => seen[place]);
	if (places.length === 0) return next;
	const distances = distancesFromMedian(Float64Array.from(places, (place) => reputations[place]!));
	const deviation = medianOf(distances);
	for (const [k, place] of places.entries()) {
		const distance = distances[k]!;
		const deviations = distance > 0 ? Math.min(MOST_DEVIATIONS, distance / deviation) : 0;
		next[place] = STANDING_DECAY * next[place]! + (1 - STANDING_DECAY) * deviations;
	}
	return next;
}

function distancesFromMedian(values: Float64Array): Float64Array {
	const middle = medianOf(values);
	return values.map((value) => Math.abs(value - middle));
}

/** Indices of what is above so many times the median, the largest first. */
function largestAbove(values: Float64Array, times: number): number[] {
	const limit = times * medianOf(values);
	return ascending(values)
		.reverse()
		.filter((index) => values[index]! > limit);
}
