/**
 * 16 random projections of a vector over Z/2^m on rows of -1, 0 and +1 (a quarter, a half, a quarter), from
 * a public seed. Linear: projections of a sum are the sum of projections. Where nothing wraps, the mean
 * square of each is half the squared L2 norm, so that 16 of them tell a vector's length within a known error
 * and nothing else of it than 16 scalars.
 *
 * The zeros are needed: on rows of signs alone a vector of 2^(m-1) in an even number of places is zero,
 * whatever the signs. Here any two different vectors agree on a row with probability at most 1/2.
 *
 * All even moments of a row's entry, scaled to variance 1, are at most a Gaussian's, so the squares' sum is
 * dominated like that of Gaussian projections (Achlioptas, JCSS 2003, section 5):
 * P[sum of squares >= T/2 |x|^2] <= (T/16)^8 exp(-(T - 16)/2) over the choice of seed.
 */
import type { ModulusBits } from "./ringPacking.ts";
import { forEachGroup } from "./subsetSums.ts";

export const SIGN_PROJECTIONS = 16;

/** T/2: an honest vector's squares add up to more than this times |x|^2 with probability at most 2^-40. */
export const SQUARES_LIMIT = 101 / 2;

/**
 * The largest norm that inputs can be held to in a ring: at it 16 uniform projections, of a garbage input,
 * are within the limit with a chance of 0.235 (sqrt(50.5) bound / 2^m)^16 < 2^-40, and those of an honest
 * input do not wrap.
 */
export function largestProjectedNorm(modulusBits: ModulusBits): number {
	return 1.5 * 2 ** (modulusBits - 7);
}

/** Coordinates handled together: their 16 subset sums cost less than 4 x 16 conditional additions. */
const GROUP = 4;
/** Two sets of coordinates for each row: those it adds, and those it subtracts. */
const SUBSETS = 2 * SIGN_PROJECTIONS;
const WORDS_PER_GROUP = (SUBSETS * GROUP) / 32;

/**
 * Bit j of nibble 2 k of a group of four coordinates says whether projection k adds coordinate j, that of
 * nibble 2 k + 1 whether it subtracts it; both leave it out. About 11 additions a coordinate.
 * @param seed32 32 public bytes
 * @param values only the low `modulusBits` bits matter
 * @returns 16 values below 2^modulusBits
 * @throws AlthingError `crypto.bad_key`
 */
export function projectSigns(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	const sums = new Uint32Array(SUBSETS);
	forEachGroup(seed32, values, { group: GROUP, wordsPerGroup: WORDS_PER_GROUP }, (subset, words, at) => {
		for (let w = 0; w < WORDS_PER_GROUP; w++) {
			const word = words[at + w] as number;
			for (let k = 0; k < 8; k++) {
				const row = 8 * w + k;
				sums[row] = (sums[row] as number) + (subset[(word >>> (4 * k)) & 15] as number);
			}
		}
	});
	const mask = modulusBits === 32 ? -1 : 2 ** modulusBits - 1;
	return Uint32Array.from(
		{ length: SIGN_PROJECTIONS },
		(_, k) => ((sums[2 * k] as number) - (sums[2 * k + 1] as number)) & mask,
	);
}

/** The representative of a ring element in [-2^(m-1), 2^(m-1)). */
export function centredResidue(value: number, modulusBits: ModulusBits): number {
	const shift = 32 - modulusBits;
	return (value << shift) >> shift;
}
