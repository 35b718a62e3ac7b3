/** A member's own promise never to vote twice, kept across restarts. */
import { equalBytes } from "../../crypto/encoding.ts";
import type { SigningKey } from "../../crypto/identity.ts";
import { type Ballot, type Slot, signBallot, slotId } from "./certificates.ts";

/**
 * Signs at most one ballot per slot. The caller persists the ballot that {@link cast} returns
 * as `fresh` before sending it, and gives all persisted ballots back after a restart.
 */
export class VoteLock {
	readonly #key: SigningKey;
	readonly #cast = new Map<string, Ballot>();

	constructor(key: SigningKey, restored: Iterable<Ballot> = []) {
		this.#key = key;
		for (const ballot of restored) {
			if (ballot.voter === key.peer) this.#cast.set(slotId(ballot.slot), ballot);
		}
	}

	/** The ballot this member has cast in the slot, if any. */
	ballot(slot: Slot): Ballot | undefined {
		return this.#cast.get(slotId(slot));
	}

	/**
	 * Casts a ballot, or returns the one cast before, whatever it said: the caller compares.
	 * `fresh` tells that the ballot is new and must be persisted before it leaves.
	 */
	cast(
		slot: Slot,
		value: Uint8Array | null,
	): { readonly ballot: Ballot; readonly fresh: boolean; readonly agrees: boolean } {
		const earlier = this.ballot(slot);
		if (earlier !== undefined) {
			const agrees =
				earlier.value === null || value === null ? earlier.value === value : equalBytes(earlier.value, value);
			return { ballot: earlier, fresh: false, agrees };
		}
		const ballot = signBallot(this.#key, slot, value);
		this.#cast.set(slotId(slot), ballot);
		return { ballot, fresh: true, agrees: true };
	}
}
