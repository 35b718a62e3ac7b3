/** Collects the ballots of one slot and finds what they prove. */

import { fromHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../../crypto/identity.ts";
import {
	type Ballot,
	contradicts,
	type DeadCertificate,
	type Electorate,
	isDead,
	type QuorumCertificate,
	quorum,
	type Slot,
	slotId,
	tally,
	valueKey,
	verifyBallot,
} from "./certificates.ts";

/** What {@link BallotBox.add} made of a ballot; an equivocation is counted and returned as evidence. */
export type BallotOutcome =
	| "added"
	| "duplicate"
	| "invalid"
	| { readonly equivocation: readonly [Ballot, Ballot] };

export class BallotBox {
	readonly slot: Slot;
	readonly #electorate: Electorate;
	readonly #id: string;
	/** At most two contradicting ballots a voter: two already prove all there is to prove. */
	readonly #ballots = new Map<PeerId, Ballot[]>();

	constructor(electorate: Electorate, slot: Slot) {
		this.#electorate = electorate;
		this.slot = slot;
		this.#id = slotId(slot);
	}

	/** Verifies and counts a ballot. */
	add(ballot: Ballot): BallotOutcome {
		if (slotId(ballot.slot) !== this.#id) return "invalid";
		const earlier = this.#ballots.get(ballot.voter) ?? [];
		if (earlier.some((known) => !contradicts(known, ballot))) return "duplicate";
		if (!verifyBallot(this.#electorate, ballot)) return "invalid";
		const first = earlier[0];
		if (first !== undefined && earlier.length > 1) return { equivocation: [first, ballot] };
		this.#ballots.set(ballot.voter, [...earlier, ballot]);
		return first === undefined ? "added" : { equivocation: [first, ballot] };
	}

	/** Every ballot counted so far. */
	ballots(): Ballot[] {
		return [...this.#ballots.values()].flat();
	}

	/** The quorum certificate, if some value has q votes. */
	certificate(): QuorumCertificate | undefined {
		const q = quorum(this.#electorate);
		if (this.#ballots.size < q) return undefined;
		const { votes } = tally(this.#electorate, this.ballots());
		const winner = [...votes].find(([, count]) => count >= q)?.[0];
		if (winner === undefined) return undefined;
		const signers = this.ballots()
			.filter((ballot) => valueKey(ballot.value) === winner)
			.sort((a, b) => (a.voter < b.voter ? -1 : 1));
		return {
			slot: this.slot,
			value: fromHex(winner),
			votes: signers.map(({ voter, signature }) => ({ voter, signature })),
		};
	}

	/** The Dead certificate, if no value can win any more. */
	dead(): DeadCertificate | undefined {
		const ballots = this.ballots();
		return isDead(this.#electorate, ballots) ? { slot: this.slot, ballots } : undefined;
	}

	/** Values that somebody voted for and that can still reach q, most votes first. */
	viableValues(): Uint8Array[] {
		const { votes, canWin } = tally(this.#electorate, this.ballots());
		return [...votes]
			.filter(([key]) => canWin(key))
			.sort(([a, countA], [b, countB]) => countB - countA || (a < b ? -1 : 1))
			.map(([key]) => fromHex(key));
	}
}
