/** A participant's phases 4 and 5: opens what the certificate allows, verifies and removes the masks. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { packRing } from "../../crypto/ringPacking.ts";
import { openPart, type SharedPart } from "../../crypto/verifiableSharing.ts";
import type { QuorumCertificate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import { accusation, type Offender } from "../robust/outcome.ts";
import { byBucket } from "./bucketGraph.ts";
import { sumsByBucket, unmaskTask } from "./bucketSums.ts";
import type { Sharing } from "./cohort.ts";
import { recordsOf } from "./cohortRecords.ts";
import type { AggregationOutput } from "./configuration.ts";
import type { Context } from "./context.ts";
import type { Contributor } from "./contributor.ts";
import type { AggregationTaskResult, MaskRemoval } from "./masking.ts";
import type { Certified, Evidence, MessageOf, Proposal, Reveal } from "./messages.ts";
import { type CheckedOpening, checkedOpening, type Opening } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { encodePromise, type SessionPromise } from "./promises.ts";
import { certifiedFlaw, droppedOf, evidenceFlaw, proposalFlaw, survivorsOf } from "./proposal.ts";
import { claimsOf } from "./publicParts.ts";
import type { Screener } from "./screener.ts";
import { beaconOf, projectionSeed, sharingContext, vectorHash } from "./sessionId.ts";
import { canonical, signStatement } from "./statements.ts";
import type { Voter } from "./voter.ts";

export const UNMASK_WORK = "unmask";
export const OUTCOME_WORK = "outcome";

/** An opening as it travels, and checked. */
export interface HeldOpening extends CheckedOpening {
	readonly encoded: Uint8Array;
}

export class Opener {
	readonly #context: Context;
	readonly #contributor: Contributor;
	readonly #screener: Screener;
	readonly #voter: Voter;
	/** Which kind of share was opened for whom: never both for one (attack A3). */
	readonly #revealed = new Map<string, SharedPart>();
	#announced = false;
	#agreement:
		| { readonly certificate: QuorumCertificate; readonly sharing: Sharing; readonly agrees: boolean }
		| undefined;
	#reveal: Reveal | undefined;
	#working: HeldOpening | undefined;
	/** Masks of the opening being worked on, and the sum once it is unmasked. */
	#unmasking: { readonly masks: MaskRemoval; readonly sum?: Uint32Array } | undefined;
	#waitingForSum: HeldOpening | undefined;
	/** An opening that came before all that holders opened of sketches was here. */
	#waitingForOpenings:
		| { readonly message: MessageOf<"opening">; readonly from: PeerId; readonly blob: Uint8Array }
		| undefined;
	#released: HeldOpening | undefined;
	/** What is to be told once every public part is here. */
	#release: Extract<AggregationOutput, { kind: "released" }> | undefined;

	constructor(
		context: Context,
		contributor: Contributor,
		screener: Screener,
		voter: Voter,
		promises: readonly SessionPromise[],
	) {
		this.#context = context;
		this.#contributor = contributor;
		this.#screener = screener;
		this.#voter = voter;
		for (const promise of promises) {
			if (promise.kind === "revealed")
				this.#revealed.set(`${toHex(promise.sid)} ${promise.target}`, promise.part);
		}
	}

	/** The verified opening, kept so that a later leader can get it from any node that released. */
	get released(): HeldOpening | undefined {
		return this.#released;
	}

	/** Takes a certificate from a peer; blames the peer for an invalid one. */
	learn(certified: Certified, evidence: Evidence | undefined, from: PeerId, out: Outbox): boolean {
		const { self } = this.#context;
		const hash = certified.certificate.value;
		const known = this.#voter.certified();
		const same = known !== undefined && equalBytes(known.certificate.value, hash);
		if (same && (evidence === undefined || this.#voter.evidenceFor(hash) !== undefined)) return true;
		const flaw =
			(same ? undefined : certifiedFlaw(this.#context, certified)) ??
			(evidence && evidenceFlaw(this.#context, certified.proposed, evidence, self));
		if (flaw !== undefined) {
			out.fault(from, "bad_certificate", `${from} sent a bad survivor certificate: ${flaw}.`);
			return false;
		}
		this.#voter.learn(certified.certificate, certified.proposed, evidence);
		return true;
	}

	/** Once the survivor set is certified: tells the owner, and opens this node's own seeds; `again` when asked. */
	advance(out: Outbox, again = false): void {
		const certified = this.#voter.certified();
		if (certified === undefined) return;
		const { proposed, certificate } = certified;
		if (!this.#announced) {
			this.#announced = true;
			const survivors = survivorsOf(this.#context.graph, proposed.proposal);
			out.output({ kind: "certified", certificate, survivors });
			out.output({ kind: "phase", phase: "reveal" });
			const why = this.#cannotRelease(certified);
			// Who was not selected, or not ready, has nothing to release: it gets the result from the others anyway.
			if (why !== undefined && this.#contributor.invited) {
				const message = `This node cannot verify the sum itself: ${why}. It gets the round's result from the others.`;
				out.output({ kind: "failed", error: new AlthingError("aggregation.other_session", message) });
			}
		}
		this.#revealOwn(certified, again, out);
	}

	#cannotRelease(certified: Certified): string | undefined {
		if (this.#contributor.sharing === undefined) return "it took no part in the certified session";
		if (!this.#agrees(certified)) return "it was shown another roster or share set than the certified one";
		return undefined;
	}

	/** True when the certificate is about the very session this node masked for: judged once for each. */
	#agrees(certified: Certified): boolean {
		const { sharing } = this.#contributor;
		const { certificate } = certified;
		if (sharing === undefined) return true;
		const known = this.#agreement;
		if (known !== undefined && known.certificate === certificate && known.sharing === sharing)
			return known.agrees;
		const agrees = proposalFlaw(this.#context, certified.proposed, sharing) === undefined;
		this.#agreement = { certificate, sharing, agrees };
		return agrees;
	}

	/**
	 * The session that this node opens secrets for: its own view, which the certificate agrees with, and
	 * the signed metas around it, checked.
	 */
	#mayOpen(certified: Certified): Sharing | undefined {
		if (this.#voter.evidenceFor(certified.certificate.value) === undefined) return undefined;
		return this.#agrees(certified) ? this.#contributor.sharing : undefined;
	}

	#revealOwn(certified: Certified, again: boolean, out: Outbox): void {
		const { config, coordinator, self, graph } = this.#context;
		const { proposal } = certified.proposed;
		const hash = certified.certificate.value;
		const seed = this.#contributor.selfSeed;
		// Outside U3 the self mask is all that hides this node's late input: it stays closed.
		if (seed === undefined || !survivorsOf(graph, proposal).includes(self)) return;
		if (this.#reveal !== undefined && !again) return;
		const sharing = this.#mayOpen(certified);
		if (sharing === undefined || !this.#voter.project(hash, out)) return;
		const { sid } = sharing.roster;
		if (this.#reveal === undefined) {
			if (!this.#promise(sid, self, "seed", out)) return;
			this.#reveal = signStatement<Reveal>(config.self, { kind: "reveal", proposalHash: hash, seed });
		}
		out.send(coordinator, {
			kind: "reveal",
			reveal: this.#reveal,
			projection: this.#voter.ownProjection(hash),
			parts: this.#openParts(sid, certified, droppedOf(graph, proposal), out),
		});
	}

	/** Records which kind is opened for a target; false when the other kind was opened before. */
	#promise(sid: Uint8Array, target: PeerId, part: SharedPart, out: Outbox): boolean {
		const key = `${toHex(sid)} ${target}`;
		const earlier = this.#revealed.get(key);
		if (earlier !== undefined) return earlier === part;
		this.#revealed.set(key, part);
		out.persist(encodePromise({ kind: "revealed", sid, target, part }));
		return true;
	}

	/** Opens this node's shares for survivors (self seed) or dropped members (mask key), as certified. */
	openShares({ proposalHash, targets }: MessageOf<"shareRequest">, from: PeerId, out: Outbox): void {
		const certified = this.#certifiedAs(proposalHash);
		const sharing = certified && this.#mayOpen(certified);
		if (certified === undefined || sharing === undefined) return;
		const { sid } = sharing.roster;
		const parts = this.#openParts(sid, certified, targets, out);
		if (parts.length > 0) out.send(from, { kind: "shareReply", sid, parts });
	}

	#certifiedAs(hash: Uint8Array): Certified | undefined {
		const own = this.#voter.certified();
		return own !== undefined && equalBytes(own.certificate.value, hash) ? own : undefined;
	}

	#openParts(
		sid: Uint8Array,
		{ proposed: { proposal } }: Certified,
		targets: readonly PeerId[],
		out: Outbox,
	): MessageOf<"shareReply">["parts"] {
		const { graph } = this.#context;
		const survivors = new Set(survivorsOf(graph, proposal));
		const dropped = new Set(droppedOf(graph, proposal));
		return targets.flatMap((target) => {
			const held = this.#contributor.heldShareOf(target);
			if (held === undefined || (!survivors.has(target) && !dropped.has(target))) return [];
			const part = survivors.has(target) ? "seed" : "maskKey";
			if (!this.#promise(sid, target, part, out)) return [];
			const opened = openPart(sharingContext(sid, target), held, part);
			const { index, value, partSalt } = opened;
			return [{ target, part, index, value, partSalt, others: [...opened.others], proof: opened.proof }];
		});
	}

	/** Opens the seeds towards dropped members whose mask key cannot be reconstructed. */
	openEdges({ proposalHash, targets }: MessageOf<"edgeRequest">, from: PeerId, out: Outbox): void {
		const { graph } = this.#context;
		const certified = this.#certifiedAs(proposalHash);
		const sharing = certified && this.#mayOpen(certified);
		if (certified === undefined || sharing === undefined) return;
		const { sid } = sharing.roster;
		const dropped = new Set(droppedOf(graph, certified.proposed.proposal));
		const edges = targets.flatMap((peer) => {
			const seed = dropped.has(peer) ? this.#contributor.pairSeedTo(peer) : undefined;
			if (seed === undefined || !this.#promise(sid, peer, "maskKey", out)) return [];
			return [{ peer, seed }];
		});
		if (edges.length > 0) out.send(from, { kind: "edgeReply", sid, edges });
	}

	/** Shows a coordinator that took over what this node knows of its neighbourhood. */
	showRecords({ targets }: MessageOf<"recordsRequest">, from: PeerId, out: Outbox): void {
		const sharing = this.#contributor.sharing;
		const records = sharing && recordsOf(sharing, this.#context.self, targets);
		if (records !== undefined) out.send(from, records);
	}

	/** Sends this node's masked input once more, for the certified proposal alone. */
	inputAgain({ proposalHash }: MessageOf<"inputRequest">, out: Outbox): void {
		if (this.#certifiedAs(proposalHash) !== undefined) this.#contributor.sendAgain(out);
	}

	/** Checks an opening and starts the unmasking; asks for the masked sum if it is missing. */
	unmask(
		{ proposalHash, screening }: MessageOf<"opening">,
		from: PeerId,
		blob: Uint8Array | undefined,
		out: Outbox,
	): void {
		const sharing = this.#contributor.sharing;
		if (this.#released !== undefined) {
			this.partArrived(out);
			if (sharing !== undefined && this.#release === undefined)
				out.send(from, { kind: "done", sid: sharing.roster.sid });
			return;
		}
		const certified = this.#certifiedAs(proposalHash);
		if (this.#working !== undefined || certified === undefined || blob === undefined) return;
		if (screening !== undefined) this.#screener.learn(screening);
		if (sharing === undefined || !this.#agrees(certified)) return;
		this.#waitingForOpenings = undefined;
		if (!this.#screener.complete(certified.proposed.proposal, out)) {
			this.#waitingForOpenings = { message: { kind: "opening", proposalHash }, from, blob };
			return;
		}
		const { config, graph, sidPre, computations } = this.#context;
		try {
			const checked = computations.once(
				"opening",
				() => [sidPre, certified.certificate.value, blob],
				() => checkedOpening(graph, config, sidPre, certified, blob),
			);
			if (typeof checked === "string")
				out.fault(from, "bad_opening", `${from} sent a bad opening: ${checked}.`);
			else this.#start({ ...checked, encoded: blob }, from, out);
		} catch (error) {
			if (!(error instanceof AlthingError)) throw error;
			out.fault(from, "bad_opening", `${from} sent a bad opening. ${error.message}`);
		}
	}

	#start(held: HeldOpening, from: PeerId, out: Outbox): void {
		const { config } = this.#context;
		const certified = this.#voter.certified() as Certified;
		const { certificate, proposed } = certified;
		const packed = this.#voter.sum(proposed.proposal.sumHash);
		if (packed === undefined) {
			this.#waitingForSum = held;
			out.send(from, { kind: "sumRequest", sumHash: proposed.proposal.sumHash });
			return;
		}
		const { masks } = held;
		const evidence = this.#projectionEvidence(certified, held.opening);
		if (typeof evidence === "string") {
			out.fault(from, "bad_opening", `${from} sent a bad opening: ${evidence}.`);
			return;
		}
		// The opening is asked for again with the screening that the certificate names.
		if (config.screening !== undefined && !this.#screener.hasJudged(proposed.proposal)) return;
		this.#working = held;
		this.#unmasking = { masks };
		out.output({ kind: "phase", phase: "release" });
		const rest = { packed, seed: projectionSeed(certificate.value), compare: evidence.compare, masks };
		out.work(UNMASK_WORK, unmaskTask(this.#context, proposed.proposal, held.opening, rest));
	}

	/**
	 * What the masked sum is compared with: for each survivor its signed projection or, where that was
	 * false, its masked input. A missing one leaves nothing to compare (README, "Projections").
	 */
	#projectionEvidence(
		{ certificate, proposed }: Certified,
		opening: Opening,
	): { readonly compare: boolean } | string {
		const survivors = new Set(survivorsOf(this.#context.graph, proposed.proposal));
		const evidence = this.#voter.evidenceFor(certificate.value);
		const counted = new Set(opening.projections.map(({ author }) => author));
		for (const { survivor, packed } of opening.inputs) {
			const meta = evidence?.metas.find(({ author }) => author === survivor);
			if (meta !== undefined && !equalBytes(vectorHash(packed), meta.inputHash))
				return `the masked input of ${survivor} is not the signed one`;
			// Whose input this node cannot check, the survivor's neighbours check.
			if (!survivors.has(survivor) || counted.has(survivor)) return `the input of ${survivor} is of no use`;
			counted.add(survivor);
		}
		return { compare: counted.size === survivors.size };
	}

	/** The masked sum arrived that an opening waited for. */
	sumArrived(from: PeerId, out: Outbox): void {
		const held = this.#waitingForSum;
		if (held === undefined || this.#released !== undefined) return;
		this.#waitingForSum = undefined;
		this.#start(held, from, out);
	}

	/**
	 * The unmasking is done.
	 * @returns true when the sum was verified and released
	 */
	completed(result: AggregationTaskResult, out: Outbox): boolean {
		const held = this.#working;
		const certified = this.#voter.certified();
		const sharing = this.#contributor.sharing;
		const unmasking = this.#unmasking;
		if (held === undefined || unmasking === undefined || certified === undefined || sharing === undefined)
			return false;
		const { coordinator, config, graph } = this.#context;
		const { proposal } = certified.proposed;
		if (result.kind === "unmask" && result.sum === undefined) {
			this.#working = undefined;
			out.fault(
				coordinator,
				"wrong_sum",
				`${coordinator} opened a masked sum that is not the sum of the survivors' inputs.`,
			);
			return false;
		}
		const sum = result.kind === "unmask" ? result.sum : unmasking.sum;
		if (sum === undefined) return false;
		if (result.kind === "unmask" && config.screening !== undefined) {
			this.#unmasking = { ...unmasking, sum };
			const sums = sumsByBucket(this.#context, sum).map((one) => packRing(one, config.modulusBits));
			const task = this.#screener.openedTask(proposal, unmasking.masks, sums);
			if (task !== undefined) out.work(OUTCOME_WORK, task);
			return false;
		}
		const screening = this.#screener.outcome(proposal, unmasking.masks, result, sum);
		if (config.screening !== undefined && screening === undefined) return false;
		for (const offender of screening?.offenders ?? []) this.#accuse(offender, proposal, out);
		this.#working = undefined;
		this.#unmasking = undefined;
		this.#released = held;
		const { sid } = sharing.roster;
		this.#release = {
			kind: "released",
			sum,
			survivors: survivorsOf(graph, proposal),
			...(config.buckets === undefined ? {} : { buckets: byBucket(graph, survivorsOf(graph, proposal)) }),
			sid,
			certificate: certified.certificate,
			beacon: beaconOf(sid, held.opening.seeds),
			...(screening === undefined ? {} : { screening }),
		};
		this.partArrived(out);
		return true;
	}

	/** Tells the owner as soon as the survivors' public parts are all here, which is at once where there are none. */
	partArrived(out: Outbox): void {
		const waiting = this.#waitingForOpenings;
		const proposal = this.#voter.certified()?.proposed.proposal;
		if (waiting !== undefined && proposal !== undefined && this.#screener.holdsAll(proposal))
			this.unmask(waiting.message, waiting.from, waiting.blob, out);
		const release = this.#release;
		const certified = this.#voter.certified();
		if (release === undefined || certified === undefined) return;
		const { parts, config, coordinator } = this.#context;
		const metas = (this.#voter.evidenceFor(certified.certificate.value)?.metas ?? []).toSorted((a, b) =>
			a.author < b.author ? -1 : 1,
		);
		const claims = claimsOf(metas);
		if (!parts.complete(claims, out)) return;
		const publicParts = config.publicBytes === undefined ? undefined : parts.partsOf(claims);
		this.#release = undefined;
		out.output({ ...release, ...(publicParts === undefined ? {} : { publicParts }) });
		out.send(coordinator, { kind: "done", sid: release.sid });
	}

	/** Names an offender with its own signed statement, or as the proposer its signed proposal. */
	#accuse(offender: Offender, proposal: Proposal, out: Outbox): void {
		const statements = this.#screener.screeningOf(proposal)?.statements ?? [];
		const statement = statements.find(({ author }) => author === offender.peer);
		const origin = this.#voter.certified()?.proposed.origin;
		const evidence = offender.offence === "wrong_input" ? origin : statement;
		out.fault(
			offender.peer,
			offender.offence,
			accusation(offender),
			evidence === undefined ? undefined : [canonical(evidence)],
		);
	}

	/** Drops this node's own reveal; what was released stays public. */
	forget(): void {
		this.#reveal = undefined;
		this.#waitingForSum = undefined;
	}
}
