/**
 * What dealers sealed for their holders, until it is forwarded, and the trees over the sharings of those dealers
 * that the next holders on the ring have in common.
 */
import type { MerkleTree } from "../../crypto/merkle.ts";
import { SEALED_SHARE_BYTES, sharingTree } from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";

interface Dealt {
	readonly leaves: Uint8Array;
	readonly sealed: Uint8Array;
}

export class SealedShares {
	readonly #dealt = new Map<PeerId, Dealt>();
	/** Latest used last. */
	readonly #trees = new Map<PeerId, MerkleTree>();

	keep(dealer: PeerId, dealt: Dealt): void {
		this.#dealt.set(dealer, dealt);
	}

	/**
	 * The share at a position, and its proof.
	 * @param neighbours of the holder it is for: about as many trees are kept
	 */
	shareOf(dealer: PeerId, position: number, neighbours: number): { sealed: Uint8Array; path: Uint8Array } {
		const { leaves, sealed } = this.#dealt.get(dealer) as Dealt;
		const tree = this.#trees.get(dealer) ?? sharingTree(leaves, sealed);
		this.#trees.delete(dealer);
		this.#trees.set(dealer, tree);
		if (this.#trees.size > 2 * neighbours) this.#trees.delete(this.#trees.keys().next().value as PeerId);
		const start = position * SEALED_SHARE_BYTES;
		return { sealed: sealed.subarray(start, start + SEALED_SHARE_BYTES), path: tree.proof(2 * position + 1) };
	}

	/** Forgets everything. */
	clear(): void {
		this.#dealt.clear();
		this.#trees.clear();
	}
}
