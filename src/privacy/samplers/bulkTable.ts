/**
 * The alias table of the bulk sampler: the integers in 4096 cells of 2^lowBits each, and for each
 * of 4096 columns which part of it stands for which cell. tableGaussian.ts says how it is used.
 */
import { EXPONENTIAL_BITS, fixedPointExp } from "./fixedPointExp.ts";
import { exactSquare, type Rational } from "./rational.ts";
import { COLUMN_BITS } from "./wasmNoise.ts";

export const CELLS = 1 << COLUMN_BITS;
/** The cell that begins at zero; as many lie below it as from it on. */
export const ZERO_CELL = CELLS / 2;
/** Bits of a word below its column: the threshold's leading bits, then the place within the cell. */
export const FRACTION_BITS = 32 - COLUMN_BITS;
/** Thresholds are multiples of 2^-106. */
export const THRESHOLD_BITS = 106n;
/**
 * Bound on the error of every double here (of thresholds, of survivals and of their products with
 * uniform numbers), with more than ten bits to spare: outside it a comparison of doubles is right.
 */
export const DOUBLE_MARGIN = 2 ** -40;
/** Standard deviations covered on each side: the tail beyond is below 2 exp(-75) < 2^-107. */
const COVERED_DEVIATIONS = 12.25;

export interface CellTable {
	readonly sigma: number;
	readonly variance: Rational;
	/** Cell c holds the 2^lowBits integers from (c - 2048) 2^lowBits on. */
	readonly lowBits: number;
	/** Column i stands for cell i below its threshold, in units of 2^-106, and for alias[i] from it on. */
	readonly thresholds: readonly bigint[];
	readonly alias: Uint16Array;
	/** The thresholds as parts of a column, in [0, 1], each within 2^-53. */
	readonly roundedThresholds: Float64Array;
	/** The columns as the WebAssembly reads them: where a word's leading bits decide, and how. */
	readonly entries: Uint32Array;
	/** See GaussianSampler. */
	readonly totalVariationDistance: number;
}

/**
 * Cell c is chosen with probability proportional to exp(-peak^2 / (2 sigma^2)), peak its integer
 * nearest to zero: the largest weight in the cell, so that rejection can make any of its law.
 * @param sigma in the range that tableGaussian checks
 */
export function buildCellTable(sigma: number): CellTable {
	const lowBits = Math.max(0, Math.ceil(Math.log2((COVERED_DEVIATIONS * sigma) / ZERO_CELL)));
	const variance = exactSquare(sigma);
	const { thresholds, alias } = aliasColumns(cellWeights(variance, BigInt(2 ** lowBits)));
	const unit = 2 ** Number(THRESHOLD_BITS);
	const roundedThresholds = Float64Array.from(thresholds, (threshold) => Number(threshold) / unit);
	return {
		sigma,
		variance,
		lowBits,
		thresholds,
		alias,
		roundedThresholds,
		entries: kernelEntries(sigma, lowBits, roundedThresholds, alias),
		totalVariationDistance: distance(sigma, lowBits),
	};
}

/** A cell's least integer, the one nearest to zero and the one farthest from it. */
export function cellAt(cell: number, lowBits: number): { first: number; peak: number; far: number } {
	const size = 1 << lowBits;
	const first = (cell - ZERO_CELL) * size;
	const last = first + size - 1;
	return first >= 0 ? { first, peak: first, far: last } : { first, peak: last, far: first };
}

/**
 * exp(-(x^2 - peak^2) / (2 sigma^2)) within 2^-48, for |x| >= |peak| of one cell: the Taylor series,
 * whose argument is below 0.3: beyond its twelfth power less than 2^-54 is left out. Not Math.exp,
 * whose accuracy no standard bounds.
 */
export function survival(x: number, peak: number, sigma: number): number {
	// Both factors of the numerator, and their product, are integers below 2^53.
	const argument = ((x - peak) * (x + peak)) / (2 * sigma * sigma);
	let sum = 1;
	for (let i = RECIPROCALS.length - 1; i > 0; i--) sum = 1 - argument * RECIPROCALS[i]! * sum;
	return sum;
}

const RECIPROCALS = Float64Array.from({ length: 13 }, (_, i) => 1 / Math.max(i, 1));

/** Fixed-point exp(-peak^2 / (2 sigma^2)) of every cell. */
function cellWeights(variance: Rational, size: bigint): bigint[] {
	const { numerator, denominator } = variance;
	// From one cell to the next, w(i+1) = w(i) step(i) and step(i+1) = step(i) curvature. Rounding of at
	// most 2^-255 each compounds to less than CELLS^2 2^-254 < 2^-229 absolute.
	const curvature = fixedPointExp(size * size * denominator, numerator);
	const run = (firstPeak: bigint): bigint[] => {
		const half = (square: bigint) => fixedPointExp(square * denominator, 2n * numerator);
		let weight = half(firstPeak * firstPeak);
		let step = half((firstPeak + size) ** 2n - firstPeak * firstPeak);
		return Array.from({ length: ZERO_CELL }, () => {
			const own = weight;
			weight = (weight * step) >> EXPONENTIAL_BITS;
			step = (step * curvature) >> EXPONENTIAL_BITS;
			return own;
		});
	};
	return [...run(1n).reverse(), ...run(0n)];
}

/**
 * Vose's alias construction in integers. The weights are rounded to a total of exactly one unit a
 * column, so the table's law IS the rounded weights.
 */
function aliasColumns(weights: readonly bigint[]): { thresholds: bigint[]; alias: Uint16Array } {
	const full = 1n << THRESHOLD_BITS;
	const total = weights.reduce((sum, weight) => sum + weight, 0n);
	const target = full * BigInt(CELLS);
	const scaled = weights.map((weight) => (weight * target) / total);
	// Rounding down lost less than one unit a cell; the mode takes the rest.
	scaled[ZERO_CELL]! += target - scaled.reduce((sum, weight) => sum + weight, 0n);

	// Integer totals match exactly, so a column that is never filled up from another is full by itself.
	const thresholds = weights.map(() => full);
	const alias = Uint16Array.from(weights, (_, column) => column);
	const light: number[] = [];
	const heavy: number[] = [];
	for (let i = 0; i < CELLS; i++) (scaled[i]! < full ? light : heavy).push(i);
	while (light.length > 0 && heavy.length > 0) {
		const small = light.pop()!;
		const large = heavy.at(-1)!;
		thresholds[small] = scaled[small]!;
		alias[small] = large;
		scaled[large]! -= full - scaled[small]!;
		if (scaled[large]! < full) light.push(heavy.pop()!);
	}
	return { thresholds, alias };
}

/**
 * What the leading bits of a word alone can decide. With t the column's threshold, r the least
 * survival within its own cell and s that within its alias, the numbers u below t r are accepted
 * for the own cell wherever in it the sample lies, those from 1 - (1 - t) s on for the alias; the
 * numbers between are unsure. Both bounds are rounded inwards, so that what is sure is certain.
 */
function kernelEntries(
	sigma: number,
	lowBits: number,
	thresholds: Float64Array,
	alias: Uint16Array,
): Uint32Array {
	const least = (cell: number): number => {
		const { peak, far } = cellAt(cell, lowBits);
		return survival(far, peak, sigma);
	};
	const leading = 2 ** (FRACTION_BITS - lowBits);
	const entries = new Uint32Array(2 * CELLS);
	for (let column = 0; column < CELLS; column++) {
		const threshold = thresholds[column]!;
		const own = Math.floor((threshold * least(column) - DOUBLE_MARGIN) * leading);
		const other = Math.ceil((1 - (1 - threshold) * least(alias[column]!) + DOUBLE_MARGIN) * leading);
		const from = Math.max(own, 0);
		const to = Math.min(other, leading);
		entries[2 * column] = (column * leading + from) * 2 ** lowBits;
		// The width fits its 20 bits: of a column's two parts, the larger has numbers that are sure.
		entries[2 * column + 1] = (to - from) * 2 ** (lowBits + COLUMN_BITS) + alias[column]!;
	}
	return entries;
}

/**
 * Total variation of one sample to the exact law, from above.
 *
 * Cells are proposed with probabilities that are off by e in L1: less than one unit of 2^-118 for
 * each cell and their sum for the mode, and what the arithmetic of the weights is off, below 2^-200.
 * Accepting with the exact probabilities turns this into at most e / a in total variation, a being
 * the probability of acceptance, itself at least the least survival within any cell; a decision
 * is wrong with probability below 2^-200. What is covered is at least 12.25 deviations on
 * each side; the tail beyond carries at most 2 exp(-T^2 / 2 sigma^2) (sub-Gaussian, Canonne,
 * Kamath, Steinke 2020, Cor. 17).
 */
function distance(sigma: number, lowBits: number): number {
	const proposal = 2 * CELLS * 2 ** -(Number(THRESHOLD_BITS) + COLUMN_BITS) + 2 ** -199;
	const covered = ZERO_CELL * 2 ** lowBits;
	const tail = 2 * Math.exp(-(covered * covered) / (2 * sigma * sigma));
	return proposal / LEAST_ACCEPTANCE + tail;
}

/**
 * Cells are the least power of two that covers 12.25 deviations, so one of several integers is less
 * than sigma / 83 wide and within 25 deviations: the survival in it is at least exp(-25 / 83) > 0.7.
 */
const LEAST_ACCEPTANCE = 0.7;
