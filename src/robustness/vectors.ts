/**
 * Arithmetic on the vectors of several participants. Every sum runs in index order and every
 * operation is exactly rounded, so that nodes which are given the same vectors agree on every bit.
 */
import { AlthingError } from "../../crypto/error.ts";
import { allFinite } from "../learning/finite.ts";

/** One vector of equal length for each participant, in an order that all nodes share. */
export type Vectors = readonly Float64Array[];

/**
 * @returns the common length
 * @throws AlthingError `robustness.bad_vectors` for none, unequal lengths or values that are not finite
 */
export function requireVectors(vectors: Vectors): number {
	const length = vectors[0]?.length;
	if (length === undefined) throw new AlthingError("robustness.bad_vectors", "There are no vectors.");
	for (const [index, vector] of vectors.entries()) {
		if (vector.length !== length || !allFinite(vector)) {
			throw new AlthingError(
				"robustness.bad_vectors",
				`Vector ${index} is not one of ${length} finite numbers as the first.`,
				{ index, length },
			);
		}
	}
	return length;
}

export function squaredNorm(vector: Float64Array): number {
	let sum = 0;
	for (let i = 0; i < vector.length; i++) sum += vector[i]! * vector[i]!;
	return sum;
}

export function norm(vector: Float64Array): number {
	return Math.sqrt(squaredNorm(vector));
}

export function dot(one: Float64Array, other: Float64Array): number {
	let sum = 0;
	for (let i = 0; i < one.length; i++) sum += one[i]! * other[i]!;
	return sum;
}

export function squaredDistance(one: Float64Array, other: Float64Array): number {
	let sum = 0;
	for (let i = 0; i < one.length; i++) {
		const difference = one[i]! - other[i]!;
		sum += difference * difference;
	}
	return sum;
}

/** Mean of the vectors, or of those at `indices`. */
export function mean(vectors: Vectors, indices: readonly number[] = [...vectors.keys()]): Float64Array {
	const sum = new Float64Array(vectors[0]!.length);
	for (const index of indices) addScaled(sum, vectors[index]!, 1);
	for (let i = 0; i < sum.length; i++) sum[i]! /= indices.length;
	return sum;
}

/** sum += factor * vector, in place. */
export function addScaled(sum: Float64Array, vector: Float64Array, factor: number): void {
	for (let i = 0; i < sum.length; i++) sum[i]! += factor * vector[i]!;
}

/** The middle value, or the mean of the two middle ones. */
export function medianOf(values: ArrayLike<number>): number {
	const sorted = Float64Array.from(values).sort();
	const middle = sorted.length >> 1;
	return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Indices from the smallest value to the largest; equal values in index order. */
export function ascending(values: ArrayLike<number>): number[] {
	return Array.from({ length: values.length }, (_, i) => i).sort((a, b) => values[a]! - values[b]! || a - b);
}
