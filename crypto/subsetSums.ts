/**
 * Sums of random subsets of a vector's coordinates: groups of a few coordinates are handled together, whose
 * subset sums are made once and looked up for every sum.
 */
import { AlthingError } from "./error.ts";
import { forEachChunk } from "./maskStream.ts";

/**
 * For each group of coordinates in turn, hands over all of its subset sums and the keystream words (AES-256-CTR
 * under the seed) that choose among them. Runs in time that depends on public lengths alone, but indexes memory
 * by the seed: the seed is public.
 * @param seed32 32 public bytes
 * @param group coordinates handled together; the last group is filled up with zeros
 * @param take `subset[bits]` is the sum of the coordinates whose bit is set (bit j: the group's coordinate j)
 *   mod 2^32; the group's words are `words[at]` to `words[at + wordsPerGroup - 1]`
 * @throws AlthingError `crypto.bad_key`
 */
export function forEachGroup(
	seed32: Uint8Array,
	values: Uint32Array,
	{ group, wordsPerGroup }: { readonly group: number; readonly wordsPerGroup: number },
	take: (subset: Uint32Array, words: Uint32Array, at: number) => void,
): void {
	if (seed32.length !== 32)
		throw new AlthingError("crypto.bad_key", `A projection seed has 32 bytes, not ${seed32.length}.`);
	const subset = new Uint32Array(1 << group);
	forEachChunk(Math.ceil(values.length / group) * wordsPerGroup, seed32, (offset, words) => {
		for (let at = 0; at < words.length; at += wordsPerGroup) {
			const first = ((offset + at) / wordsPerGroup) * group;
			for (let j = 0; j < group; j++) {
				const value = values[first + j] ?? 0;
				for (let k = 0; k < 1 << j; k++) subset[(1 << j) + k] = (subset[k] as number) + value;
			}
			take(subset, words, at);
		}
	});
}
