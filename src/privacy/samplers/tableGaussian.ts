/**
 * The discrete Gaussian in bulk: one 32-bit word a value for all but about one in a hundred, and
 * yet the exact law up to a distance that is computed and charged.
 *
 * The integers are cut into cells of 2^l. A sample is made by rejection: choose a cell with
 * probability proportional to the largest weight in it (Walker's alias method on 4096 columns),
 * a place x in it uniformly, and accept with probability exp(-(x^2 - peak^2) / (2 sigma^2)), 0.995
 * on average or more. Up to sigma 167 a cell is one integer and is always accepted.
 *
 * A word gives, from its top: the column, the leading bits of a uniform number u in [0, 1), and the
 * place. In a column with threshold t the cell is the column's own where u < t, and is accepted where
 * u < t p, p the probability of acceptance; otherwise it is the alias, accepted where
 * 1 - u < (1 - t) p. So u alone decides both, and for most words its leading bits are enough:
 * WebAssembly does these, four at a time. The others it reports; they draw further bits of u and
 * are decided in doubles where these cannot be wrong, and else in integers to 2^-200.
 *
 * Timing: how many words need further bits depends on the randomness alone, never on the data that
 * the noise protects. Their number in a block of 16384 says that so many of its values came close to
 * a bound, of which every cell has one; it tells next to nothing of any one value, and nothing of the
 * sum it is added to. Memory is read at a secret index, so cache timing by another process on the
 * same core is not excluded.
 */
import { AlthingError } from "../../../crypto/error.ts";
import {
	buildCellTable,
	type CellTable,
	cellAt,
	DOUBLE_MARGIN,
	FRACTION_BITS,
	survival,
	THRESHOLD_BITS,
	ZERO_CELL,
} from "./bulkTable.ts";
import { EXPONENTIAL_BITS, fixedPointExp } from "./fixedPointExp.ts";
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

/** The samples of the block's first `count` words. */
function sampleBlock(wasm: WasmNoise, table: CellTable, count: number, further: RandomWords): void {
	const unsure = wasm.sample(count, table.lowBits, ZERO_CELL * 2 ** table.lowBits);
	for (let i = 0; i < unsure; i++) {
		const position = wasm.unsure[i]!;
		// Up to three lanes beyond the count hold what was there before.
		if (position < count) wasm.noise[position] = settle(table, wasm.words[position]!, further);
	}
}

/** The sample of an unsure word; where that is rejected, of fresh ones. */
function settle(table: CellTable, unsureWord: number, further: RandomWords): number {
	let sample = decide(table, unsureWord, further);
	while (sample === REJECTED) sample = decide(table, further.word(), further);
	return sample;
}

/** Outcomes beside the samples, which are all below 2^27. */
export const REJECTED = 1 << 30;
const UNDECIDED = REJECTED - 1;

/**
 * The sample that a word stands for, or REJECTED: the definition that the table's entries abbreviate.
 * Bits of u beyond the word's are drawn only where these do not decide.
 */
export function decide(table: CellTable, word: number, further: RandomWords): number {
	const leadingBits = FRACTION_BITS - table.lowBits;
	const column = word >>> FRACTION_BITS;
	const place = word & ((1 << table.lowBits) - 1);
	const leading = (word >>> table.lowBits) & ((1 << leadingBits) - 1);
	const unit = 1 / (1 << leadingBits);
	const coarse = decideBetween(table, column, place, leading * unit, (leading + 1) * unit);
	if (coarse !== UNDECIDED) return coarse;
	const next = further.word53();
	const uniform = (leading + next / 2 ** 53) * unit;
	const fine = decideBetween(table, column, place, uniform, uniform);
	if (fine !== UNDECIDED) return fine;
	return decideInIntegers(table, column, place, (BigInt(leading) << 53n) | BigInt(next), further);
}

/** The outcome in doubles for every u in [least, most]; UNDECIDED where it may depend on u or on rounding. */
function decideBetween(table: CellTable, column: number, place: number, least: number, most: number): number {
	const threshold = table.roundedThresholds[column]!;
	const isOwn = most < threshold - DOUBLE_MARGIN;
	if (!isOwn && least < threshold + DOUBLE_MARGIN) return UNDECIDED;
	const cell = isOwn ? column : table.alias[column]!;
	const { first, peak } = cellAt(cell, table.lowBits);
	const sample = first + place;
	const probability = survival(sample, peak, table.sigma);
	// Accepted where `used` is below `whole` times the probability.
	const whole = isOwn ? threshold : 1 - threshold;
	const mostUsed = isOwn ? most : 1 - least;
	const leastUsed = isOwn ? least : 1 - most;
	if (mostUsed < whole * probability - DOUBLE_MARGIN) return sample;
	if (leastUsed > whole * probability + DOUBLE_MARGIN) return REJECTED;
	return UNDECIDED;
}

/** The outcome in integers, for `uniform` 53 bits longer than the word's own u, and drawn to 160 more. */
export function decideInIntegers(
	table: CellTable,
	column: number,
	place: number,
	uniform: bigint,
	further: RandomWords,
): number {
	const { lowBits, variance } = table;
	let used = uniform;
	for (let i = 0; i < 5; i++) used = (used << 32n) | BigInt(further.word());
	const bits = BigInt(FRACTION_BITS - lowBits) + 53n + 160n;
	let whole = table.thresholds[column]! << (bits - THRESHOLD_BITS);
	const isOwn = used < whole;
	if (!isOwn) {
		used = (1n << bits) - used;
		whole = (1n << bits) - whole;
	}
	const { first, peak } = cellAt(isOwn ? column : table.alias[column]!, lowBits);
	const sample = first + place;
	const excess = BigInt(sample) ** 2n - BigInt(peak) ** 2n;
	const probability = fixedPointExp(excess * variance.denominator, 2n * variance.numerator);
	return used << EXPONENTIAL_BITS < whole * probability ? sample : REJECTED;
}
