/** Rules that bound how far one vector can pull: norm clipping, and centred clipping (Karimireddy, He, Jaggi 2021). */
import { AlthingError } from "../../crypto/error.ts";
import { requireBreakdown } from "./breakdown.ts";
import { medianOf, norm, requireVectors, squaredDistance, type Vectors } from "./vectors.ts";

/** Passes of centred clipping; one does when the reference is the last round's. */
const CENTRED_PASSES = 3;

/**
 * The mean of the vectors scaled down to an L2 norm of at most the radius: f of n vectors move it by
 * at most 2 f radius / n.
 * @param radius > 0; by default the median of the norms, which f < n/2 attackers cannot move beyond the honest ones
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`, `robustness.bad_argument`
 */
export function normClippedMean(vectors: Vectors, attackers: number, radius?: number): Float64Array {
	const length = requireVectors(vectors);
	requireBreakdown("norm_clipping", vectors.length, attackers);
	return clippedMean(vectors, new Float64Array(length), radius);
}

/**
 * v <- v + mean of (x_i - v) scaled down to the radius, three times from a public reference: one pass
 * moves no farther than the radius from it, and f of n vectors bend it by at most 2 f radius / n.
 * @param reference where to start: what the last round certified, or zeros
 * @param radius > 0; by default the median distance to the point a pass starts from
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`, `robustness.bad_argument`
 */
export function centeredClipping(
	vectors: Vectors,
	attackers: number,
	reference: Float64Array,
	radius?: number,
): Float64Array {
	requireVectors([reference, ...vectors]);
	requireBreakdown("centered_clipping", vectors.length, attackers);
	let center = reference;
	for (let pass = 0; pass < CENTRED_PASSES; pass++) center = clippedMean(vectors, center, radius);
	return center;
}

/** The median of the vectors' norms. */
export function medianNorm(vectors: Vectors): number {
	return medianOf(vectors.map(norm));
}

function clippedMean(vectors: Vectors, center: Float64Array, radius: number | undefined): Float64Array {
	if (radius !== undefined && !(radius > 0 && radius < Number.POSITIVE_INFINITY)) {
		throw new AlthingError("robustness.bad_argument", `A clipping radius is positive, not ${radius}.`);
	}
	const distances = vectors.map((vector) => Math.sqrt(squaredDistance(vector, center)));
	const bound = radius ?? medianOf(distances);
	const result = center.slice();
	const share = 1 / vectors.length;
	for (const [index, vector] of vectors.entries()) {
		const factor = distances[index]! > bound ? bound / distances[index]! : 1;
		const weight = share * factor;
		for (let i = 0; i < result.length; i++) result[i]! += weight * (vector[i]! - center[i]!);
	}
	return result;
}
