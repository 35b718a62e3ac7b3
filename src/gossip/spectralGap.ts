/** How fast a mixing matrix brings its nodes together. */

/** One row of a symmetric, doubly stochastic matrix, without its diagonal. */
export type MixingRow = readonly { readonly other: number; readonly weight: number }[];

const ITERATIONS = 400;

/**
 * The second largest eigenvalue by magnitude of a symmetric, doubly stochastic matrix, by power
 * iteration beside the constant vector: from below, and within a per cent of it where the next one is
 * close. Only + - x / and square roots in a fixed order, so that every node gets the same bits.
 * @param rows the diagonal is what each row lacks to 1
 */
export function secondEigenvalue(rows: readonly MixingRow[]): number {
	const n = rows.length;
	const diagonal = rows.map((row) => row.reduce((rest, { weight }) => rest - weight, 1));
	// Any start that is no eigenvector; the golden ratio spreads it evenly.
	let vector = Float64Array.from({ length: n }, (_, index) => (0.6180339887498949 * (index + 1)) % 1);
	let eigenvalue = 0;
	if (!normalize(vector)) return 0;
	for (let iteration = 0; iteration < ITERATIONS; iteration++) {
		const next = new Float64Array(n);
		for (let one = 0; one < n; one++) {
			let sum = diagonal[one]! * vector[one]!;
			for (const { other, weight } of rows[one]!) sum += weight * vector[other]!;
			next[one] = sum;
		}
		eigenvalue = norm(next);
		vector = next;
		if (!normalize(vector)) return 0;
	}
	return Math.min(1, eigenvalue);
}

/** Takes the mean away and scales to length 1; false where nothing is left. */
function normalize(vector: Float64Array): boolean {
	let mean = 0;
	for (const value of vector) mean += value;
	mean /= vector.length;
	for (let i = 0; i < vector.length; i++) vector[i]! -= mean;
	const length = norm(vector);
	if (length < 1e-12) return false;
	for (let i = 0; i < vector.length; i++) vector[i]! /= length;
	return true;
}

function norm(vector: Float64Array): number {
	let squares = 0;
	for (const value of vector) squares += value * value;
	return Math.sqrt(squares);
}
