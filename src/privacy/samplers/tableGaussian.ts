/**
 * The discrete Gaussian in bulk: one 32-bit word a value for all but about one in a hundred, and
 * yet the exact law up to a distance that is computed and charged.
 *
 * The integers are cut into cells of 2^l. A sample is made by rejection: choose a cell with
 * probability proportional to the largest weight in it (Walker's alias method on 4096 columns),
 * a place x in it uniformly, and accept with probability exp(-(x^2 - peak^2) / (2 sigma^2)), which
 * is at least 0.98 where it matters. Up to sigma 167 a cell is one integer and is always accepted.
 *
 * A word gives, from its top: the column, the leading bits of a uniform number u in [0, 1), and the
 * place. In a column with threshold t the cell is the column's own where u < t, and is accepted where
 * u < t p, p the probability of acceptance; otherwise it is the alias, accepted where
 * 1 - u < (1 - t) p. So u alone decides both, and for most words its leading bits are enough:
 * WebAssembly does these, four at a time. The others it reports; they draw further bits of u and
 * are decided in doubles where these cannot be wrong, and else in integers to 2^-200.
 *
 * Timing: the number of words that need further bits depends on the randomness drawn, never on the
 * data that the noise protects; which blocks they fell in says of a block of 4096 values that so
 * many of them came close to a threshold or the edge of a cell, for any law of the data. Memory is
 * read at a secret index, so cache timing by another process on the same core is not excluded.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { EXPONENTIAL_BITS, fixedPointExp } from "./bulkExponential.ts";
import {
	buildCellTable,
	type CellTable,
	cellEnds,
	DOUBLE_MARGIN,
	FRACTION_BITS,
	survival,
	THRESHOLD_BITS,
	ZERO_CELL,
} from "./bulkTable.ts";
import { type FillWords, RandomWords, systemWords } from "./randomWords.ts";
import { type WasmNoise, wasmNoise } from "./wasmNoise.ts";

/** A sampler for one sigma. Build it once per round plan: the table takes milliseconds. */
export interface GaussianSampler {
	readonly sigma: number;
	/** Upper bound on the total-variation distance of one sample to N_Z(0, sigma^2). Charge it to delta. */
	readonly totalVariationDistance: number;
	/** Replace every entry of `target` by an independent sample. */
	fill(target: Int32Array, words?: FillWords): void;
	/**
	 * Calls `visit` for consecutive blocks of `length` samples while they lie in `wasm.noise`; they are
	 * wiped when it is done. `visit` must not use any sampler itself.
	 */
	forEachBlock(length: number, visit: VisitBlock, words?: FillWords): void;
}

/** `count` samples, from position `start` of the whole on. */
export type VisitBlock = (wasm: WasmNoise, start: number, count: number) => void;

/** Below it nearly every sample is zero: no use as noise. */
const LEAST_SIGMA = 0.1;
/** Keeps noise far inside the 32-bit ring: beyond it no modulus would have headroom. */
const LARGEST_SIGMA = 2 ** 22;

/**
 * Build a sampler of N_Z(0, sigma^2).
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
	const table = buildCellTable(sigma);
	const forEachBlock: GaussianSampler["forEachBlock"] = (length, visit, words = systemWords) => {
		const wasm = wasmNoise();
		wasm.table.set(table.entries);
		const further = new RandomWords(words);
		const blockValues = wasm.noise.length;
		try {
			for (let start = 0; start < length; start += blockValues) {
				const count = Math.min(blockValues, length - start);
				words(wasm.words.subarray(0, count));
				sampleBlock(wasm, table, count, further);
				visit(wasm, start, count);
			}
		} finally {
			wasm.wipe();
		}
	};
	return {
		sigma,
		totalVariationDistance: table.totalVariationDistance,
		forEachBlock,
		fill: (target, words) =>
			forEachBlock(
				target.length,
				(wasm, start, count) => target.set(wasm.noise.subarray(0, count), start),
				words,
			),
	};
}

/** Fill `target` with independent samples of N_Z(0, sigma^2). Keep the sampler instead where sigma repeats. */
export function fillDiscreteGaussian(target: Int32Array, sigma: number, words?: FillWords): GaussianSampler {
	const sampler = tableGaussian(sigma);
	sampler.fill(target, words);
	return sampler;
}

/** The samples of the block's first `count` words. */
function sampleBlock(wasm: WasmNoise, table: CellTable, count: number, further: RandomWords): void {
	const unsure = wasm.sample(count, table.lowBits, ZERO_CELL * 2 ** table.lowBits);
	for (let i = 0; i < unsure; i++) {
		const position = wasm.unsure[i]!;
		// Up to three lanes beyond the count hold what was there before.
		if (position < count) wasm.noise[position] = settle(table, wasm.words[position]!, further);
	}
}

/** The sample of an unsure word; where it is rejected, of fresh words. */
function settle(table: CellTable, unsureWord: number, further: RandomWords): number {
	for (let word = unsureWord; ; word = further.word()) {
		const sample = decide(table, word, further);
		if (sample !== undefined) return sample;
	}
}

/**
 * The sample that a word with further bits of its u stands for, undefined where it is rejected:
 * the definition that the table's entries abbreviate.
 */
export function decide(table: CellTable, word: number, further: RandomWords): number | undefined {
	const { sigma, lowBits } = table;
	const column = word >>> FRACTION_BITS;
	const place = word & (2 ** lowBits - 1);
	const leading = (word & (2 ** FRACTION_BITS - 1)) >>> lowBits;
	const next = further.word53();
	// u lies in [uniform, uniform + 2^-53), up to the rounding of a double.
	const uniform = (leading + next / 2 ** 53) / 2 ** (FRACTION_BITS - lowBits);
	const threshold = table.roundedThresholds[column]!;

	const isOwn = uniform < threshold;
	const cell = isOwn ? column : table.alias[column]!;
	const sample = (cell - ZERO_CELL) * 2 ** lowBits + place;
	const probability = survival(sample, cellEnds(cell, lowBits).peak, sigma);
	const slack = isOwn ? threshold * probability - uniform : (1 - threshold) * probability - (1 - uniform);
	if (Math.abs(uniform - threshold) > DOUBLE_MARGIN && Math.abs(slack) > DOUBLE_MARGIN) {
		return slack > 0 ? sample : undefined;
	}
	return decideInIntegers(table, word, next, further);
}

/** The same in integers, u to 213 bits beyond its leading ones. Once in about 2^38 values. */
export function decideInIntegers(
	table: CellTable,
	word: number,
	next: number,
	further: RandomWords,
): number | undefined {
	const { lowBits, variance } = table;
	const column = word >>> FRACTION_BITS;
	const place = word & (2 ** lowBits - 1);
	let uniform = (BigInt((word & (2 ** FRACTION_BITS - 1)) >>> lowBits) << 53n) | BigInt(next);
	for (let i = 0; i < 5; i++) uniform = (uniform << 32n) | BigInt(further.word());
	const bits = BigInt(FRACTION_BITS - lowBits) + 53n + 160n;
	const threshold = table.thresholds[column]! << (bits - THRESHOLD_BITS);

	const isOwn = uniform < threshold;
	const cell = isOwn ? column : table.alias[column]!;
	const sample = (cell - ZERO_CELL) * 2 ** lowBits + place;
	const { peak } = cellEnds(cell, lowBits);
	const excess = BigInt(sample) ** 2n - BigInt(peak) ** 2n;
	const probability = fixedPointExp(excess * variance.denominator, 2n * variance.numerator);
	const one = 1n << bits;
	const [used, whole] = isOwn ? [uniform, threshold] : [one - uniform, one - threshold];
	return used << EXPONENTIAL_BITS < whole * probability ? sample : undefined;
}
