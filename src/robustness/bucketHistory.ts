/**
 * Participation history: who was in buckets whose mean stood out, round after round, of buckets that are dealt
 * anew each time. An attacker takes whatever bucket it is in with it; an honest participant only the share
 * of times that it meets one there.
 */
import { ascending, medianOf, norm, type Vectors } from "./vectors.ts";

/** Weight of the past in a score. */
const DECAY = 0.9;
/** A bucket stands out by more than so many median absolute deviations from the median distance. */
const DEVIATIONS = 6;
/** Nobody is set aside below this share of its recent buckets. */
const LEAST_SCORE = 0.6;

/**
 * Which buckets stand out from the aggregate: by distance, in units of what the mean of so many varies by.
 * @param sizes members of each bucket
 */
export function outlyingBuckets(
	means: Vectors,
	sizes: readonly number[],
	aggregate: Float64Array,
): boolean[] {
	const distances = means.map((mean, bucket) => {
		const difference = Float64Array.from(mean, (value, i) => value - aggregate[i]!);
		return norm(difference) * Math.sqrt(sizes[bucket]!);
	});
	const middle = medianOf(distances);
	const spread = medianOf(distances.map((distance) => Math.abs(distance - middle)));
	return distances.map((distance) => distance > middle + DEVIATIONS * spread);
}

/**
 * Scores after a round: for each participant the share of its recent buckets that stood out.
 * @param buckets participants of each, as places
 * @param outlying as {@link outlyingBuckets} says
 */
export function nextHistory(
	scores: Float64Array,
	buckets: readonly (readonly number[])[],
	outlying: readonly boolean[],
): Float64Array {
	const next = scores.slice();
	for (const [bucket, members] of buckets.entries())
		for (const member of members)
			next[member] = DECAY * next[member]! + (1 - DECAY) * Number(outlying[bucket]);
	return next;
}

/** Whom a history sets aside: at most `most`, those with the highest scores; sorted places. */
export function setAsideByHistory(scores: Float64Array, most: number): number[] {
	const highest = ascending(scores.map((score) => -score)).slice(0, most);
	return highest.filter((place) => scores[place]! > LEAST_SCORE).sort((a, b) => a - b);
}
