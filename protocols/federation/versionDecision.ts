/**
 * Deciding one next version: proposals and ballots, attempt after attempt, until a quorum
 * certificate. Knows nothing of networks; the membership machine feeds and drains it.
 */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import {
	type Ballot,
	BallotBox,
	type BallotOutcome,
	type DeadCertificate,
	verifyDeadCertificate,
} from "../certificate/index.ts";
import { type ChainLink, type CharterChain, charterSlot } from "./chain.ts";
import { charterHash } from "./charter.ts";
import { MAX_PROPOSALS } from "./constants.ts";
import { checkProposal, type Proposal } from "./proposal.ts";

interface Attempt {
	readonly box: BallotBox;
	/** By hex charter hash; all checked. */
	readonly proposals: Map<string, Proposal>;
}

export class VersionDecision {
	readonly #chain: CharterChain;
	readonly #attempts: Attempt[] = [];
	/** Proof that attempt i is over, at index i. */
	readonly #dead: DeadCertificate[] = [];

	/** @param chain the chain whose head's members decide */
	constructor(chain: CharterChain) {
		this.#chain = chain;
		this.#open();
	}

	/** The attempt that is being voted on. */
	get attempt(): number {
		return this.#attempts.length - 1;
	}

	get slot() {
		return this.#current.box.slot;
	}

	get proposals(): Proposal[] {
		return [...this.#current.proposals.values()];
	}

	get ballots(): Ballot[] {
		return this.#current.box.ballots();
	}

	/**
	 * Takes a proposal for the current attempt. True when it is new.
	 * @throws AlthingError `federation.invalid_proposal`
	 */
	propose(proposal: Proposal): boolean {
		if (proposal.attempt !== this.attempt) return false;
		const key = toHex(charterHash(proposal.charter));
		const { proposals } = this.#current;
		if (proposals.has(key) || proposals.size >= MAX_PROPOSALS) return false;
		// One proposal a member: more would only fill everybody's memory.
		if ([...proposals.values()].some(({ proposer }) => proposer === proposal.proposer)) return false;
		checkProposal(this.#chain, proposal);
		proposals.set(key, proposal);
		return true;
	}

	/** Counts a ballot of any attempt up to the current one. */
	vote(ballot: Ballot): BallotOutcome {
		const attempt = this.#attempts[ballot.slot.attempt];
		return attempt === undefined ? "invalid" : attempt.box.add(ballot);
	}

	/** Accepts proof that the current attempt is over. False when it is not about it or not valid. */
	bury(certificate: DeadCertificate): boolean {
		const { slot } = certificate;
		const { scope, subject, instance, attempt } = this.slot;
		if (slot.scope !== scope || slot.subject !== subject || slot.instance !== instance) return false;
		if (slot.attempt !== attempt || !verifyDeadCertificate(this.#chain.electorate, certificate)) return false;
		this.#dead.push(certificate);
		this.#open();
		return true;
	}

	/** Proof that an earlier attempt is over. */
	deadCertificate(attempt: number): DeadCertificate | undefined {
		return this.#dead[attempt];
	}

	/** Moves on when the ballots show that the current attempt is dead; returns the proof. */
	buryIfDead(): DeadCertificate | undefined {
		const dead = this.#current.box.dead();
		return dead !== undefined && this.bury(dead) ? dead : undefined;
	}

	/** The proposal to vote for: the one with most votes among those that can still win. */
	favourite(): Proposal | undefined {
		const { box, proposals } = this.#current;
		for (const value of box.viableValues()) {
			const proposal = proposals.get(toHex(value));
			if (proposal !== undefined) return proposal;
		}
		// Nobody's vote is known: all members settle on the same one of those they hold.
		const [first] = [...proposals].sort(([a], [b]) => (a < b ? -1 : 1));
		return first?.[1];
	}

	/** Hashes that somebody voted for and whose proposal is missing here. */
	hasUnknownValue(): boolean {
		return this.ballots.some(({ value }) => value !== null && !this.#current.proposals.has(toHex(value)));
	}

	/** The certified next link, once a quorum voted for a proposal that is known here. */
	decided(): ChainLink | undefined {
		for (const { box, proposals } of this.#attempts) {
			const certificate = box.certificate();
			if (certificate === undefined) continue;
			for (const { charter } of proposals.values()) {
				if (!equalBytes(charterHash(charter), certificate.value)) continue;
				return { charter, founding: null, certificate: { ...certificate, votes: [...certificate.votes] } };
			}
		}
		return undefined;
	}

	get #current(): Attempt {
		return this.#attempts.at(-1) as Attempt;
	}

	#open(): void {
		const { electorate, federationId, head } = this.#chain;
		const slot = charterSlot(federationId, head.version + 1, this.#attempts.length);
		this.#attempts.push({ box: new BallotBox(electorate, slot), proposals: new Map() });
	}
}
