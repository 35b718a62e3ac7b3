/**
 * Decides one round's result by ballots that everybody sends to everybody.
 *
 * A participant votes for the result it computed from its own verified sum. One that lost
 * the sum (it dropped out or restarted) may vote for a value that f+1 members voted for (one
 * of them is honest and verified it) once it holds that value's state; and for `void` only
 * when no such value appears for a long time: the round's survivors were fixed, but too few
 * remember their shares to open the sum.
 */

import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../../crypto/identity.ts";
import {
	type Ballot,
	BallotBox,
	type BallotOutcome,
	type Electorate,
	type QuorumCertificate,
} from "../certificate/index.ts";
import { type RoundResult, resultHash, resultSlot } from "./result.ts";

export class ResultDecision {
	readonly round: number;
	readonly #box: BallotBox;
	readonly #electorate: Electorate;
	readonly #contents = new Map<string, RoundResult>();
	readonly #states = new Map<string, Uint8Array>();

	constructor(electorate: Electorate, federationId: string, jobId: string, round: number) {
		this.round = round;
		this.#electorate = electorate;
		this.#box = new BallotBox(electorate, resultSlot(federationId, jobId, round));
	}

	get slot() {
		return this.#box.slot;
	}

	/** Remembers a content (and its state) whose hash may be voted for. */
	know(content: RoundResult, state?: Uint8Array): void {
		const key = toHex(resultHash(content));
		this.#contents.set(key, content);
		if (state !== undefined) this.#states.set(key, state);
	}

	content(value: Uint8Array): RoundResult | undefined {
		return this.#contents.get(toHex(value));
	}

	state(value: Uint8Array): Uint8Array | undefined {
		return this.#states.get(toHex(value));
	}

	count(ballot: Ballot): BallotOutcome {
		return this.#box.add(ballot);
	}

	certificate(): QuorumCertificate | undefined {
		return this.#box.certificate();
	}

	/** A value that at least f+1 members voted for, and who they are. */
	vouched(): { readonly value: Uint8Array; readonly voters: PeerId[] } | undefined {
		for (const value of this.#box.viableValues()) {
			const voters = this.#box
				.ballots()
				.filter((ballot) => ballot.value !== null && equalBytes(ballot.value, value))
				.map((ballot) => ballot.voter);
			if (voters.length > this.#electorate.corruption) return { value, voters };
		}
		return undefined;
	}
}
