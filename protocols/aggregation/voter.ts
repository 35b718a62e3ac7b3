/** A participant's phase 3: judges proposals, votes at most once, collects everybody's ballots. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import {
	type Ballot,
	BallotBox,
	type DeadCertificate,
	type QuorumCertificate,
	VoteLock,
} from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import { areMaskedSums } from "./bucketSums.ts";
import type { Context } from "./context.ts";
import type { Contributor } from "./contributor.ts";
import type { AggregationTaskResult } from "./masking.ts";
import type { Evidence, MessageOf, Projection, Proposed } from "./messages.ts";
import { isProjectionOf } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { encodePromise } from "./promises.ts";
import { evidenceFlaw, proposalFlaw, proposalHash, survivorsOf } from "./proposal.ts";
import { claimsOf } from "./publicParts.ts";
import type { Screener } from "./screener.ts";
import { projectionSeed, vectorHash } from "./sessionId.ts";
import { canonical, signStatement } from "./statements.ts";

export const PROJECT_WORK = "project:";

/** Distinct proposals kept; an honest coordinator makes one. */
const MAX_PROPOSALS = 4;

export class Voter {
	readonly #context: Context;
	readonly #contributor: Contributor;
	readonly #screener: Screener;
	readonly #lock: VoteLock;
	readonly #box: BallotBox;
	/** By hex of the proposal hash. */
	readonly #proposals = new Map<string, Proposed>();
	/** Signed metas around this node, by hex of the proposal hash. */
	readonly #evidence = new Map<string, Evidence>();
	/** Masked sums, by hex of their hash. */
	readonly #sums = new Map<string, Uint8Array>();
	readonly #projections = new Map<string, Projection>();
	readonly #ownProjections = new Map<string, Projection>();
	readonly #projecting = new Set<string>();
	/** Hash of the acceptable proposal whose survivors' public parts are not all here. */
	#waitingForParts: Uint8Array | undefined;
	/** The proposal that cannot be judged yet: not all that holders opened is here. */
	#waitingForOpenings:
		| { readonly message: MessageOf<"propose">; readonly blob: Uint8Array | undefined }
		| undefined;
	#certificate: QuorumCertificate | undefined;

	constructor(context: Context, contributor: Contributor, screener: Screener, restored: readonly Ballot[]) {
		this.#context = context;
		this.#contributor = contributor;
		this.#screener = screener;
		this.#lock = new VoteLock(context.config.self, restored);
		this.#box = new BallotBox(context.config.electorate, context.slot);
		for (const ballot of restored) this.#box.add(ballot);
	}

	/** The certificate, and the proposal it is for once that is known. */
	certified(): { certificate: QuorumCertificate; proposed: Proposed } | undefined {
		this.#certificate ??= this.#box.certificate();
		const proposed = this.#certificate && this.#proposals.get(toHex(this.#certificate.value));
		return this.#certificate && proposed ? { certificate: this.#certificate, proposed } : undefined;
	}

	/** Hash of the certified proposal, whether or not the proposal itself is known. */
	get certifiedValue(): Uint8Array | undefined {
		this.#certificate ??= this.#box.certificate();
		return this.#certificate?.value;
	}

	/** A certificate made elsewhere; the caller has verified all three. */
	learn(certificate: QuorumCertificate, proposed: Proposed, evidence: Evidence | undefined): void {
		this.#certificate ??= certificate;
		const key = toHex(certificate.value);
		this.#proposals.set(key, proposed);
		if (evidence !== undefined) this.#evidence.set(key, evidence);
	}

	/** The signed metas around this node for a proposal: without them it opens nothing. */
	evidenceFor(hash: Uint8Array): Evidence | undefined {
		return this.#evidence.get(toHex(hash));
	}

	/** Values that can still be certified, most votes first. */
	viableValues(): Uint8Array[] {
		return this.#box.viableValues();
	}

	dead(): DeadCertificate | undefined {
		return this.#box.dead();
	}

	/** Members whose ballot is here. */
	voters(): Set<PeerId> {
		return new Set(this.#box.ballots().map(({ voter }) => voter));
	}

	proposalOf(hash: Uint8Array): Proposed | undefined {
		return this.#proposals.get(toHex(hash));
	}

	/** Keeps a proposal that another member reported, if it is sound. */
	learnProposal(proposed: Proposed): void {
		const key = toHex(proposalHash(this.#context.sidPre, proposed.proposal));
		if (this.#proposals.has(key) || this.#proposals.size >= MAX_PROPOSALS) return;
		const flaw =
			proposalFlaw(this.#context, proposed, this.#contributor.sharing) ?? this.#ownFlaw(proposed, undefined);
		if (flaw === undefined) this.#proposals.set(key, proposed);
	}

	ballot(): Ballot | undefined {
		return this.#lock.ballot(this.#context.slot);
	}

	/** The proposal this node voted for, if it still has it. */
	votedProposal(): Proposed | undefined {
		const value = this.ballot()?.value;
		return value ? this.#proposals.get(toHex(value)) : undefined;
	}

	sum(hash: Uint8Array): Uint8Array | undefined {
		return this.#sums.get(toHex(hash));
	}

	/** Keeps a masked sum that some known proposal commits to. */
	keepSum(packed: Uint8Array): boolean {
		const hash = vectorHash(packed);
		const wanted = [...this.#proposals.values()].some(({ proposal }) => equalBytes(proposal.sumHash, hash));
		if (wanted) this.#sums.set(toHex(hash), packed);
		return wanted;
	}

	/** Signed projections known for a proposal. */
	projectionsFor(hash: Uint8Array): Projection[] {
		return [...this.#projections.values()].filter((known) => equalBytes(known.proposalHash, hash));
	}

	/** Judges a proposal with its masked sum and votes for it, unless this node has voted before. */
	judge(message: MessageOf<"propose">, blob: Uint8Array | undefined, out: Outbox): void {
		const { header, proposed, evidence, screening } = message;
		const { config, sidPre, coordinator, headers, members, self } = this.#context;
		const hash = proposalHash(sidPre, proposed.proposal);
		if (header.author !== coordinator || !equalBytes(header.proposalHash, hash)) return;
		const consistent =
			headers.note(header, sidPre, members, out) && headers.note(proposed.origin, sidPre, members, out);
		if (!consistent) return;
		if (message.session !== undefined && this.#contributor.sharing === undefined)
			this.#screener.observe(proposed.proposal, message.session);
		// Without a view of the share set a node cannot judge a screening, and leaves the vote to the others.
		if (config.screening !== undefined && this.#screener.bench === undefined) return;
		const early =
			proposalFlaw(this.#context, proposed, this.#contributor.sharing) ??
			(screening && this.#screener.learn(screening));
		this.#waitingForOpenings = undefined;
		if (early === undefined && !this.#screener.complete(proposed.proposal, out)) {
			this.#waitingForOpenings = { message, blob };
			return;
		}
		const flaw =
			early ??
			this.#screener.survivorsFlaw(proposed.proposal) ??
			evidenceFlaw(this.#context, proposed, evidence, self) ??
			this.#ownFlaw(proposed, evidence);
		if (flaw !== undefined) {
			out.fault(
				coordinator,
				"bad_proposal",
				`${coordinator} proposed an unacceptable survivor set: ${flaw}.`,
			);
			return;
		}
		const key = toHex(hash);
		if (!this.#proposals.has(key) && this.#proposals.size >= MAX_PROPOSALS) return;
		this.#proposals.set(key, proposed);
		this.#evidence.set(key, evidence);
		if (this.sum(proposed.proposal.sumHash) === undefined) {
			// Who votes must hold the sum, so that a later leader can get it from any voter.
			const packed = blob !== undefined && areMaskedSums(this.#context, blob);
			if (!packed || !equalBytes(vectorHash(blob), proposed.proposal.sumHash)) {
				out.fault(coordinator, "bad_sum", `${coordinator} sent a masked sum that is not the proposed one.`);
				return;
			}
			this.#sums.set(toHex(proposed.proposal.sumHash), blob);
		}
		this.#voteWhenComplete(hash, out);
	}

	/** A public part arrived: the proposal that waited for it may be complete. */
	partArrived(out: Outbox): void {
		const unjudged = this.#waitingForOpenings;
		if (unjudged !== undefined && this.#screener.holdsAll(unjudged.message.proposed.proposal))
			this.judge(unjudged.message, unjudged.blob, out);
		const waiting = this.#waitingForParts;
		this.#waitingForParts = undefined;
		if (waiting !== undefined) this.#voteWhenComplete(waiting, out);
	}

	/** Who votes must hold the survivors' public parts, like the sum. */
	#voteWhenComplete(hash: Uint8Array, out: Outbox): void {
		const proposed = this.#proposals.get(toHex(hash));
		if (proposed === undefined) return;
		if (!this.#context.parts.complete(claimsOf(this.evidenceFor(hash)?.metas ?? []), out))
			this.#waitingForParts = hash;
		else if (this.project(hash, out)) this.#vote(hash, out);
	}

	/** Own input must be in the set if the coordinator confirmed it. */
	#ownFlaw({ proposal }: Proposed, evidence: Evidence | undefined): string | undefined {
		const { meta, acknowledged, rosterRoot } = this.#contributor;
		if (rosterRoot !== undefined && !equalBytes(rosterRoot, proposal.rosterRoot)) {
			return "it follows from another roster than this node was shown";
		}
		if (meta === undefined || !acknowledged || this.#screener.leftOut(proposal)) return undefined;
		const { graph, self } = this.#context;
		const listed = evidence?.metas.find(({ author }) => author === self);
		const other = listed !== undefined && !equalBytes(canonical(listed), canonical(meta));
		return other || !survivorsOf(graph, proposal).includes(self)
			? "it leaves out this node's confirmed input"
			: undefined;
	}

	/**
	 * Makes this node's projection for a proposal if it is one of its survivors.
	 * @returns true when nothing is to be waited for
	 */
	project(hash: Uint8Array, out: Outbox): boolean {
		const { self, config, graph } = this.#context;
		const key = toHex(hash);
		const proposed = this.#proposals.get(key);
		const packed = this.#contributor.packed;
		if (proposed === undefined || packed === undefined || this.#ownProjections.has(key)) return true;
		if (!survivorsOf(graph, proposed.proposal).includes(self)) return true;
		if (!this.#projecting.has(key)) {
			this.#projecting.add(key);
			const { length, modulusBits } = config;
			out.work(PROJECT_WORK + key, {
				kind: "project",
				packed,
				seed: projectionSeed(hash),
				length,
				modulusBits,
			});
		}
		return false;
	}

	ownProjection(hash: Uint8Array): Projection | undefined {
		return this.#ownProjections.get(toHex(hash));
	}

	/** A projection is ready: the vote that waited for it goes out. */
	completed(hash: Uint8Array, result: AggregationTaskResult, out: Outbox): void {
		if (result.kind !== "project") return;
		const { config } = this.#context;
		this.#projecting.delete(toHex(hash));
		const projection = signStatement<Projection>(config.self, {
			kind: "projection",
			proposalHash: hash,
			packed: result.packed,
		});
		this.#ownProjections.set(toHex(hash), projection);
		this.#vote(hash, out);
	}

	#vote(hash: Uint8Array, out: Outbox): void {
		if (this.certified() !== undefined) return;
		const { ballot, fresh, agrees } = this.#lock.cast(this.#context.slot, hash);
		if (fresh) {
			out.output({ kind: "phase", phase: "vote" });
			out.persist(encodePromise({ kind: "ballot", ballot }));
		}
		if (!agrees) return;
		// The coordinator's repetition asks for it again; the others heard it once.
		const { coordinator, witnesses } = this.#context;
		this.#announce(ballot, fresh ? [...new Set([...witnesses, coordinator])] : [coordinator], out);
	}

	/** Promises never to vote here, unless this node has voted; sends whichever holds. */
	abstain(out: Outbox): void {
		const { ballot, fresh } = this.#lock.cast(this.#context.slot, null);
		if (fresh) out.persist(encodePromise({ kind: "ballot", ballot }));
		this.#announce(ballot, [this.#context.coordinator], out);
	}

	#announce(ballot: Ballot, to: readonly PeerId[], out: Outbox): void {
		const projection = ballot.value ? this.ownProjection(ballot.value) : undefined;
		const message: MessageOf<"vote"> = {
			kind: "vote",
			ballot,
			projection,
			headers: this.#context.headers.recent(3),
		};
		for (const peer of to) out.send(peer, message);
	}

	/** Counts somebody's ballot; two of one voter are a transferable proof. */
	count(message: MessageOf<"vote">, from: PeerId, out: Outbox): void {
		const { headers, sidPre, members } = this.#context;
		for (const header of message.headers) headers.note(header, sidPre, members, out);
		this.countBallot(message.ballot, from, out);
		if (message.projection !== undefined) this.keepProjection(message.projection);
	}

	countBallot(ballot: Ballot, from: PeerId, out: Outbox): void {
		const outcome = this.#box.add(ballot);
		if (outcome === "invalid") out.fault(from, "bad_ballot", `${from} sent an invalid ballot.`);
		else if (typeof outcome === "object") {
			const evidence = outcome.equivocation.map(canonical);
			out.fault(
				ballot.voter,
				"double_vote",
				`${ballot.voter} voted twice for one survivor set slot.`,
				evidence,
			);
		}
	}

	/** Keeps a survivor's projection of a known proposal; one each. */
	keepProjection(projection: Projection): void {
		const key = toHex(projection.proposalHash);
		const proposed = this.#proposals.get(key);
		const name = `${projection.author} ${key}`;
		if (proposed === undefined || this.#projections.has(name)) return;
		const { graph, config } = this.#context;
		const survivors = new Set(survivorsOf(graph, proposed.proposal));
		if (isProjectionOf(projection, projection.proposalHash, survivors, config.modulusBits)) {
			this.#projections.set(name, projection);
		}
	}

	/** Drops the vectors; ballots and certificates stay. */
	forget(): void {
		this.#ownProjections.clear();
	}
}
