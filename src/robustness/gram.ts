/** Inner products and distances of all pairs: all that selection rules need to know of vectors. */
import { AlthingError } from "../../crypto/error.ts";
import { dot, squaredDistance, type Vectors } from "./vectors.ts";

/** A symmetric n x n matrix, row by row. */
export interface PairMatrix {
	readonly size: number;
	readonly values: Float64Array;
}

/** Inner products <x_i, x_j>. O(n^2 d). */
export function gramMatrix(vectors: Vectors): PairMatrix {
	return ofPairs(vectors, dot);
}

/** Squared distances |x_i - x_j|^2, without cancellation. O(n^2 d). */
export function squaredDistances(vectors: Vectors): PairMatrix {
	return ofPairs(vectors, squaredDistance);
}

/** Squared distances from inner products, not below 0. */
export function distancesFromGram({ size, values }: PairMatrix): PairMatrix {
	const distances = new Float64Array(size * size);
	for (let i = 0; i < size; i++)
		for (let j = 0; j < size; j++)
			distances[i * size + j] =
				i === j ? 0 : Math.max(0, values[i * size + i]! + values[j * size + j]! - 2 * values[i * size + j]!);
	return { size, values: distances };
}

/** Rows and columns at `indices`. */
export function submatrix({ size, values }: PairMatrix, indices: readonly number[]): PairMatrix {
	const chosen = new Float64Array(indices.length ** 2);
	for (const [a, i] of indices.entries())
		for (const [b, j] of indices.entries()) chosen[a * indices.length + b] = values[i * size + j]!;
	return { size: indices.length, values: chosen };
}

/** @throws AlthingError `robustness.bad_vectors` when the values are no finite symmetric matrix of that size */
export function requirePairMatrix({ size, values }: PairMatrix): void {
	let sound = values.length === size * size && size > 0;
	for (let i = 0; sound && i < size; i++)
		for (let j = 0; j <= i; j++)
			if (!Number.isFinite(values[i * size + j]!) || values[i * size + j] !== values[j * size + i])
				sound = false;
	if (sound) return;
	throw new AlthingError(
		"robustness.bad_vectors",
		`The inner products are no symmetric matrix of ${size} x ${size} finite numbers.`,
		{ size },
	);
}

function ofPairs(vectors: Vectors, entry: (one: Float64Array, other: Float64Array) => number): PairMatrix {
	const size = vectors.length;
	const values = new Float64Array(size * size);
	for (let i = 0; i < size; i++)
		for (let j = 0; j <= i; j++) {
			const value = entry(vectors[i]!, vectors[j]!);
			values[i * size + j] = value;
			values[j * size + i] = value;
		}
	return { size, values };
}
