/**
 * 16 random +-1 projections of a vector over Z/2^m, from a public seed. Linear: projections of a sum are
 * the sum of projections. Where nothing wraps, each is a signed sum whose mean square is the squared L2
 * norm, so that 16 of them tell a vector's length within a known error and nothing else of it than 16
 * scalars.
 *
 * The squares' sum is dominated by that of Gaussian projections in every moment (Achlioptas, JCSS 2003,
 * Lemma 5.2): P[sum of squares >= T |x|^2] <= (T/16)^8 exp(-(T - 16)/2) over the choice of seed.
 */
import { AlthingError } from "./error.ts";
import { forEachChunk } from "./maskStream.ts";
import type { ModulusBits } from "./ringPacking.ts";

export const SIGN_PROJECTIONS = 16;

/** T: an honest vector's squares add up to more than T |x|^2 with probability at most 2^-40. */
export const SQUARES_LIMIT = 101;

/** Coordinates handled together: their 16 subset sums cost less than 4 x 16 conditional additions. */
const GROUP = 4;
const WORDS_PER_GROUP = (SIGN_PROJECTIONS * GROUP) / 32;

/**
 * Bit j of nibble k of a group of four coordinates says whether projection k adds or subtracts
 * coordinate j. The keystream is AES-256-CTR under the seed. Runs in time that depends on public lengths
 * alone, but indexes memory by the seed: the seed is public. About 7 additions a coordinate.
 * @param seed32 32 public bytes
 * @param values only the low `modulusBits` bits matter
 * @returns 16 values below 2^modulusBits
 * @throws AlthingError `crypto.bad_key`
 */
export function projectSigns(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	if (seed32.length !== 32)
		throw new AlthingError("crypto.bad_key", `A projection seed has 32 bytes, not ${seed32.length}.`);
	const added = new Uint32Array(SIGN_PROJECTIONS);
	const subset = new Uint32Array(1 << GROUP);
	let total = 0;
	const groups = Math.ceil(values.length / GROUP);
	forEachChunk(groups * WORDS_PER_GROUP, seed32, (offset, words) => {
		for (let at = 0; at < words.length; at += WORDS_PER_GROUP) {
			const first = ((offset + at) / WORDS_PER_GROUP) * GROUP;
			for (let j = 0; j < GROUP; j++) {
				const value = values[first + j] ?? 0;
				for (let k = 0; k < 1 << j; k++) subset[(1 << j) + k] = (subset[k] as number) + value;
			}
			total = (total + (subset[15] as number)) >>> 0;
			for (let w = 0; w < WORDS_PER_GROUP; w++) {
				const word = words[at + w] as number;
				for (let k = 0; k < 8; k++) {
					const row = 8 * w + k;
					added[row] = (added[row] as number) + (subset[(word >>> (4 * k)) & 15] as number);
				}
			}
		}
	});
	const mask = modulusBits === 32 ? -1 : 2 ** modulusBits - 1;
	return added.map((value) => (2 * value - total) & mask);
}

/** The representative of a ring element in [-2^(m-1), 2^(m-1)). */
export function centredResidue(value: number, modulusBits: ModulusBits): number {
	const shift = 32 - modulusBits;
	return (value << shift) >> shift;
}
