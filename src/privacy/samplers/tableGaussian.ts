/**
 * The discrete Gaussian in bulk: Walker's alias table over |x| with 106-bit thresholds.
 *
 * Every sample costs the same: one column, one comparison, one sign, three words; nothing
 * loops on the value drawn (a tie in the first 53 bits of the threshold, probability 2^-53,
 * draws two words more). Memory is read at a secret index, so cache timing on a shared core
 * is not excluded.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { type FillWords, systemWords } from "./randomWords.ts";
import { exactSquare, type Rational } from "./rational.ts";

/** A sampler for one sigma. Build it once per round plan: the table takes milliseconds. */
export interface GaussianSampler {
	readonly sigma: number;
	/**
	 * Upper bound on the total-variation distance of one sample to N_Z(0, s^2) for some
	 * s >= sigma (s exceeds sigma by less than 1e-12 relative). Charge it to delta.
	 */
	readonly totalVariationDistance: number;
	/** Replace every entry of `target` by an independent sample. */
	fill(target: Int32Array, words?: FillWords): void;
}

/** Largest sigma of a single table; wider laws are the sum of a scaled coarse and a fine sample. */
const LARGEST_TABLE_SIGMA = 1024;
/** Below it nearly every sample is zero: no use as noise. */
const LEAST_SIGMA = 0.1;
/** Keeps noise far inside the 32-bit ring: beyond it no modulus would have headroom. */
const LARGEST_SIGMA = 2 ** 22;
/** tau below: a ripple of 2 exp(-2 pi^2 tau^2) < 2^-136. */
const SMOOTHING = 2.2;

/**
 * Build a sampler of N_Z(0, sigma^2).
 *
 * Up to sigma 1024 it is one table. Above, it is k X1 + X2 with X1, X2 from tables of
 * sigma1, sigma2 and k^2 sigma1^2 + sigma2^2 = sigma^2. Its law is
 * P[x] proportional to exp(-x^2 / 2 sigma^2) sum_j exp(-(j - c x)^2 / 2 tau^2) with
 * tau = sigma1 sigma2 / sigma; by Poisson summation the inner sum is constant up to a factor
 * 1 +- r, r = 2 sum_m exp(-2 pi^2 tau^2 m^2), so after normalising the total variation to
 * the discrete Gaussian is at most 2 r / (1 - r) (Micciancio and Walter 2017, convolution).
 * sigma2 >= 2.2 k makes tau > 2.1.
 * @throws AlthingError `privacy.bad_sigma` unless 0.1 <= sigma <= 2^22
 */
export function tableGaussian(sigma: number): GaussianSampler {
	if (!(sigma >= LEAST_SIGMA && sigma <= LARGEST_SIGMA)) {
		throw new AlthingError(
			"privacy.bad_sigma",
			`The table sampler covers standard deviations from ${LEAST_SIGMA} to ${LARGEST_SIGMA} integer units, not ${sigma}.`,
			{ sigma },
		);
	}
	if (sigma <= LARGEST_TABLE_SIGMA) {
		const table = buildTable(sigma);
		return {
			sigma,
			totalVariationDistance: table.distance,
			fill: (target, words = systemWords) => fillFromTable(target, table, words, 1, false),
		};
	}
	const factor = Math.ceil(sigma / LARGEST_TABLE_SIGMA);
	const fineSigma = SMOOTHING * factor;
	// Rounded upwards: the exact variance of the sum is at least sigma^2.
	const coarseSigma = (Math.sqrt(sigma * sigma - fineSigma * fineSigma) / factor) * (1 + 2 ** -44);
	const coarse = buildTable(coarseSigma);
	const fine = buildTable(fineSigma);
	const tau = (coarseSigma * fineSigma) / (sigma * (1 + 2 ** -40));
	const ripple = 2.001 * Math.exp(-2 * Math.PI * Math.PI * tau * tau);
	return {
		sigma,
		totalVariationDistance: coarse.distance + fine.distance + (2 * ripple) / (1 - ripple),
		fill: (target, words = systemWords) => {
			fillFromTable(target, coarse, words, factor, false);
			fillFromTable(target, fine, words, 1, true);
		},
	};
}

/** Fill `target` with independent samples of N_Z(0, sigma^2). Keep the sampler instead where sigma repeats. */
export function fillDiscreteGaussian(target: Int32Array, sigma: number, words?: FillWords): GaussianSampler {
	const sampler = tableGaussian(sigma);
	sampler.fill(target, words);
	return sampler;
}

interface AliasTable {
	/** log2 of the number of columns. */
	readonly columnBits: number;
	/** Column i yields i below its 106-bit threshold (high, low 53-bit halves), alias[i] from it on. */
	readonly thresholdHigh: Float64Array;
	readonly thresholdLow: Float64Array;
	readonly alias: Int32Array;
	readonly distance: number;
}

/** Words per sample: column and sign, and 53 bits of threshold. */
const WORDS_PER_SAMPLE = 3;
const BLOCK_SAMPLES = 4096;

/** `target[i]` = (accumulate ? target[i] : 0) + factor x sample. */
function fillFromTable(
	target: Int32Array,
	table: AliasTable,
	fillWords: FillWords,
	factor: number,
	accumulate: boolean,
): void {
	const { thresholdHigh, thresholdLow, alias } = table;
	const shift = 32 - table.columnBits;
	const keep = accumulate ? -1 : 0;
	const block = new Uint32Array(WORDS_PER_SAMPLE * BLOCK_SAMPLES);
	const extra = new Uint32Array(2);
	for (let start = 0; start < target.length; start += BLOCK_SAMPLES) {
		const end = Math.min(start + BLOCK_SAMPLES, target.length);
		const words = block.subarray(0, WORDS_PER_SAMPLE * (end - start));
		fillWords(words);
		for (let i = start, w = 0; i < end; i++, w += WORDS_PER_SAMPLE) {
			const selector = words[w]!;
			// columnBits is at most 15, so the lowest bit, the sign, is no part of the column.
			const column = selector >>> shift;
			const uniform = (words[w + 1]! >>> 11) * 2 ** 32 + words[w + 2]!;
			const high = thresholdHigh[column]!;
			let own = uniform < high;
			if (uniform === high) {
				fillWords(extra);
				own = (extra[0]! >>> 11) * 2 ** 32 + extra[1]! < thresholdLow[column]!;
			}
			const magnitude = own ? column : alias[column]!;
			const sign = -(selector & 1);
			target[i] = (target[i]! & keep) + factor * ((magnitude ^ sign) - sign);
		}
	}
	// Spent randomness is the noise itself: leave no copy behind.
	block.fill(0);
	extra.fill(0);
}

/** Fractional bits of the fixed-point exponentials. */
const PRECISION = 256n;
const ONE = 1n << PRECISION;
const THRESHOLD_BITS = 106n;

/**
 * Weights of |x| to 256 fractional bits, rounded to a total of exactly columns x 2^106, then
 * Vose's alias construction in integers: the table's law IS the rounded weights, so its
 * distance to the exact law is the rounding plus the tail cut off, both computed here.
 */
function buildTable(sigma: number): AliasTable {
	const variance = exactSquare(sigma);
	// 14 deviations: the tail beyond is below 2 exp(-98) < 2^-140.
	const support = Math.ceil(14 * sigma) + 1;
	const columnBits = Math.max(1, Math.ceil(Math.log2(support)));
	const columns = 1 << columnBits;
	const weights = foldedWeights(variance, columns);
	let total = 0n;
	for (const weight of weights) total += weight;

	const full = 1n << THRESHOLD_BITS;
	const target = full << BigInt(columnBits);
	const scaled = weights.map((weight) => (weight * target) / total);
	let assigned = 0n;
	for (const value of scaled) assigned += value;
	// Rounding down lost less than one unit per column; the mode takes the rest.
	const remainder = target - assigned;
	scaled[0]! += remainder;

	const thresholdHigh = new Float64Array(columns);
	const thresholdLow = new Float64Array(columns);
	const alias = new Int32Array(columns);
	const setThreshold = (column: number, threshold: bigint): void => {
		thresholdHigh[column] = Number(threshold >> 53n);
		thresholdLow[column] = Number(BigInt.asUintN(53, threshold));
	};
	const light: number[] = [];
	const heavy: number[] = [];
	for (let i = 0; i < columns; i++) (scaled[i]! < full ? light : heavy).push(i);
	while (light.length > 0 && heavy.length > 0) {
		const small = light.pop()!;
		const large = heavy.at(-1)!;
		setThreshold(small, scaled[small]!);
		alias[small] = large;
		scaled[large]! -= full - scaled[small]!;
		if (scaled[large]! < full) light.push(heavy.pop()!);
	}
	// Integer totals match exactly, so whatever is left is a full column of its own.
	for (const column of [...light, ...heavy]) {
		thresholdHigh[column] = 2 ** 53;
		alias[column] = column;
	}
	return {
		columnBits,
		thresholdHigh,
		thresholdLow,
		alias,
		distance: tableDistance(columns, columnBits, sigma),
	};
}

/**
 * Total variation of the table to the exact law, from above: each of the columns' weights
 * moved by less than one unit of 2^-(106 + columnBits) and the mode by their sum; the
 * arithmetic of the weights is good to 2^-200 in all; the tail beyond the columns, which
 * is cut off, carries at most 2 exp(-columns^2 / 2 sigma^2) (sub-Gaussian, CKS Cor. 17).
 */
function tableDistance(columns: number, columnBits: number, sigma: number): number {
	const rounding = columns * 2 ** -(Number(THRESHOLD_BITS) + columnBits);
	const tail = 2 * Math.exp(-(columns * columns) / (2 * sigma * sigma));
	return rounding + 2 ** -200 + 2 * tail;
}

/** Fixed-point exp(-x^2 / (2 sigma^2)) for x = 0, and twice it for x = 1 .. columns - 1. */
function foldedWeights(variance: Rational, columns: number): bigint[] {
	// w(x+1) = w(x) step(x), step(x+1) = step(x) curvature: two multiplications per entry. Rounding
	// of at most 2^-255 each compounds to less than columns^2 2^-254 < 2^-220 absolute.
	const curvature = expNegative(variance.denominator, variance.numerator);
	let step = expNegative(variance.denominator, 2n * variance.numerator);
	let weight = ONE;
	const weights = [ONE];
	for (let x = 1; x < columns; x++) {
		weight = (weight * step) >> PRECISION;
		step = (step * curvature) >> PRECISION;
		weights.push(2n * weight);
	}
	return weights;
}

/** Fixed-point exp(-numerator / denominator) by range reduction and the Taylor series, 64 guard bits. */
function expNegative(numerator: bigint, denominator: bigint): bigint {
	const guard = 64n;
	const one = ONE << guard;
	const bits = PRECISION + guard;
	let halvings = 0;
	let argument = (numerator << bits) / denominator;
	while (argument > one >> 4n) {
		argument >>= 1n;
		halvings++;
	}
	let term = one;
	let sum = one;
	for (let i = 1n; term !== 0n && term !== -1n; i++) {
		term = -((term * argument) >> bits) / i;
		sum += term;
	}
	for (let i = 0; i < halvings; i++) sum = (sum * sum) >> bits;
	return sum >> guard;
}
