/**
 * Spectral selection (divide and conquer, Shejwalkar and Houmansadr 2021) from inner products alone:
 * those whose share of the direction in which the vectors differ most is largest are left out.
 */
import { requireBreakdown } from "./breakdown.ts";
import { type PairMatrix, requirePairMatrix, submatrix } from "./gram.ts";
import { ascending } from "./vectors.ts";

/** Passes, each of which drops {@link droppedEachPass}. */
const PASSES = 2;
/** The centred matrix to the power 2^SQUARINGS leaves its leading eigenspace alone. */
const SQUARINGS = 10;

/** Vectors that one of the two passes leaves out: 3 f / 4, rounded up. */
export function droppedEachPass(attackers: number): number {
	return Math.ceil((3 * attackers) / 4);
}

/** Vectors that a selection leaves out. */
export function selectionLeavesOut(attackers: number): number {
	return PASSES * droppedEachPass(attackers);
}

/**
 * Twice: centre, find the leading principal direction, drop the 3 f / 4 largest squared projections.
 * @param gram inner products of the vectors, or of sketches of them
 * @returns sorted indices of those that stay
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function selectBySpectrum(gram: PairMatrix, attackers: number): number[] {
	requirePairMatrix(gram);
	requireBreakdown("spectral", gram.size, attackers);
	let kept = Array.from({ length: gram.size }, (_, i) => i);
	for (let pass = 0; pass < PASSES && attackers > 0; pass++) {
		const projections = leadingProjections(submatrix(gram, kept));
		const stay = ascending(projections).slice(0, kept.length - droppedEachPass(attackers));
		kept = stay.sort((a, b) => a - b).map((place) => kept[place]!);
	}
	return kept;
}

/**
 * Squared projections of the centred vectors on their leading principal direction, up to one common
 * factor. O(n^3), exactly rounded in a fixed order: the squared entries of the leading eigenvector of
 * the centred Gram matrix are in proportion to them.
 */
export function leadingProjections(gram: PairMatrix): Float64Array {
	const { size } = gram;
	let power = scaled(centred(gram), size);
	for (let i = 0; i < SQUARINGS; i++) power = scaled(squared(power, size), size);
	// Every column of the power is the leading eigenvector times its own entry: the largest one is read.
	let column = 0;
	for (let i = 1; i < size; i++) if (power[i * size + i]! > power[column * size + column]!) column = i;
	return Float64Array.from({ length: size }, (_, i) => power[i * size + column]! * power[i * size + column]!);
}

/** (I - 1/n) K (I - 1/n): inner products of the vectors minus their mean. */
export function centred({ size, values }: PairMatrix): Float64Array {
	const rowMeans = new Float64Array(size);
	let all = 0;
	for (let i = 0; i < size; i++) {
		for (let j = 0; j < size; j++) rowMeans[i]! += values[i * size + j]!;
		all += rowMeans[i]!;
		rowMeans[i]! /= size;
	}
	const grandMean = all / size / size;
	const result = new Float64Array(size * size);
	for (let i = 0; i < size; i++)
		for (let j = 0; j <= i; j++) {
			const value = values[i * size + j]! - rowMeans[i]! - rowMeans[j]! + grandMean;
			result[i * size + j] = value;
			result[j * size + i] = value;
		}
	return result;
}

/** Divided by the trace, so that powers neither vanish nor overflow; a matrix of zeros stays one. */
function scaled(matrix: Float64Array, size: number): Float64Array {
	let trace = 0;
	for (let i = 0; i < size; i++) trace += matrix[i * size + i]!;
	return trace > 0 ? matrix.map((value) => value / trace) : matrix;
}

function squared(matrix: Float64Array, size: number): Float64Array {
	const result = new Float64Array(size * size);
	for (let i = 0; i < size; i++)
		for (let j = 0; j <= i; j++) {
			let sum = 0;
			for (let k = 0; k < size; k++) sum += matrix[i * size + k]! * matrix[j * size + k]!;
			result[i * size + j] = sum;
			result[j * size + i] = sum;
		}
	return result;
}
