/** The point of least total distance to the vectors (Pillutla, Kakade, Harchaoui 2022, RFA). */
import { requireBreakdown } from "./breakdown.ts";
import { type PairMatrix, squaredDistances } from "./gram.ts";
import { addScaled, medianOf, requireVectors, type Vectors } from "./vectors.ts";

/** Steps at most; a few do for the accuracy that training needs. */
const MAXIMUM_STEPS = 100;
/** A step shorter than this share of the median distance is the last. */
const TOLERANCE = 1e-7;
/** Distances count at least this share of the median one, so that no weight grows without bound. */
const SMOOTHING = 1e-6;

/**
 * Smoothed Weiszfeld iteration from the mean. Within 2 (n - f) / (n - 2 f) times the largest honest
 * distance from any point, whatever the attackers send.
 *
 * The vectors' distances to a weighted mean of them follow from those to each other, so that the steps
 * work on n weights: the vectors themselves are read for the n^2 / 2 pairs, and once for the result.
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function geometricMedian(vectors: Vectors, attackers: number): Float64Array {
	const length = requireVectors(vectors);
	requireBreakdown("geometric_median", vectors.length, attackers);
	const pairs = squaredDistances(vectors);
	let weights = new Float64Array(vectors.length).fill(1 / vectors.length);
	for (let step = 0; step < MAXIMUM_STEPS; step++) {
		const distances = distancesTo(weights, pairs);
		const scale = medianOf(distances);
		const next = distances.map((distance) => 1 / Math.max(distance, scale * SMOOTHING));
		let total = 0;
		for (const weight of next) total += weight;
		// A majority of equal vectors: their point is the median.
		if (!Number.isFinite(total)) return vectors[distances.findIndex((d) => d <= scale)]!.slice();
		for (let i = 0; i < next.length; i++) next[i]! /= total;
		const moved = Math.sqrt(
			Math.max(
				0,
				-spread(
					next.map((weight, i) => weight - weights[i]!),
					pairs,
				),
			),
		);
		weights = next;
		if (moved <= TOLERANCE * scale) break;
	}
	const center = new Float64Array(length);
	for (const [index, vector] of vectors.entries()) addScaled(center, vector, weights[index]!);
	return center;
}

/** |x_i - sum_j w_j x_j| of every i, for weights that add up to 1: the squares are sum_j w_j d_ij^2 - spread(w). */
function distancesTo(weights: Float64Array, pairs: PairMatrix): Float64Array {
	const within = spread(weights, pairs);
	return weights.map((_, i) => Math.sqrt(Math.max(0, row(i, weights, pairs) - within)));
}

/** Half the sum of w_i w_j d_ij^2. For weights that add up to 0 it is -|sum_i w_i x_i|^2. */
function spread(weights: Float64Array, pairs: PairMatrix): number {
	let sum = 0;
	for (let i = 0; i < pairs.size; i++) sum += weights[i]! * row(i, weights, pairs);
	return sum / 2;
}

function row(i: number, weights: Float64Array, { size, values }: PairMatrix): number {
	let sum = 0;
	for (let j = 0; j < size; j++) sum += weights[j]! * values[i * size + j]!;
	return sum;
}
