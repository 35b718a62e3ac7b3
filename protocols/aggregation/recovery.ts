/** What a new coordinator learns from the members' reports, and what it must do with it. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { MerkleTree } from "../../crypto/merkle.ts";
import type { PeerId } from "../contract.ts";
import { screeningHash } from "../robust/verdict.ts";
import { cohortTree, metaLeaf, neighbourhoodOf, partOfTree } from "./cohort.ts";
import type { Context } from "./context.ts";
import type { Evidence, InputMeta, MessageOf, Proposed } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import type { Participant } from "./participant.ts";
import { evidenceFlaw, proposalHash, survivorsOf } from "./proposal.ts";

export type Decision =
	/** A survivor set is certified: finish exactly it, with the encoded opening if somebody has it. */
	| { readonly kind: "finish"; readonly opening: Uint8Array | undefined }
	/** A value can still win: propose exactly it again. */
	| { readonly kind: "propose"; readonly hash: Uint8Array; readonly proposed: Proposed }
	/** Nothing can bind: ask everybody to abstain, so that attempt + 1 is allowed. */
	| { readonly kind: "abstain" };

/** The one proposal that a member has reported, with what came along. */
interface Reported extends Pick<MessageOf<"report">, "screening" | "projections"> {
	/** Hex of the proposal's hash. */
	readonly key: string;
	readonly proposed: Proposed;
}

export class Recovery {
	readonly #context: Context;
	readonly #participant: Participant;
	readonly #reported = new Set<PeerId>();
	/** One for each member: a corrupt one could sign proposals without end, and take the place of what others report. */
	readonly #proposals = new Map<PeerId, Reported>();
	readonly #holders = new Map<PeerId, Uint8Array>();
	#opening: Uint8Array | undefined;
	/** Signed metas proven to belong to a proposal, by hex of its hash and by author. */
	readonly #metas = new Map<string, Map<PeerId, InputMeta>>();
	readonly #trees = new Map<string, MerkleTree>();

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
		const { voter, opener } = this.#participant;
		const { headers, sidPre, members } = this.#context;
		this.#reported.add(from);
		for (const header of report.headers) headers.note(header, sidPre, members, out);
		if (report.ballot !== undefined) voter.countBallot(report.ballot, from, out);
		const { proposed, certificate } = report;
		if (proposed === undefined) return;
		const key = toHex(proposalHash(sidPre, proposed.proposal));
		const { screening, projections } = report;
		const certified =
			certificate !== undefined && opener.learn({ certificate, proposed }, undefined, from, out);
		if (certified) this.#opening ??= blob;
		if (certified || !this.#proposals.has(from))
			this.#proposals.set(from, { key, proposed, screening, projections });
		if (this.#proposals.get(from)?.key === key) {
			if (report.evidence !== undefined) this.#takeMetas(key, proposed, report.evidence, from);
			if (report.hasSum) this.#holders.set(from, proposed.proposal.sumHash);
		}
		const { certifiedValue } = voter;
		if (certifiedValue !== undefined) this.#adopt(certifiedValue);
	}

	/** Tells the participant all that was reported of the one value that is to be finished, or proposed again. */
	#adopt(hash: Uint8Array): Proposed | undefined {
		const { voter, screener } = this.#participant;
		const reports = [...this.#proposals.values()].filter(({ key }) => key === toHex(hash));
		const [first] = reports;
		if (voter.proposalOf(hash) === undefined && first !== undefined) voter.learnProposal(first.proposed);
		const proposed = voter.proposalOf(hash);
		const named = proposed?.proposal.screening;
		for (const { screening, projections } of proposed === undefined ? [] : reports) {
			if (screening !== undefined && named !== undefined && equalBytes(screeningHash(screening), named))
				screener.learn(screening);
			for (const projection of projections) voter.keepProjection(projection);
		}
		return proposed;
	}

	#takeMetas(key: string, proposed: Proposed, evidence: Evidence, from: PeerId): void {
		if (evidenceFlaw(this.#context, proposed, evidence, from) !== undefined) return;
		const known = this.#metas.get(key) ?? new Map<PeerId, InputMeta>();
		for (const meta of evidence.metas) known.set(meta.author, meta);
		this.#metas.set(key, known);
	}

	/** What `member` is shown of a proposal's signed inputs; undefined until all of them are known. */
	evidenceFor({ proposal }: Proposed, member: PeerId): Evidence | undefined {
		const { graph, sidPre } = this.#context;
		const hash = proposalHash(sidPre, proposal);
		const key = toHex(hash);
		const own = this.#participant.voter.evidenceFor(hash);
		if (own !== undefined && !this.#metas.has(key))
			this.#metas.set(key, new Map(own.metas.map((meta) => [meta.author, meta])));
		const metas = this.#metas.get(key);
		if (metas === undefined || survivorsOf(graph, proposal).some((survivor) => !metas.has(survivor)))
			return undefined;
		const tree = this.#trees.get(key) ?? cohortTree(graph, metas, metaLeaf);
		this.#trees.set(key, tree);
		const around = graph.positionOf(member) < 0 ? [] : neighbourhoodOf(graph, member);
		const { proof } = partOfTree(graph, tree, around);
		return { metas: around.flatMap((peer) => metas.get(peer) ?? []), proof: [...proof] };
	}

	/** The signed input of a survivor of a proposal. */
	metaOf({ proposal }: Proposed, survivor: PeerId): InputMeta | undefined {
		return this.#metas.get(toHex(proposalHash(this.#context.sidPre, proposal)))?.get(survivor);
	}

	/** True when waiting for more reports cannot change the decision, nor add to what it takes to carry it out. */
	settled(): boolean {
		const certified = this.#participant.voter.certified();
		const ready =
			certified !== undefined && this.evidenceFor(certified.proposed, this.#context.self) !== undefined;
		return ready || this.#context.awaited(this.silent()).length === 0;
	}

	decide(): Decision {
		const { voter, opener } = this.#participant;
		if (voter.certified() !== undefined)
			return { kind: "finish", opening: opener.released?.encoded ?? this.#opening };
		for (const hash of voter.viableValues()) {
			const proposed = this.#adopt(hash);
			// Whoever voted for it was shown the inputs around itself; with too few such votes it can be proven dead.
			if (proposed !== undefined && this.evidenceFor(proposed, this.#context.self) !== undefined)
				return { kind: "propose", hash, proposed };
		}
		return { kind: "abstain" };
	}
}
