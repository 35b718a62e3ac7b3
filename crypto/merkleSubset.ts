/**
 * Proofs that several leaves are in one Merkle tree (crypto/merkle.ts) at once: the hashes of the
 * largest subtrees without a known leaf, left to right. For an arc of neighbouring leaves these are
 * about 2 log2(size), however many leaves the arc has.
 */
import { equalBytes } from "./encoding.ts";
import { type MerkleTree, nodeHash } from "./merkle.ts";

/**
 * The hashes a verifier needs besides the leaves at `indices`.
 * @param size leaves of the tree
 * @throws RangeError for an index out of range
 */
export function subsetProof(tree: MerkleTree, size: number, indices: readonly number[]): Uint8Array[] {
	const sorted = [...new Set(indices)].sort((a, b) => a - b);
	const [first, last] = [sorted[0] ?? 0, sorted.at(-1) ?? 0];
	if (first < 0 || last >= size)
		throw new RangeError(`leaves ${first} to ${last} are outside a tree of ${size}`);
	const proof: Uint8Array[] = [];
	const visit = (from: number, to: number, known: readonly number[]): void => {
		if (known.length === 0) proof.push(tree.node(from, to));
		else if (to - from > 1) split(from, to, known, visit);
	};
	if (size > 0) visit(0, size, sorted);
	return proof;
}

/**
 * True when the leaf hashes (by index) are those of a tree of `size` leaves with this root.
 * Never throws.
 */
export function verifySubset(
	root: Uint8Array,
	size: number,
	leaves: ReadonlyMap<number, Uint8Array>,
	proof: readonly Uint8Array[],
): boolean {
	const sorted = [...leaves.keys()].sort((a, b) => a - b);
	if (size < 1 || (sorted[0] ?? 0) < 0 || (sorted.at(-1) ?? 0) >= size) return false;
	let used = 0;
	const hashOf = (from: number, to: number, known: readonly number[]): Uint8Array | undefined => {
		if (known.length === 0) return proof[used++];
		if (to - from === 1) return leaves.get(from);
		const halves: (Uint8Array | undefined)[] = [];
		split(from, to, known, (...half) => halves.push(hashOf(...half)));
		const [left, right] = halves;
		return left?.length === 32 && right?.length === 32 ? nodeHash(left, right) : undefined;
	};
	const computed = hashOf(0, size, sorted);
	return computed !== undefined && used === proof.length && equalBytes(computed, root);
}

/** Visits both subtrees of RFC 6962: the left one holds the largest power of two below the whole. */
function split(
	from: number,
	to: number,
	known: readonly number[],
	visit: (from: number, to: number, known: readonly number[]) => void,
): void {
	const middle = from + 2 ** (Math.ceil(Math.log2(to - from)) - 1);
	const cut = known.findIndex((index) => index >= middle);
	visit(from, middle, cut < 0 ? known : known.slice(0, cut));
	visit(middle, to, cut < 0 ? [] : known.slice(cut));
}
