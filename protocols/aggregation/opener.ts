/** A participant's phases 4 and 5: opens what the certificate allows, verifies and removes the masks. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { isPacked, packedSize, packRing } from "../../crypto/ringPacking.ts";
import { openPart, type SharedPart } from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";
import { accusation, type Offender } from "../robust/outcome.ts";
import { canonical, hasEdge } from "./cohort.ts";
import type { AggregationOutput } from "./configuration.ts";
import type { Context } from "./context.ts";
import type { Contributor } from "./contributor.ts";
import type { AggregationTaskResult } from "./masking.ts";
import {
	type Certified,
	type MessageOf,
	type Opening,
	type Proposal,
	type Reveal,
	signStatement,
} from "./messages.ts";
import { isProjectionOf, type UnmaskKeys, unmaskKeys } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { encodePromise, type SessionPromise } from "./promises.ts";
import { certifiedFlaw, droppedOf, survivorsOf } from "./proposal.ts";
import type { Screener } from "./screener.ts";
import { beaconOf, projectionSeed, sharingContext, vectorHash } from "./sessionId.ts";
import type { Voter } from "./voter.ts";

export const UNMASK_WORK = "unmask";
export const OUTCOME_WORK = "outcome";

/** An opening with the packed inputs that travel beside it, one after the other. */
export interface HeldOpening {
	readonly opening: Opening;
	readonly inputs: Uint8Array;
}

export class Opener {
	readonly #context: Context;
	readonly #contributor: Contributor;
	readonly #screener: Screener;
	readonly #voter: Voter;
	/** Which kind of share was opened for whom: never both for one (attack A3). */
	readonly #revealed = new Map<string, SharedPart>();
	#announced = false;
	#reveal: Reveal | undefined;
	#working: HeldOpening | undefined;
	/** Keys of the opening being worked on, and the sum once it is unmasked. */
	#unmasking: { readonly keys: UnmaskKeys; readonly sum?: Uint32Array } | undefined;
	#waitingForSum: HeldOpening | undefined;
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
	learn(certified: Certified, from: PeerId, out: Outbox): boolean {
		const { config, sidPre, slot } = this.#context;
		const known = this.#voter.certified();
		if (known !== undefined && equalBytes(known.certificate.value, certified.certificate.value)) return true;
		const flaw = certifiedFlaw(config, sidPre, slot, certified, undefined);
		if (flaw !== undefined) {
			out.fault(from, "bad_certificate", `${from} sent a bad survivor certificate: ${flaw}.`);
			return false;
		}
		this.#voter.learn(certified.certificate, certified.proposed);
		return true;
	}

	/** Once the survivor set is certified: tells the owner, and opens this node's own seeds; `again` when asked. */
	advance(out: Outbox, again = false): void {
		const certified = this.#voter.certified();
		if (certified === undefined) return;
		const { proposed, certificate } = certified;
		if (!this.#announced) {
			this.#announced = true;
			out.output({ kind: "certified", certificate, survivors: survivorsOf(proposed.proposal) });
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

	/** True when the certificate is about the very session this node masked for. */
	#agrees(certified: Certified): boolean {
		const { config, sidPre, slot } = this.#context;
		const sharing = this.#contributor.sharing;
		return sharing === undefined || certifiedFlaw(config, sidPre, slot, certified, sharing) === undefined;
	}

	#revealOwn(certified: Certified, again: boolean, out: Outbox): void {
		const { config, coordinator, self } = this.#context;
		const { proposal } = certified.proposed;
		const hash = certified.certificate.value;
		const sharing = this.#contributor.sharing;
		const seed = this.#contributor.selfSeed;
		// Outside U3 the self mask is all that hides this node's late input: it stays closed.
		if (sharing === undefined || seed === undefined || !survivorsOf(proposal).includes(self)) return;
		if (this.#reveal !== undefined && !again) return;
		if (!this.#agrees(certified) || !this.#voter.project(hash, out)) return;
		if (this.#reveal === undefined) {
			if (!this.#promise(sharing.roster.sid, self, "seed", out)) return;
			const edges = droppedOf(proposal)
				.filter((gone) => hasEdge(sharing, self, gone))
				.map((gone) => ({ peer: gone, seed: this.#contributor.pairSeedTo(gone) as Uint8Array }));
			this.#reveal = signStatement<Reveal>(config.self, { kind: "reveal", proposalHash: hash, seed, edges });
		}
		out.send(coordinator, {
			kind: "reveal",
			reveal: this.#reveal,
			projection: this.#voter.ownProjection(hash),
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
	openShares({ certified, targets }: MessageOf<"shareRequest">, from: PeerId, out: Outbox): void {
		const sharing = this.#contributor.sharing;
		if (!this.learn(certified, from, out) || sharing === undefined) return;
		const own = this.#voter.certified();
		// learn() checked the survivors' metas; agreeing with the own view binds them to this U2.
		if (own === undefined || !this.#agrees(own)) return;
		const { proposal } = own.proposed;
		const { sid } = sharing.roster;
		const survivors = survivorsOf(proposal);
		const parts: MessageOf<"shareReply">["parts"] = [];
		for (const target of targets) {
			const held = this.#contributor.heldShareOf(target);
			if (held === undefined || !proposal.cohort.includes(target)) continue;
			const part = survivors.includes(target) ? "seed" : "maskKey";
			if (!this.#promise(sid, target, part, out)) continue;
			const opened = openPart(sharingContext(sid, target), held, part);
			parts.push({
				target,
				part,
				index: opened.index,
				value: opened.value,
				partSalt: opened.partSalt,
				others: [...opened.others],
				proof: [...opened.proof],
			});
		}
		if (parts.length > 0) out.send(from, { kind: "shareReply", sid, parts });
	}

	/** Checks an opening and starts the unmasking; asks for the masked sum if it is missing. */
	unmask(
		{ certified, opening, screening }: MessageOf<"opening">,
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
		if (this.#working !== undefined || !this.learn(certified, from, out)) return;
		if (screening !== undefined) this.#screener.learn(screening);
		this.advance(out);
		const own = this.#voter.certified();
		if (sharing === undefined || own === undefined || !this.#agrees(own)) return;
		this.#start({ opening, inputs: blob ?? new Uint8Array() }, from, out);
	}

	#start(held: HeldOpening, from: PeerId, out: Outbox): void {
		const { config } = this.#context;
		const { certificate, proposed } = this.#voter.certified() as Certified;
		const { proposal } = proposed;
		const sharing = this.#contributor.sharing;
		if (sharing === undefined) return;
		const packed = this.#voter.sum(proposal.sumHash);
		if (packed === undefined) {
			this.#waitingForSum = held;
			out.send(from, { kind: "sumRequest", sumHash: proposal.sumHash });
			return;
		}
		const keys = unmaskKeys(sharing, proposal, held.opening);
		const evidence =
			typeof keys === "string" ? keys : this.#projectionEvidence(certificate.value, held, from);
		if (typeof keys === "string" || typeof evidence === "string") {
			out.fault(
				from,
				"bad_opening",
				`${from} sent a bad opening: ${typeof keys === "string" ? keys : evidence}.`,
			);
			return;
		}
		const { screening } = this.#context.config;
		// The opening is asked for again with the screening that the certificate names.
		if (screening !== undefined && this.#screener.screeningOf(proposal) === undefined) return;
		this.#working = held;
		this.#unmasking = { keys };
		out.output({ kind: "phase", phase: "release" });
		out.work(UNMASK_WORK, {
			kind: "unmask",
			packed,
			seed: projectionSeed(certificate.value),
			...evidence,
			add: keys.add,
			subtract: keys.subtract,
			length: config.length,
			modulusBits: config.modulusBits,
		});
	}

	/**
	 * What the masked sum is compared with: for each survivor its signed projection, or its
	 * masked input itself, which its signed meta commits to. Only a proposer that has lost
	 * its office may be missing: its projection could prove nothing, since a wrong sum of
	 * its making equals an input of its choosing.
	 */
	#projectionEvidence(
		hash: Uint8Array,
		{ opening, inputs }: HeldOpening,
		from: PeerId,
	): { projections: Uint8Array[]; inputs: Uint8Array[]; compare: boolean } | string {
		const { config } = this.#context;
		const { proposal } = (this.#voter.certified() as Certified).proposed;
		const size = packedSize(config.length, config.modulusBits);
		if (inputs.length !== opening.inputs.length * size) return "its inputs have a wrong length";
		const projections: Uint8Array[] = [];
		const vectors: Uint8Array[] = [];
		let compare = true;
		for (const { author, inputHash } of proposal.metas) {
			const projection = opening.projections.find((one) => one.author === author);
			const position = opening.inputs.indexOf(author);
			if (position >= 0) {
				const vector = inputs.slice(position * size, (position + 1) * size);
				if (!isPacked(vector, config.modulusBits, config.length))
					return `the masked input of ${author} is no packed vector`;
				if (!equalBytes(vectorHash(vector), inputHash))
					return `the masked input of ${author} is not the signed one`;
				vectors.push(vector);
			} else if (projection !== undefined) {
				if (!isProjectionOf(projection, hash, proposal, config.modulusBits))
					return `the projection of ${author} is not its own`;
				projections.push(projection.packed);
			} else if (author === proposal.proposer && author !== from) compare = false;
			else return `the projection of ${author} is missing`;
		}
		return { projections, inputs: vectors, compare };
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
		const { coordinator, config } = this.#context;
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
			const task = this.#screener.openedTask(proposal, unmasking.keys, packRing(sum, config.modulusBits));
			if (task !== undefined) out.work(OUTCOME_WORK, task);
			return false;
		}
		const screening = this.#screener.outcome(proposal, unmasking.keys, result);
		if (config.screening !== undefined && screening === undefined) return false;
		for (const offender of screening?.offenders ?? []) this.#accuse(offender, proposal, out);
		this.#working = undefined;
		this.#unmasking = undefined;
		this.#released = held;
		const { sid } = sharing.roster;
		this.#release = {
			kind: "released",
			sum,
			survivors: survivorsOf(proposal),
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
		const release = this.#release;
		const certified = this.#voter.certified();
		if (release === undefined || certified === undefined) return;
		const { parts, config, coordinator } = this.#context;
		if (!parts.complete(certified.proposed.proposal, out)) return;
		const publicParts =
			config.publicBytes === undefined ? undefined : parts.partsOf(certified.proposed.proposal);
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
