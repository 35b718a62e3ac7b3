/** The point of least total distance to the vectors (Pillutla, Kakade, Harchaoui 2022, RFA). */
import { requireBreakdown } from "./breakdown.ts";
import { addScaled, mean, medianOf, requireVectors, squaredDistance, type Vectors } from "./vectors.ts";

/** Steps at most; a few do for the accuracy that training needs. */
const MAXIMUM_STEPS = 100;
/** A step shorter than this share of the median distance is the last. */
const TOLERANCE = 1e-7;
/** Distances count at least this share of the median one, so that no weight grows without bound. */
const SMOOTHING = 1e-6;

/**
 * Smoothed Weiszfeld iteration from the mean. Within 2 (n - f) / (n - 2 f) times the largest honest
 * distance from any point, whatever the attackers send.
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function geometricMedian(vectors: Vectors, attackers: number): Float64Array {
	const length = requireVectors(vectors);
	requireBreakdown("geometric_median", vectors.length, attackers);
	let center = mean(vectors);
	for (let step = 0; step < MAXIMUM_STEPS; step++) {
		const distances = vectors.map((vector) => Math.sqrt(squaredDistance(vector, center)));
		const scale = medianOf(distances);
		const weights = distances.map((distance) => 1 / Math.max(distance, scale * SMOOTHING));
		let total = 0;
		for (const weight of weights) total += weight;
		// A majority of equal vectors: their point is the median.
		if (!Number.isFinite(total)) return majorityPoint(vectors, distances, scale);
		const next = new Float64Array(length);
		for (const [index, vector] of vectors.entries()) addScaled(next, vector, weights[index]! / total);
		const moved = Math.sqrt(squaredDistance(next, center));
		center = next;
		if (moved <= TOLERANCE * scale) break;
	}
	return center;
}

function majorityPoint(vectors: Vectors, distances: readonly number[], scale: number): Float64Array {
	return vectors[distances.findIndex((distance) => distance <= scale)]!.slice();
}
