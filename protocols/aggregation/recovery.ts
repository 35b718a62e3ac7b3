/** What a new coordinator learns from the members' reports, and what it must do with it. */
import { equalBytes } from "../../crypto/encoding.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import type { MessageOf, Proposed } from "./messages.ts";
import type { HeldOpening } from "./opener.ts";
import type { Outbox } from "./outbox.ts";
import type { Participant } from "./participant.ts";

export type Decision =
	/** A survivor set is certified: finish exactly it. */
	| { readonly kind: "finish"; readonly opening: HeldOpening | undefined }
	/** A value can still win: propose exactly it again. */
	| { readonly kind: "propose"; readonly hash: Uint8Array; readonly proposed: Proposed }
	/** Nothing can bind: ask everybody to abstain, so that attempt + 1 is allowed. */
	| { readonly kind: "abstain" };

export class Recovery {
	readonly #context: Context;
	readonly #participant: Participant;
	readonly #reported = new Set<PeerId>();
	readonly #holders = new Map<PeerId, Uint8Array>();
	#opening: HeldOpening | undefined;

	constructor(context: Context, participant: Participant) {
		this.#context = context;
		this.#participant = participant;
	}

	silent(): PeerId[] {
		return this.#context.members.filter((member) => !this.#reported.has(member));
	}

	/** Members that hold the masked sum with this hash. */
	holdersOf(sumHash: Uint8Array): PeerId[] {
		return [...this.#holders].filter(([, hash]) => equalBytes(hash, sumHash)).map(([peer]) => peer);
	}

	/** Takes a report; everything in it proves itself. */
	take(report: MessageOf<"report">, from: PeerId, blob: Uint8Array | undefined, out: Outbox): void {
		if (report.term !== this.#context.term || !this.#context.members.includes(from)) return;
		const { voter, opener, screener } = this.#participant;
		const { headers, sidPre, members } = this.#context;
		this.#reported.add(from);
		for (const header of report.headers) headers.note(header, sidPre, members, out);
		if (report.ballot !== undefined) voter.countBallot(report.ballot, from, out);
		const { proposed, certificate } = report;
		if (proposed !== undefined) {
			voter.learnProposal(proposed);
			if (report.screening !== undefined) screener.learn(report.screening);
			if (report.hasSum) this.#holders.set(from, proposed.proposal.sumHash);
			if (certificate !== undefined) {
				const sound = opener.learn({ certificate, proposed }, from, out);
				if (sound && report.opening !== undefined) {
					this.#opening ??= { opening: report.opening, inputs: blob ?? new Uint8Array() };
				}
			}
		}
		for (const projection of report.projections) voter.keepProjection(projection);
	}

	/** True when waiting for more reports cannot change the decision. */
	settled(): boolean {
		return (
			this.#participant.voter.certified() !== undefined || this.#context.awaited(this.silent()).length === 0
		);
	}

	decide(): Decision {
		const { voter, opener } = this.#participant;
		if (voter.certified() !== undefined) return { kind: "finish", opening: opener.released ?? this.#opening };
		for (const hash of voter.viableValues()) {
			const proposed = voter.proposalOf(hash);
			if (proposed !== undefined) return { kind: "propose", hash, proposed };
		}
		return { kind: "abstain" };
	}
}
