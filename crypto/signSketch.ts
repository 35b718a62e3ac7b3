/**
 * A sketch: 256 projections of a vector of integers on public rows of -1, 0 and +1 (a quarter, a half, a
 * quarter; signProjection.ts says why), which keep lengths and inner products within a few percent, whatever
 * the vector's length; and sums of random rows, so that somebody who knows only projections of the ring can
 * be held to a sketch.
 *
 * For a sketch s of x: P[|s|^2 >= T/2 |x|^2] <= (T/256)^128 exp(-(T - 256)/2) over the choice of seed
 * (Achlioptas, JCSS 2003, section 5). Two different sketches agree on a combination with probability at
 * most 1/2.
 */
import { forEachChunk } from "./maskStream.ts";
import type { ModulusBits } from "./ringPacking.ts";
import { centredResidue } from "./signProjection.ts";

export const SKETCH_ROWS = 256;
export const COMBINATIONS = 16;

/** T/2: an honest vector's sketch has a squared length above this times |x|^2 with probability at most 2^-40. */
export const SKETCH_LIMIT = 464 / 2;

/** Words of a coordinate's bits: which rows add it, then which subtract it. */
const WORDS = SKETCH_ROWS / 32;
const WORDS_PER_COORDINATE = 2 * WORDS;

/**
 * <R_r, x> for the 256 rows; exact for sums below 2^53. The keystream is AES-256-CTR under the seed.
 * @param seed32 32 public bytes, drawn after the vector was committed
 * @param values mod 2^modulusBits, read as centred residues
 */
export function sketchOf(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Float64Array {
	const sums = new Float64Array(SKETCH_ROWS);
	forEachChunk(values.length * WORDS_PER_COORDINATE, seed32, (offset, words) => {
		for (let at = 0; at < words.length; at++) {
			const place = offset + at;
			const value = centredResidue(values[Math.floor(place / WORDS_PER_COORDINATE)] as number, modulusBits);
			const word = words[at] as number;
			const part = place % WORDS_PER_COORDINATE;
			const signed = part < WORDS ? value : -value;
			const first = 32 * (part % WORDS);
			for (let b = 0; b < 32; b++)
				sums[first + b] = (sums[first + b] as number) + signed * ((word >>> b) & 1);
		}
	});
	return sums;
}

/** Which rows each of the 16 combinations adds up: 16 rows of 256, each 1 or 0. */
export function combinationsOf(seed32: Uint8Array): Uint8Array {
	const chosen = new Uint8Array(COMBINATIONS * SKETCH_ROWS);
	forEachChunk(chosen.length / 32, seed32, (offset, words) => {
		for (const [i, word] of words.entries())
			for (let b = 0; b < 32; b++) chosen[32 * (offset + i) + b] = (word >>> b) & 1;
	});
	return chosen;
}

/**
 * The sums of rows that the 16 combinations make: integers of at most 256 in absolute value, coordinate by
 * coordinate, 16 for each.
 */
export function combinedRows(
	seed32: Uint8Array,
	combinationSeed32: Uint8Array,
	coordinates: number,
): Int16Array {
	const rows = new Int16Array(COMBINATIONS * coordinates);
	const bits = new Uint32Array(COMBINATIONS * WORDS);
	forEachChunk(bits.length, combinationSeed32, (offset, words) => bits.set(words, offset));
	forEachChunk(coordinates * WORDS_PER_COORDINATE, seed32, (offset, words) => {
		for (let at = 0; at < words.length; at++) {
			const place = offset + at;
			const first = COMBINATIONS * Math.floor(place / WORDS_PER_COORDINATE);
			const part = place % WORDS_PER_COORDINATE;
			const sign = part < WORDS ? 1 : -1;
			const word = words[at] as number;
			for (let j = 0; j < COMBINATIONS; j++) {
				const added = bitCount(word & (bits[j * WORDS + (part % WORDS)] as number));
				rows[first + j] = (rows[first + j] as number) + sign * added;
			}
		}
	});
	return rows;
}

/** 16 projections mod 2^modulusBits of a vector on {@link combinedRows}. */
export function projectOnRows(rows: Int16Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	const sums = new Uint32Array(COMBINATIONS);
	for (let i = 0; i < values.length; i++)
		for (let j = 0; j < COMBINATIONS; j++)
			sums[j] = (sums[j] as number) + Math.imul(rows[COMBINATIONS * i + j] as number, values[i] as number);
	const mask = modulusBits === 32 ? -1 : 2 ** modulusBits - 1;
	return sums.map((value) => value & mask);
}

function bitCount(word: number): number {
	const pairs = word - ((word >>> 1) & 0x55555555);
	const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
	return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
