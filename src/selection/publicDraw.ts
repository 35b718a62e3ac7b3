/**
 * Randomness of a selection: a hash of the beacon, which nobody could choose or know before the round
 * before it was certified, so that everybody draws the same. Integers only: what is agreed on must not
 * depend on a processor's last bits.
 */
import { toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";

const DOMAIN = "althing/selection/1";
const WORD_BYTES = 6;
/** One more than the largest word. */
const WORDS = 2 ** (8 * WORD_BYTES);

export interface PublicDraw {
	readonly jobId: string;
	readonly round: number;
	/** 32 bytes: the beacon of the last certified round, or of the job's start. */
	readonly beacon: Uint8Array;
}

/** 32 bytes for one participant in one round. */
function ticketOf({ jobId, round, beacon }: PublicDraw, peer: PeerId): Uint8Array {
	return hashFields(`${DOMAIN}/ticket`, jobId, round, beacon, peer);
}

/** The participants in the order of their tickets: a uniform permutation. */
export function shuffled(draw: PublicDraw, peers: readonly PeerId[]): PeerId[] {
	return peers
		.map((peer) => ({ peer, ticket: toHex(ticketOf(draw, peer)) }))
		.sort((a, b) => (a.ticket < b.ticket ? -1 : 1))
		.map(({ peer }) => peer);
}

/** Whether a participant's own coin, with this probability, falls for it; low tickets come first in {@link shuffled}. */
export function drawn(draw: PublicDraw, peer: PeerId, probability: number): boolean {
	return wordAt(ticketOf(draw, peer), 0) < Math.floor(probability * WORDS);
}

/** Integers uniform in [0, below), one after the other, by rejection. @returns the next one for a bound of 1 to 2^47 */
export function uniformIntegers({ jobId, round, beacon }: PublicDraw): (below: number) => number {
	let block: Uint8Array = new Uint8Array();
	let at = 0;
	let counter = 0;
	return (below) => {
		const limit = WORDS - (WORDS % below);
		for (;;) {
			if (at + WORD_BYTES > block.length) {
				block = hashFields(`${DOMAIN}/integers`, jobId, round, beacon, counter++);
				at = 0;
			}
			const word = wordAt(block, at);
			at += WORD_BYTES;
			if (word < limit) return word % below;
		}
	};
}

function wordAt(bytes: Uint8Array, at: number): number {
	let word = 0;
	for (let i = 0; i < WORD_BYTES; i++) word = word * 256 + bytes[at + i]!;
	return word;
}
