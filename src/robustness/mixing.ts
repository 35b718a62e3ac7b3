/** Steps before a rule that make honest vectors alike where their data are not. */
import { AlthingError } from "../../crypto/error.ts";
import { forEachChunk } from "../../crypto/maskStream.ts";
import { requireBreakdown } from "./breakdown.ts";
import { squaredDistances } from "./gram.ts";
import { ascending, mean, requireVectors, type Vectors } from "./vectors.ts";

/**
 * Each vector becomes the mean of its n - f nearest, itself included (Allouah et al. 2023, NNM).
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function mixNearestNeighbours(vectors: Vectors, attackers: number): Float64Array[] {
	requireVectors(vectors);
	requireBreakdown("nearest_neighbours", vectors.length, attackers);
	const { size, values } = squaredDistances(vectors);
	return vectors.map((_, i) => {
		const nearest = ascending(values.subarray(i * size, (i + 1) * size)).slice(0, size - attackers);
		return mean(
			vectors,
			nearest.sort((a, b) => a - b),
		);
	});
}

/**
 * Means of ceil(n / bucketSize) random buckets (Karimireddy, He, Jaggi 2022): variance falls, and f
 * attackers spoil at most f buckets.
 * @param seed 32 bytes that nobody could choose when the vectors were made
 * @returns the buckets' means, and each bucket's members as sorted indices
 * @throws AlthingError `robustness.bad_argument`, `robustness.bad_vectors`
 */
export function mixBuckets(
	vectors: Vectors,
	bucketSize: number,
	seed: Uint8Array,
): { readonly means: Float64Array[]; readonly buckets: readonly (readonly number[])[] } {
	requireVectors(vectors);
	if (!Number.isSafeInteger(bucketSize) || bucketSize < 1) {
		throw new AlthingError("robustness.bad_argument", `A bucket has 1 vector or more, not ${bucketSize}.`);
	}
	const order = publicPermutation(vectors.length, seed);
	const buckets: number[][] = [];
	for (let start = 0; start < order.length; start += bucketSize)
		buckets.push(order.slice(start, start + bucketSize).sort((a, b) => a - b));
	return { means: buckets.map((members) => mean(vectors, members)), buckets };
}

/** 0 .. count - 1 in an order that everybody works out from a public seed: by the keystream's 64-bit words. */
export function publicPermutation(count: number, seed: Uint8Array): number[] {
	const keys: bigint[] = [];
	forEachChunk(2 * count, seed, (_, words) => {
		for (let i = 0; i < words.length; i += 2) keys.push((BigInt(words[i]!) << 32n) | BigInt(words[i + 1]!));
	});
	return keys
		.map((key, index) => ({ key, index }))
		.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.index - b.index))
		.map(({ index }) => index);
}
