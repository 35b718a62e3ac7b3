/** The participant role: what every member of the cohort does and checks for itself. */
import { equalBytes, fromHex } from "../../crypto/encoding.ts";
import { slotId, verifyDeadCertificate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import { Contributor } from "./contributor.ts";
import type { AggregationTaskResult } from "./masking.ts";
import { unpackCertificate } from "./memberSet.ts";
import type { AggregationMessage, MessageOf } from "./messages.ts";
import { Opener, OUTCOME_WORK, UNMASK_WORK } from "./opener.ts";
import type { Outbox } from "./outbox.ts";
import { decodePromise } from "./promises.ts";
import type { PublicParts } from "./publicParts.ts";
import { Screener, SKETCH_WORK, STATE_WORK } from "./screener.ts";
import { PROJECT_WORK, Voter } from "./voter.ts";

/** A survivor's own comes first; the others send theirs themselves. */
const REPORTED_PROJECTIONS = 8;

export class Participant {
	readonly #context: Context;
	readonly contributor: Contributor;
	readonly screener: Screener;
	readonly voter: Voter;
	readonly opener: Opener;
	/** Released or dead: no secrets are left. */
	ended = false;
	/** Shown to a coordinator that does not know yet that the attempt is over. */
	#dead: MessageOf<"dead"> | undefined;

	/** @throws AlthingError `aggregation.bad_promise` */
	constructor(context: Context) {
		this.#context = context;
		const promises = context.config.promises.map(decodePromise);
		const ballots = promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : []));
		this.contributor = new Contributor(context, promises.length === 0);
		this.screener = new Screener(context, this.contributor);
		this.voter = new Voter(context, this.contributor, this.screener, ballots);
		this.opener = new Opener(context, this.contributor, this.screener, this.voter, promises);
	}

	receive(from: PeerId, message: AggregationMessage, blob: Uint8Array | undefined, out: Outbox): void {
		if (this.#dead !== undefined) {
			const asks = message.kind === "recover" || message.kind === "abstainRequest" || message.kind === "open";
			if (asks && from !== this.#context.self) out.send(from, this.#dead);
			return;
		}
		switch (message.kind) {
			case "vote":
				this.voter.count(message, from, out);
				this.opener.advance(out);
				return;
			case "dead":
				this.#die(from, message, out);
				return;
			case "publicPart":
				if (blob !== undefined && this.#partsOf(message).keep(message.author, from, blob, out)) {
					this.voter.partArrived(out);
					this.opener.partArrived(out);
				}
				return;
			case "publicPartRequest":
				this.#partsOf(message).serve(message, from, out);
				return;
			case "sumRequest": {
				const packed = this.voter.sum(message.sumHash);
				if (packed !== undefined) out.send(from, { kind: "sum", sumHash: message.sumHash }, packed);
				return;
			}
			case "sum":
				if (blob !== undefined && this.voter.keepSum(blob)) this.opener.sumArrived(from, out);
				return;
			default:
				if (from === this.#context.coordinator) this.#obey(from, message, blob, out);
		}
	}

	#partsOf({ of }: MessageOf<"publicPart" | "publicPartRequest">): PublicParts {
		return of === "input" ? this.#context.parts : this.#context.openings;
	}

	#obey(from: PeerId, message: AggregationMessage, blob: Uint8Array | undefined, out: Outbox): void {
		const { contributor, voter, opener } = this;
		switch (message.kind) {
			case "open":
				if (!this.ended) contributor.advertise(message, out);
				return;
			case "roster":
				if (!this.ended) contributor.share(message, out);
				return;
			case "shares":
				if (!this.ended) contributor.verifyShares(message, out);
				return;
			case "openRequest":
				contributor.answerComplaints(message, out);
				return;
			case "shareSet":
				if (!this.ended) contributor.acceptShareSet(message, voter.ballot() === undefined, out);
				return;
			case "receipt":
				contributor.acknowledge(message);
				return;
			case "screen":
				if (!this.ended) this.screener.state(message, out);
				return;
			case "sketches":
				if (!this.ended) this.screener.takeSketches(message, out);
				return;
			case "confirmed":
				if (!this.ended) this.screener.takeConfirmed(message, out);
				return;
			case "disputed":
				if (!this.ended) this.screener.openDisputed(message, out);
				return;
			case "propose":
				voter.judge(message, blob, out);
				opener.advance(out);
				return;
			case "certified": {
				const { certificate: packed, proposed } = message.certified;
				const { slot, members } = this.#context;
				const certificate = unpackCertificate(members, slot, packed);
				if (certificate === undefined) return;
				if (opener.learn({ certificate, proposed }, message.evidence, from, out)) opener.advance(out, true);
				return;
			}
			case "inputRequest":
				opener.inputAgain(message, out);
				return;
			case "recordsRequest":
				opener.showRecords(message, from, out);
				return;
			case "edgeRequest":
				opener.openEdges(message, from, out);
				return;
			case "shareRequest":
				opener.openShares(message, from, out);
				return;
			case "opening":
				opener.unmask(message, from, blob, out);
				return;
			case "recover":
				if (equalBytes(message.sidPre, this.#context.sidPre)) this.#report(from, message, out);
				return;
			case "abstainRequest":
				if (equalBytes(message.sidPre, this.#context.sidPre) && voter.certified() === undefined)
					voter.abstain(out);
				return;
		}
	}

	/** Tells a new coordinator everything that could bind it. */
	#report(to: PeerId, { term }: MessageOf<"recover">, out: Outbox): void {
		const { voter, opener } = this;
		if (term !== this.#context.term) return;
		const certified = voter.certified();
		const proposed = certified?.proposed ?? voter.votedProposal();
		const hash = certified?.certificate.value ?? voter.ballot()?.value ?? undefined;
		out.send(
			to,
			{
				kind: "report",
				term,
				ballot: voter.ballot(),
				proposed,
				certificate: certified?.certificate,
				evidence: hash ? voter.evidenceFor(hash) : undefined,
				screening: proposed && this.screener.screeningOf(proposed.proposal),
				hasSum: proposed !== undefined && voter.sum(proposed.proposal.sumHash) !== undefined,
				projections: (hash ? voter.projectionsFor(hash) : []).slice(0, REPORTED_PROJECTIONS),
				headers: this.#context.headers.recent(3),
			},
			opener.released?.encoded,
		);
	}

	#die(from: PeerId, message: MessageOf<"dead">, out: Outbox): void {
		if (this.ended) return;
		const { certificate, reason } = message;
		const { config, slot } = this.#context;
		if (slotId(certificate.slot) !== slotId(slot) || !verifyDeadCertificate(config.electorate, certificate)) {
			out.fault(from, "bad_certificate", `${from} sent an invalid Dead certificate.`);
			return;
		}
		this.#dead = message;
		this.#end();
		out.output({ kind: "dead", certificate, reason });
	}

	/** @returns false when the work id is not a participant's */
	completed(workId: string, result: AggregationTaskResult, out: Outbox): void {
		if (this.ended) return;
		if (workId === UNMASK_WORK || workId === OUTCOME_WORK) {
			if (this.opener.completed(result, out)) this.#end();
		} else if (workId === STATE_WORK || workId === SKETCH_WORK) {
			this.screener.completed(result, out);
		} else if (workId.startsWith(PROJECT_WORK)) {
			this.voter.completed(fromHex(workId.slice(PROJECT_WORK.length)), result, out);
			this.opener.advance(out);
		} else this.contributor.completed(result, out);
	}

	#end(): void {
		this.ended = true;
		this.contributor.forget();
		this.voter.forget();
		this.opener.forget();
	}
}
