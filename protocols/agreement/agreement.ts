/** One member's view of one proposed job, from proposal to a certified start. */

import { z } from "zod";
import { decodeCanonical, encodeCanonical, equalBytes, toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import {
	BallotBox,
	ballotSchema,
	type DeadCertificate,
	type Electorate,
	type QuorumCertificate,
	quorum,
	quorumCertificateSchema,
	type Slot,
	slotId,
	VoteLock,
	verifyDeadCertificate,
	verifyQuorumCertificate,
} from "../certificate/index.ts";
import type { Effects, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { bytes } from "../wire.ts";
import {
	type AgreementMessage,
	abortSchema,
	commitmentTo,
	type JobAbort,
	type JobProposal,
	type JobResponse,
	type JobStart,
	jobIdOf,
	type NonceReveal,
	proposalSchema,
	responseSchema,
	signAbort,
	signResponse,
	signReveal,
	startHash,
	startSchema,
	verifyAbort,
	verifyProposal,
	verifyResponse,
	verifyReveal,
} from "./messages.ts";

export type AgreementOutput =
	| { readonly kind: "proposed"; readonly proposal: JobProposal }
	| { readonly kind: "response"; readonly response: JobResponse }
	| { readonly kind: "started"; readonly start: JobStart; readonly certificate: QuorumCertificate }
	| { readonly kind: "refused"; readonly reason: string }
	| { readonly kind: "aborted"; readonly by: PeerId; readonly reason: string };

type Collector = EffectCollector<AgreementMessage, never, AgreementOutput, Uint8Array>;
type Step = Effects<AgreementMessage, never, AgreementOutput>;

const promiseSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("proposal"), proposal: proposalSchema }),
	z.strictObject({ kind: z.literal("response"), response: responseSchema, nonce: bytes(32) }),
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema }),
	z.strictObject({ kind: z.literal("start"), start: startSchema, certificate: quorumCertificateSchema }),
	z.strictObject({ kind: z.literal("abort"), abort: abortSchema }),
]);
type AgreementPromise = z.infer<typeof promiseSchema>;

/** The proposal among a job's journal records, needed to construct its {@link JobAgreement} again. */
export function proposalAmong(promises: readonly Uint8Array[]): JobProposal | undefined {
	for (const record of promises) {
		const promise = promiseSchema.parse(decodeCanonical(record));
		if (promise.kind === "proposal") return promise.proposal;
	}
	return undefined;
}

export interface JobAgreementOptions {
	readonly self: SigningKey;
	readonly proposal: JobProposal;
	/** The members under the charter that the proposal names. */
	readonly electorate: Electorate;
	/** Fewest participants the charter allows a job to start with. */
	readonly minimumCohort: number;
	/** How long the leader waits for members that have not answered, once enough have accepted. */
	readonly gatherMs: number;
	/** How long a leader may take before the next in line proposes the start. */
	readonly leaderTimeoutMs: number;
	readonly random: RandomBytes;
	readonly promises: readonly Uint8Array[];
}

const RESEND_MS = 1000;
const LATE_ATTEMPTS = 64;

export class JobAgreement {
	readonly jobId: string;
	readonly #options: JobAgreementOptions;
	readonly #lock: VoteLock;
	readonly #others: readonly PeerId[];
	readonly #responses = new Map<PeerId, JobResponse>();
	readonly #reveals = new Map<PeerId, NonceReveal>();
	readonly #contents = new Map<string, JobStart>();
	#nonce: Uint8Array | undefined;
	#attempt = 0;
	#dead: DeadCertificate[] = [];
	#box: BallotBox;
	#started: { start: JobStart; certificate: QuorumCertificate } | undefined;
	#abort: JobAbort | undefined;
	#refused = false;
	#enoughSinceMs: number | undefined;
	#attemptSinceMs = 0;
	#lastResendMs = Number.NEGATIVE_INFINITY;

	constructor(options: JobAgreementOptions) {
		this.#options = options;
		this.jobId = jobIdOf(options.proposal);
		this.#others = options.electorate.members.filter((peer) => peer !== options.self.peer);
		const promises = options.promises.map((record) => promiseSchema.parse(decodeCanonical(record)));
		this.#lock = new VoteLock(
			options.self,
			promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : [])),
		);
		this.#box = new BallotBox(options.electorate, this.#slot(0));
		for (const promise of promises) {
			if (promise.kind === "response") {
				this.#nonce = promise.nonce;
				this.#responses.set(options.self.peer, promise.response);
			} else if (promise.kind === "start")
				this.#started = { start: promise.start, certificate: promise.certificate };
			else if (promise.kind === "abort") this.#abort = promise.abort;
		}
	}

	get proposal(): JobProposal {
		return this.#options.proposal;
	}

	get responses(): readonly JobResponse[] {
		return [...this.#responses.values()];
	}

	get started(): { readonly start: JobStart; readonly certificate: QuorumCertificate } | undefined {
		return this.#started;
	}

	get aborted(): JobAbort | undefined {
		return this.#abort;
	}

	/** This member's own answer, if it has given one. */
	get ownResponse(): JobResponse | undefined {
		return this.#responses.get(this.#options.self.peer);
	}

	start(nowMs: number): Step {
		const out = this.#collector();
		if (
			!verifyProposal(this.proposal) ||
			!this.#options.electorate.members.includes(this.proposal.submitter)
		) {
			out.fault({
				peer: this.proposal.submitter,
				code: "agreement.forged_proposal",
				message: `job ${this.jobId} is not signed by a member`,
				proof: false,
			});
			this.#refused = true;
			return out.effects();
		}
		if (this.#options.promises.length === 0)
			out.persist(encodePromise({ kind: "proposal", proposal: this.proposal }));
		this.#attemptSinceMs = nowMs;
		if (this.#abort !== undefined)
			out.output({ kind: "aborted", by: this.#abort.by, reason: this.#abort.reason });
		else if (this.#started !== undefined) out.output({ kind: "started", ...this.#started });
		else if (this.ownResponse === undefined) out.output({ kind: "proposed", proposal: this.proposal });
		for (const peer of this.#others) this.#introduce(out, peer);
		if (this.#deciding) out.timer("tick", RESEND_MS / 4);
		return out.effects();
	}

	/** This member's answer, by its policy or a person; final. */
	respond(accept: boolean, reason: string, nowMs: number): Step {
		const out = this.#collector();
		if (this.ownResponse !== undefined || !this.#deciding) return {};
		const { self, proposal, random } = this.#options;
		const nonce = random(32);
		this.#nonce = nonce;
		const response = signResponse(proposal, self, {
			jobId: this.jobId,
			accept,
			commitment: commitmentTo(this.jobId, self.peer, nonce),
			reason,
		});
		out.persist(encodePromise({ kind: "response", response, nonce }));
		this.#addResponse(out, response);
		out.sendAll(this.#others, { kind: "response", response });
		this.#advance(out, nowMs);
		return out.effects();
	}

	/** Ends the job for everybody (the submitter's right). */
	abort(reason: string): Step {
		const out = this.#collector();
		if (this.#abort !== undefined) return {};
		const abort = signAbort(this.proposal, this.#options.self, { jobId: this.jobId, reason });
		this.#acceptAbort(out, abort);
		out.sendAll(this.#others, { kind: "abort", abort });
		return out.effects();
	}

	/** A member came (back): it gets what it may lack. */
	connectivity(peer: PeerId, connected: boolean): Step {
		const out = this.#collector();
		if (connected && this.#others.includes(peer)) this.#introduce(out, peer);
		return out.effects();
	}

	receive(from: PeerId, message: AgreementMessage, nowMs: number): Step {
		const out = this.#collector();
		if (!this.#options.electorate.members.includes(from)) {
			out.fault({
				peer: from,
				code: "agreement.stranger",
				message: `${from} is no member under job ${this.jobId}'s charter`,
				proof: false,
			});
			return out.effects();
		}
		switch (message.kind) {
			case "proposal":
				break;
			case "response":
				if (message.response.jobId === this.jobId && verifyResponse(this.proposal, message.response))
					this.#addResponse(out, message.response);
				else this.#forged(out, from, "response");
				break;
			case "reveal":
				if (this.#validReveal(message.reveal)) this.#reveals.set(message.reveal.peer, message.reveal);
				break;
			case "start_proposal":
				this.#receiveStartProposal(out, from, message, nowMs);
				break;
			case "ballot":
				this.#count(out, from, message.ballot, nowMs);
				break;
			case "start":
				this.#receiveStart(out, from, message);
				break;
			case "abort":
				if (
					message.abort.jobId === this.jobId &&
					message.abort.by === this.proposal.submitter &&
					verifyAbort(this.proposal, message.abort)
				) {
					this.#acceptAbort(out, message.abort);
				} else this.#forged(out, from, "abort");
				break;
		}
		this.#advance(out, nowMs);
		return out.effects();
	}

	expired(_timerId: string, nowMs: number): Step {
		const out = this.#collector();
		if (!this.#deciding) return {};
		this.#advance(out, nowMs);
		if (nowMs - this.#lastResendMs >= RESEND_MS) {
			this.#lastResendMs = nowMs;
			for (const peer of this.#others) this.#introduce(out, peer);
		}
		if (
			this.#enoughSinceMs !== undefined &&
			nowMs - this.#attemptSinceMs > this.#options.gatherMs + this.#options.leaderTimeoutMs
		) {
			this.#attemptSinceMs = nowMs;
			this.#castBallot(out, null, nowMs);
		}
		out.timer("tick", RESEND_MS / 4);
		return out.effects();
	}

	get #deciding(): boolean {
		return this.#started === undefined && this.#abort === undefined && !this.#refused;
	}

	#introduce(out: Collector, peer: PeerId): void {
		if (this.#abort !== undefined) {
			out.send(peer, { kind: "abort", abort: this.#abort });
			return;
		}
		out.send(peer, { kind: "proposal", proposal: this.proposal });
		if (this.#started !== undefined) {
			out.send(peer, { kind: "start", ...this.#started });
			return;
		}
		for (const response of this.#responses.values()) out.send(peer, { kind: "response", response });
		for (const reveal of this.#reveals.values()) out.send(peer, { kind: "reveal", reveal });
		const own = this.#lock.ballot(this.#slot(this.#attempt));
		if (own !== undefined) out.send(peer, { kind: "ballot", ballot: own });
	}

	#addResponse(out: Collector, response: JobResponse): void {
		const known = this.#responses.get(response.peer);
		if (known !== undefined || !this.#options.electorate.members.includes(response.peer)) return;
		this.#responses.set(response.peer, response);
		out.output({ kind: "response", response });
	}

	/** Reveals our nonce when enough accepted, lets the leader propose, and notices a job that cannot start. */
	#advance(out: Collector, nowMs: number): void {
		if (!this.#deciding) return;
		const { electorate, minimumCohort, self, gatherMs } = this.#options;
		const needed = Math.max(quorum(electorate), minimumCohort);
		const accepted = this.responses.filter((response) => response.accept);
		const refusals = this.responses.length - accepted.length;
		if (electorate.members.length - refusals < needed) {
			this.#refused = true;
			const reasons = this.responses.filter((r) => !r.accept).map((r) => r.reason);
			out.output({
				kind: "refused",
				reason: `${refusals} members refused, ${needed} must accept: ${reasons.join("; ")}`,
			});
			return;
		}
		if (accepted.length < needed) return;
		this.#enoughSinceMs ??= nowMs;
		// Commitments of a quorum are in: from here on nobody can choose its nonce by the others'.
		if (this.ownResponse?.accept && this.#nonce !== undefined && !this.#reveals.has(self.peer)) {
			const reveal = signReveal(this.proposal, self, { jobId: this.jobId, nonce: this.#nonce });
			this.#reveals.set(self.peer, reveal);
			out.sendAll(this.#others, { kind: "reveal", reveal });
		}
		if (this.#leader(this.#attempt) !== self.peer) return;
		const ready = accepted.filter((response) => this.#reveals.has(response.peer));
		const everybody = ready.length === accepted.length && this.responses.length === electorate.members.length;
		if (ready.length < needed || (!everybody && nowMs - this.#enoughSinceMs < gatherMs)) return;
		if (this.#lock.ballot(this.#slot(this.#attempt)) !== undefined) return;
		const start: JobStart = {
			jobId: this.jobId,
			charterHash: this.proposal.charterHash,
			participants: ready
				.sort((a, b) => (a.peer < b.peer ? -1 : 1))
				.flatMap((response) => {
					const reveal = this.#reveals.get(response.peer);
					return reveal === undefined ? [] : [{ response, reveal }];
				}),
		};
		this.#contents.set(toHex(startHash(start)), start);
		out.sendAll(this.#others, { kind: "start_proposal", start, attempt: this.#attempt, dead: this.#dead });
		this.#castBallot(out, startHash(start), nowMs);
	}

	#receiveStartProposal(
		out: Collector,
		from: PeerId,
		message: Extract<AgreementMessage, { kind: "start_proposal" }>,
		nowMs: number,
	): void {
		if (!this.#deciding || message.attempt < this.#attempt || message.attempt > this.#attempt + LATE_ATTEMPTS)
			return;
		if (message.attempt > this.#attempt) {
			const sound =
				message.dead.length === message.attempt &&
				message.dead.every(
					(dead, attempt) =>
						slotId(dead.slot) === slotId(this.#slot(attempt)) &&
						verifyDeadCertificate(this.#options.electorate, dead),
				);
			if (!sound) return;
			this.#enterAttempt(message.attempt, message.dead, nowMs);
		}
		if (from !== this.#leader(message.attempt) || !this.#validStart(message.start)) {
			out.fault({
				peer: from,
				code: "agreement.bad_start",
				message: `${from} proposed a start of job ${this.jobId} that does not hold`,
				proof: false,
			});
			return;
		}
		this.#contents.set(toHex(startHash(message.start)), message.start);
		this.#castBallot(out, startHash(message.start), nowMs);
	}

	#castBallot(out: Collector, value: Uint8Array | null, nowMs: number): void {
		const { ballot, fresh } = this.#lock.cast(this.#slot(this.#attempt), value);
		if (fresh) out.persist(encodePromise({ kind: "ballot", ballot }));
		out.sendAll(this.#others, { kind: "ballot", ballot });
		this.#count(out, this.#options.self.peer, ballot, nowMs);
	}

	#count(out: Collector, from: PeerId, ballot: Parameters<BallotBox["add"]>[0], nowMs: number): void {
		if (!this.#deciding || slotId(ballot.slot) !== slotId(this.#box.slot)) return;
		const outcome = this.#box.add(ballot);
		if (outcome === "invalid") {
			this.#forged(out, from, "ballot");
			return;
		}
		const certificate = this.#box.certificate();
		const start = certificate && this.#contents.get(toHex(certificate.value));
		if (certificate !== undefined && start !== undefined) {
			this.#begin(out, start, certificate);
			out.sendAll(this.#others, { kind: "start", start, certificate });
			return;
		}
		const dead = this.#box.dead();
		if (dead !== undefined) this.#enterAttempt(this.#attempt + 1, [...this.#dead, dead], nowMs);
	}

	#receiveStart(out: Collector, from: PeerId, message: Extract<AgreementMessage, { kind: "start" }>): void {
		if (!this.#deciding) return;
		const { certificate, start } = message;
		const sound =
			slotId(certificate.slot) === slotId(this.#slot(certificate.slot.attempt)) &&
			equalBytes(certificate.value, startHash(start)) &&
			this.#validStart(start) &&
			verifyQuorumCertificate(this.#options.electorate, certificate);
		if (sound) this.#begin(out, start, certificate);
		else this.#forged(out, from, "start certificate");
	}

	#begin(out: Collector, start: JobStart, certificate: QuorumCertificate): void {
		this.#started = { start, certificate };
		out.persist(encodePromise({ kind: "start", start, certificate }));
		out.output({ kind: "started", start, certificate });
	}

	#enterAttempt(attempt: number, dead: readonly DeadCertificate[], nowMs: number): void {
		this.#attempt = attempt;
		this.#dead = [...dead];
		this.#attemptSinceMs = nowMs;
		this.#box = new BallotBox(this.#options.electorate, this.#slot(attempt));
	}

	#validStart(start: JobStart): boolean {
		const { electorate, minimumCohort } = this.#options;
		const peers = start.participants.map(({ response }) => response.peer);
		return (
			start.jobId === this.jobId &&
			equalBytes(start.charterHash, this.proposal.charterHash) &&
			peers.length >= Math.max(quorum(electorate), minimumCohort) &&
			peers.every(
				(peer, index) =>
					electorate.members.includes(peer) && (index === 0 || (peers[index - 1] ?? "") < peer),
			) &&
			start.participants.every(
				({ response, reveal }) =>
					response.accept &&
					response.jobId === this.jobId &&
					reveal.peer === response.peer &&
					verifyResponse(this.proposal, response) &&
					this.#opens(response, reveal),
			)
		);
	}

	#validReveal(reveal: NonceReveal): boolean {
		const response = this.#responses.get(reveal.peer);
		return response !== undefined && this.#opens(response, reveal);
	}

	#opens(response: JobResponse, reveal: NonceReveal): boolean {
		return (
			reveal.jobId === this.jobId &&
			equalBytes(commitmentTo(this.jobId, reveal.peer, reveal.nonce), response.commitment) &&
			verifyReveal(this.proposal, reveal)
		);
	}

	#acceptAbort(out: Collector, abort: JobAbort): void {
		if (this.#abort !== undefined) return;
		this.#abort = abort;
		out.persist(encodePromise({ kind: "abort", abort }));
		out.output({ kind: "aborted", by: abort.by, reason: abort.reason });
	}

	/** Who may propose the start: a ranking that needs no beacon, for it decides nothing but who speaks first. */
	#leader(attempt: number): PeerId {
		const rank = (peer: PeerId) =>
			toHex(hashFields("althing/job-leader/1", this.proposal.charterHash, this.jobId, peer));
		const ranked = [...this.#options.electorate.members].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
		return ranked[attempt % ranked.length] ?? this.#options.self.peer;
	}

	#slot(attempt: number): Slot {
		return { scope: this.proposal.federationId, subject: "job", instance: this.jobId, attempt };
	}

	#forged(out: Collector, from: PeerId, what: string): void {
		out.fault({
			peer: from,
			code: "agreement.forged",
			message: `${from} sent a ${what} of job ${this.jobId} that does not verify`,
			proof: false,
		});
	}

	#collector(): Collector {
		return new EffectCollector();
	}
}

function encodePromise(promise: AgreementPromise): Uint8Array {
	return encodeCanonical(promise as never);
}
