/**
 * One projection of a vector over Z/2^m on a public direction of real numbers, rounded at random to integers
 * by a public seed. Linear, like every projection on integers: that of a sum is the sum of projections.
 *
 * The seed has to be drawn after the vector is fixed: what rounding adds is then at random, and at most t |x|
 * for all but 2 exp(-2 t^2) of the seeds (Hoeffding: each coordinate is off by a number with mean zero in
 * an interval of length one). Whoever knew the rounding first could make a vector of it.
 */
import { AlthingError } from "./error.ts";
import { forEachChunk } from "./maskStream.ts";
import type { ModulusBits } from "./ringPacking.ts";

/** What rounding adds to a projection of x, in |x|: more than this with a probability of at most 2^-45. */
export const DIRECTION_ROUNDING = 4;

/**
 * The direction as integers, each the one below or above with the probability that makes it right on average.
 * Exact comparisons of doubles: the same everywhere.
 * @param seed32 32 public bytes
 * @param direction finite numbers below 2^30 in size
 * @throws AlthingError `crypto.bad_key`
 */
export function roundedDirection(seed32: Uint8Array, direction: Float64Array): Int32Array {
	if (seed32.length !== 32)
		throw new AlthingError("crypto.bad_key", `A projection seed has 32 bytes, not ${seed32.length}.`);
	const row = new Int32Array(direction.length);
	forEachChunk(direction.length, seed32, (offset, words) => {
		for (let i = 0; i < words.length; i++) {
			const value = direction[offset + i] as number;
			const below = Math.floor(value);
			row[offset + i] = below + ((words[i] as number) < (value - below) * 2 ** 32 ? 1 : 0);
		}
	});
	return row;
}

/** @returns <row, values> mod 2^modulusBits; only the low `modulusBits` bits of the values matter */
export function projectOnDirection(row: Int32Array, values: Uint32Array, modulusBits: ModulusBits): number {
	let sum = 0;
	for (let i = 0; i < row.length; i++) sum = (sum + Math.imul(row[i] as number, values[i] as number)) | 0;
	return modulusBits === 32 ? sum >>> 0 : sum & (2 ** modulusBits - 1);
}
