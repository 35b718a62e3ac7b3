/**
 * Merkle trees with the hashing of RFC 6962 section 2.1 (leaf 0x00, node 0x01, so that a
 * node can never pass for a leaf) and the inclusion check of RFC 9162 section 2.1.3.2.
 */
import { equalBytes } from "./encoding.ts";
import { sha256 } from "./hash.ts";

const HASH_BYTES = 32;
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export interface MerkleTree {
	/** 32 bytes; SHA-256 of nothing for no leaves. */
	readonly root: Uint8Array;
	/** Sibling hashes from the leaf to the root, 32 bytes each, one behind the other. @throws RangeError */
	proof(index: number): Uint8Array;
	/**
	 * The hash over leaves `from` to `to - 1`, which must be a whole subtree: `from` a multiple of the
	 * smallest power of two that is at least their number, `to` that far on or the end.
	 */
	node(from: number, to: number): Uint8Array;
}

/**
 * Hashes all leaves once; use it when more than one proof is wanted.
 * @param given whether `leaves` are their data or their hashes already ({@link leafHash})
 */
export function merkleTree(leaves: readonly Uint8Array[], given: "data" | "hashed" = "data"): MerkleTree {
	// Level by level with an odd last node carried up unchanged is the tree of RFC 6962. A level is one piece
	// of memory: a cohort's trees have hundreds of thousands of nodes.
	const levels = [joined(given === "data" ? leaves.map(leafHash) : leaves)];
	for (let level = levels[0] as Uint8Array; level.length > HASH_BYTES; ) {
		const above = new Uint8Array(HASH_BYTES * Math.ceil(level.length / (2 * HASH_BYTES)));
		for (let from = 0; from < level.length; from += 2 * HASH_BYTES) {
			const left = level.subarray(from, from + HASH_BYTES);
			const right = level.subarray(from + HASH_BYTES, from + 2 * HASH_BYTES);
			above.set(right.length === 0 ? left : nodeHash(left, right), from / 2);
		}
		levels.push(above);
		level = above;
	}
	const nodeAt = (depth: number, place: number): Uint8Array | undefined => {
		const found = levels[depth]?.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES);
		return found?.length === HASH_BYTES ? found : undefined;
	};
	return {
		root: nodeAt(levels.length - 1, 0) ?? sha256(),
		node: (from, to) => {
			let depth = 0;
			while (2 ** depth < to - from) depth++;
			const found = nodeAt(depth, from / 2 ** depth);
			if (found === undefined) throw new RangeError(`leaves ${from} to ${to} are no subtree`);
			return found;
		},
		proof: (index) => {
			if (!Number.isInteger(index) || index < 0 || index >= leaves.length) {
				throw new RangeError(`leaf ${index} is outside a tree of ${leaves.length}`);
			}
			const proof = new Uint8Array(HASH_BYTES * (levels.length - 1));
			let end = 0;
			for (let depth = 0, at = index; depth < levels.length - 1; depth++, at >>>= 1) {
				const sibling = nodeAt(depth, at ^ 1);
				if (sibling === undefined) continue;
				proof.set(sibling, end);
				end += HASH_BYTES;
			}
			return proof.subarray(0, end);
		},
	};
}

function joined(hashes: readonly Uint8Array[]): Uint8Array {
	const all = new Uint8Array(HASH_BYTES * hashes.length);
	for (const [i, hash] of hashes.entries()) all.set(hash, i * HASH_BYTES);
	return all;
}

/** The hash of a leaf's data. */
export function leafHash(data: Uint8Array): Uint8Array {
	return sha256(LEAF, data);
}

/** The hash of an inner node. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
	return sha256(NODE, left, right);
}

/** The 32-byte root over leaf data, in order. */
export function merkleRoot(leaves: readonly Uint8Array[]): Uint8Array {
	return merkleTree(leaves).root;
}

/** Sibling hashes that prove leaf `index` to be in the tree, joined. @throws RangeError */
export function merkleProof(leaves: readonly Uint8Array[], index: number): Uint8Array {
	return merkleTree(leaves).proof(index);
}

/** True when `leaf` is leaf `index` of the tree of `size` leaves with this root. */
export function verifyMerkleProof(
	root: Uint8Array,
	leaf: Uint8Array,
	index: number,
	size: number,
	proof: Uint8Array,
): boolean {
	return verifyLeafHash(root, leafHash(leaf), index, size, proof);
}

/** {@link verifyMerkleProof} from the leaf's hash. */
export function verifyLeafHash(
	root: Uint8Array,
	hashOfLeaf: Uint8Array,
	index: number,
	size: number,
	proof: Uint8Array,
): boolean {
	if (hashOfLeaf.length !== HASH_BYTES || proof.length % HASH_BYTES !== 0) return false;
	if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) return false;
	let at = index;
	let last = size - 1;
	let hash = hashOfLeaf;
	for (let from = 0; from < proof.length; from += HASH_BYTES) {
		if (last === 0) return false;
		const sibling = proof.subarray(from, from + HASH_BYTES);
		if (at % 2 === 1 || at === last) {
			hash = nodeHash(sibling, hash);
			while (at % 2 === 0 && at !== 0) {
				at = Math.floor(at / 2);
				last = Math.floor(last / 2);
			}
		} else {
			hash = nodeHash(hash, sibling);
		}
		at = Math.floor(at / 2);
		last = Math.floor(last / 2);
	}
	return last === 0 && equalBytes(hash, root);
}
