/**
 * 128 random 0/1 projections of a vector over Z/2^m, from a public seed: a linear
 * fingerprint. Two different vectors agree on one projection with probability at most
 * 1/2 (whatever the difference, zero divisors included: flip the bit of a coordinate
 * where they differ), on all with 2^-128, provided the seed was drawn after both were
 * committed. Linear: projections of a sum are the sum of projections.
 */
import { forEachChunk } from "./maskStream.ts";
import type { ModulusBits } from "./ringPacking.ts";
import { ringProjectionSums } from "./ringProjectionSums.ts";
import { forEachGroup } from "./subsetSums.ts";

export const PROJECTIONS = 128;

const littleEndianHost = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** Coordinates handled together: their 256 subset sums cost less than 8 x 128 conditional additions. */
const GROUP = 8;
const WORDS_PER_GROUP = PROJECTIONS / 4;

/**
 * Byte k of the 128 keystream bytes of a group of eight coordinates says which of them
 * projection k adds (bit j: coordinate j). About 50 additions a coordinate, up to 16 bits
 * some 20 instructions on wide registers.
 * @param seed32 32 public bytes
 * @param values length d; only the low `modulusBits` bits matter
 * @returns 128 values below 2^modulusBits
 * @throws AlthingError `crypto.bad_key`
 */
export function projectRing(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	return modulusBits <= 16 && littleEndianHost
		? projectShort(seed32, values, modulusBits)
		: projectWide(seed32, values, modulusBits);
}

/** Sixteen projections at once (ringProjectionSums.wat). */
function projectShort(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	const kernel = ringProjectionSums();
	kernel.low.fill(0);
	kernel.high.fill(0);
	forEachChunk(Math.ceil(values.length / GROUP) * WORDS_PER_GROUP, seed32, (offset, words) => {
		const groups = words.length / WORDS_PER_GROUP;
		const first = (offset / WORDS_PER_GROUP) * GROUP;
		const some = values.subarray(first, first + groups * GROUP);
		kernel.values.set(some);
		kernel.values.fill(0, some.length, groups * GROUP);
		kernel.stream.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength));
		kernel.project(groups);
	});
	const mask = 2 ** modulusBits - 1;
	return Uint32Array.from(kernel.low, (low, k) => (low + ((kernel.high[k] as number) << 8)) & mask);
}

function projectWide(seed32: Uint8Array, values: Uint32Array, modulusBits: ModulusBits): Uint32Array {
	const sums = new Uint32Array(PROJECTIONS);
	forEachGroup(seed32, values, { group: GROUP, wordsPerGroup: WORDS_PER_GROUP }, (subset, words, at) => {
		for (let w = 0; w < WORDS_PER_GROUP; w++) {
			const word = words[at + w] as number;
			const k = w * 4;
			sums[k] = (sums[k] as number) + (subset[word & 255] as number);
			sums[k + 1] = (sums[k + 1] as number) + (subset[(word >>> 8) & 255] as number);
			sums[k + 2] = (sums[k + 2] as number) + (subset[(word >>> 16) & 255] as number);
			sums[k + 3] = (sums[k + 3] as number) + (subset[word >>> 24] as number);
		}
	});
	if (modulusBits < 32) {
		const mask = 2 ** modulusBits - 1;
		for (let k = 0; k < PROJECTIONS; k++) sums[k] = (sums[k] as number) & mask;
	}
	return sums;
}
