/**
 * What dealers sealed for their holders, until it is forwarded: one piece of memory for each dealer, and the
 * trees over the shares of those dealers that the next holders on the ring have in common.
 */
import { type MerkleTree, merkleTree } from "../../crypto/merkle.ts";
import type { PeerId } from "../contract.ts";

interface Joined {
	readonly bytes: Uint8Array;
	/** Where each share ends. */
	readonly ends: Uint32Array;
}

export class SealedShares {
	readonly #dealt = new Map<PeerId, Joined>();
	/** Latest used last. */
	readonly #trees = new Map<PeerId, MerkleTree>();

	keep(dealer: PeerId, sealed: readonly Uint8Array[]): void {
		const ends = new Uint32Array(sealed.length);
		let end = 0;
		for (const [i, share] of sealed.entries()) {
			end += share.length;
			ends[i] = end;
		}
		const bytes = new Uint8Array(end);
		for (const [i, share] of sealed.entries()) bytes.set(share, i === 0 ? 0 : ends[i - 1]);
		this.#dealt.set(dealer, { bytes, ends });
	}

	/**
	 * The share at a position, and its proof.
	 * @param neighbours of the holder it is for: about as many trees are kept
	 */
	shareOf(dealer: PeerId, position: number, neighbours: number): { sealed: Uint8Array; path: Uint8Array[] } {
		const joined = this.#dealt.get(dealer) as Joined;
		const tree = this.#trees.get(dealer) ?? merkleTree(Array.from(joined.ends, (_, i) => shareAt(joined, i)));
		this.#trees.delete(dealer);
		this.#trees.set(dealer, tree);
		if (this.#trees.size > 2 * neighbours) this.#trees.delete(this.#trees.keys().next().value as PeerId);
		return { sealed: shareAt(joined, position), path: tree.proof(position) };
	}

	/** Forgets everything. */
	clear(): void {
		this.#dealt.clear();
		this.#trees.clear();
	}
}

function shareAt({ bytes, ends }: Joined, position: number): Uint8Array {
	return bytes.subarray(position === 0 ? 0 : ends[position - 1], ends[position]);
}
