/** One member's view of one proposed job, from proposal to a certified start. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import type { Characteristics } from "../../src/selection/selectionChoice.ts";
import {
	type Ballot,
	BallotBox,
	type DeadCertificate,
	type QuorumCertificate,
	quorum,
	slotId,
	VoteLock,
	verifyBallot,
	verifyDeadCertificate,
	verifyQuorumCertificate,
} from "../certificate/index.ts";
import type { Effects, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import {
	type AgreementMessage,
	commitmentTo,
	type JobAbort,
	type JobProposal,
	type JobResponse,
	type JobStart,
	jobIdOf,
	type NonceReveal,
	signAbort,
	signResponse,
	signReveal,
	startHash,
	verifyAbort,
	verifyProposal,
	verifyResponse,
} from "./messages.ts";
import { decodePromise, encodePromise } from "./promises.ts";
import {
	acceptancesNeeded,
	isValidStart,
	leaderOf,
	opensCommitment,
	type StartRules,
	startSlot,
} from "./validity.ts";

export type AgreementOutput =
	/** Answer with {@link JobAgreement.respond}. */
	| { readonly kind: "proposed"; readonly proposal: JobProposal }
	| { readonly kind: "response"; readonly response: JobResponse }
	| { readonly kind: "started"; readonly start: JobStart; readonly certificate: QuorumCertificate }
	| { readonly kind: "refused"; readonly reason: string }
	| { readonly kind: "aborted"; readonly by: PeerId; readonly reason: string };

type Collector = EffectCollector<AgreementMessage, never, AgreementOutput, Uint8Array>;
type Step = Effects<AgreementMessage, never, AgreementOutput>;
type StartProposal = Extract<AgreementMessage, { kind: "start_proposal" }>;

export interface JobAgreementOptions extends StartRules {
	readonly self: SigningKey;
	/** Declared with an acceptance, for the job's selection of participants. */
	readonly characteristics?: Characteristics | undefined;
	/** How long the leader waits for members that have not answered, once enough have accepted. */
	readonly gatherMs: number;
	/** How long a leader may take before the next in line proposes the start. */
	readonly leaderTimeoutMs: number;
	readonly random: RandomBytes;
	/** This job's journal records, in order. */
	readonly promises: readonly Uint8Array[];
}

const RESEND_MS = 1000;
/** While a person is asked nothing changes for hours: repetition slows down to this. */
const MAX_RESEND_MS = 30_000;
/** Every so many repetitions a node also passes on the others' messages, for those whose author cannot reach everybody. */
const FORWARD_EVERY = 4;
/** Each further attempt waits twice as long, this often: attempts stay few, however long a member is away. */
const MAX_DOUBLINGS = 12;

export class JobAgreement {
	readonly jobId: string;
	readonly #options: JobAgreementOptions;
	readonly #lock: VoteLock;
	readonly #others: readonly PeerId[];
	readonly #alive = new Set<PeerId>();
	readonly #responses = new Map<PeerId, JobResponse>();
	readonly #reveals = new Map<PeerId, NonceReveal>();
	/** Valid starts by hex of their hash. */
	readonly #contents = new Map<string, JobStart>();
	#nonce: Uint8Array | undefined;
	#attempt = 0;
	readonly #dead: DeadCertificate[] = [];
	#box: BallotBox;
	/** The leader's ballot of this attempt, for a start that is among the contents. */
	#proposed: Ballot | undefined;
	#started: { start: JobStart; certificate: QuorumCertificate } | undefined;
	#abort: JobAbort | undefined;
	#refused = false;
	#enoughSinceMs: number | undefined;
	#attemptSinceMs = 0;
	#lastResendMs = Number.NEGATIVE_INFINITY;
	#resendMs = RESEND_MS;
	#resends = 0;

	/** @throws AlthingError `agreement.bad_record` when a journal record cannot be read */
	constructor(options: JobAgreementOptions) {
		this.#options = options;
		this.jobId = jobIdOf(options.proposal);
		this.#others = options.electorate.members.filter((peer) => peer !== options.self.peer);
		this.#alive.add(options.self.peer);
		const promises = options.promises.map(decodePromise);
		this.#lock = new VoteLock(
			options.self,
			promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : [])),
		);
		for (const promise of promises) {
			if (promise.kind === "response") {
				this.#nonce = promise.nonce;
				this.#responses.set(options.self.peer, promise.response);
			} else if (promise.kind === "ballot" && promise.start !== undefined)
				this.#contents.set(toHex(startHash(promise.start)), promise.start);
			else if (promise.kind === "start")
				this.#started = { start: promise.start, certificate: promise.certificate };
			else if (promise.kind === "abort") this.#abort = promise.abort;
		}
		this.#box = this.#newBox();
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
		this.#lastResendMs = nowMs;
		if (this.#abort !== undefined)
			out.output({ kind: "aborted", by: this.#abort.by, reason: this.#abort.reason });
		else if (this.#started !== undefined) out.output({ kind: "started", ...this.#started });
		else if (this.ownResponse === undefined) out.output({ kind: "proposed", proposal: this.proposal });
		for (const peer of this.#others) this.#introduce(out, peer);
		if (this.#deciding) out.timer("tick", RESEND_MS / 4);
		return out.effects();
	}

	/** This member's answer, by its policy or a person; final. Nothing happens once the job is decided. */
	respond(accept: boolean, reason: string, nowMs: number): Step {
		const out = this.#collector();
		if (this.ownResponse !== undefined || !this.#deciding) return {};
		const { self, proposal, random, characteristics } = this.#options;
		const nonce = random(32);
		this.#nonce = nonce;
		const response = signResponse(proposal, self, {
			jobId: this.jobId,
			accept,
			commitment: commitmentTo(this.jobId, self.peer, nonce),
			reason,
			...(accept && characteristics !== undefined ? { characteristics } : {}),
		});
		out.persist(encodePromise({ kind: "response", response, nonce }));
		this.#addResponse(out, response);
		out.sendAll(this.#others, { kind: "response", response });
		this.#advance(out, nowMs);
		return out.effects();
	}

	/** Ends the job for everybody: the submitter's right. Nothing happens at any other member. */
	abort(reason: string): Step {
		const { self } = this.#options;
		if (this.#abort !== undefined || this.proposal.submitter !== self.peer) return {};
		const out = this.#collector();
		const abort = signAbort(this.proposal, self, { jobId: this.jobId, reason });
		this.#acceptAbort(out, abort);
		out.sendAll(this.#others, { kind: "abort", abort });
		return out.effects();
	}

	/** A member came (back): it gets what it may lack. */
	connectivity(peer: PeerId, connected: boolean): Step {
		const out = this.#collector();
		if (!this.#others.includes(peer)) return {};
		if (connected) {
			this.#alive.add(peer);
			this.#introduce(out, peer);
		} else this.#alive.delete(peer);
		return out.effects();
	}

	receive(from: PeerId, message: AgreementMessage, nowMs: number): Step {
		const out = this.#collector();
		if (!this.#others.includes(from)) {
			out.fault({
				peer: from,
				code: "agreement.stranger",
				message: `${from} is no other member under job ${this.jobId}'s charter`,
				proof: false,
			});
			return out.effects();
		}
		this.#alive.add(from);
		if (message.kind === "abort") {
			const { abort } = message;
			const sound =
				abort.jobId === this.jobId &&
				abort.by === this.proposal.submitter &&
				verifyAbort(this.proposal, abort);
			if (sound) this.#acceptAbort(out, abort);
			else this.#forged(out, from, "abort");
		} else if (message.kind === "start") this.#receiveStart(out, from, message);
		// Whoever is still deciding missed the outcome; the outcome itself is never answered.
		else if (this.#started !== undefined) out.send(from, { kind: "start", ...this.#started });
		else if (this.#abort !== undefined) out.send(from, { kind: "abort", abort: this.#abort });
		else {
			this.#decide(out, from, message, nowMs);
			this.#advance(out, nowMs);
		}
		return out.effects();
	}

	#decide(
		out: Collector,
		from: PeerId,
		message: Exclude<AgreementMessage, { kind: "abort" | "start" }>,
		nowMs: number,
	): void {
		switch (message.kind) {
			case "proposal":
				break;
			case "response":
				if (this.#responses.has(message.response.peer)) break;
				if (message.response.jobId === this.jobId && verifyResponse(this.proposal, message.response))
					this.#addResponse(out, message.response);
				else this.#forged(out, from, "response");
				break;
			case "reveal":
				this.#receiveReveal(out, from, message.reveal);
				break;
			case "start_proposal":
				this.#receiveStartProposal(out, from, message, nowMs);
				break;
			case "ballot":
				this.#count(out, from, message.ballot, nowMs);
				break;
		}
	}

	expired(_timerId: string, nowMs: number): Step {
		const out = this.#collector();
		if (!this.#deciding) return {};
		this.#advance(out, nowMs);
		if (nowMs - this.#lastResendMs >= this.#resendMs) {
			this.#lastResendMs = nowMs;
			this.#resendMs = Math.min(2 * this.#resendMs, MAX_RESEND_MS);
			this.#resends++;
			for (const peer of this.#others) {
				if (this.#resends % FORWARD_EVERY === 0) this.#introduce(out, peer);
				else this.#repeatOwn(out, peer);
			}
		}
		this.#giveUpLeader(out, nowMs);
		if (this.#deciding) out.timer("tick", RESEND_MS / 4);
		return out.effects();
	}

	/** Abstains when the leader had its time; not in a partition, where no leader could do better. */
	#giveUpLeader(out: Collector, nowMs: number): void {
		const { gatherMs, leaderTimeoutMs, electorate } = this.#options;
		if (this.#enoughSinceMs === undefined || !this.#deciding || this.#alive.size < quorum(electorate)) return;
		const patienceMs = (gatherMs + leaderTimeoutMs) * 2 ** Math.min(MAX_DOUBLINGS, this.#attempt);
		if (nowMs - Math.max(this.#attemptSinceMs, this.#enoughSinceMs) <= patienceMs) return;
		if (this.#lock.ballot(this.#slot) === undefined) this.#castBallot(out, undefined, nowMs);
	}

	get #deciding(): boolean {
		return this.#started === undefined && this.#abort === undefined && !this.#refused;
	}

	get #slot() {
		return startSlot(this.proposal, this.#attempt);
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
		for (const certificate of this.#dead)
			for (const ballot of certificate.ballots) out.send(peer, { kind: "ballot", ballot });
		if (this.#proposed !== undefined) this.#sendStartProposal(out, [peer]);
		const own = this.#lock.ballot(this.#slot);
		if (own !== undefined) out.send(peer, { kind: "ballot", ballot: own });
	}

	/** Our own part again, and the start in question: n members cost n squared messages, not n cubed. */
	#repeatOwn(out: Collector, peer: PeerId): void {
		const { self } = this.#options;
		out.send(peer, { kind: "proposal", proposal: this.proposal });
		const response = this.#responses.get(self.peer);
		if (response !== undefined) out.send(peer, { kind: "response", response });
		const reveal = this.#reveals.get(self.peer);
		if (reveal !== undefined) out.send(peer, { kind: "reveal", reveal });
		this.#sendStartProposal(out, [peer]);
		const ballot = this.#lock.ballot(this.#slot);
		if (ballot !== undefined) out.send(peer, { kind: "ballot", ballot });
	}

	#sendStartProposal(out: Collector, to: readonly PeerId[]): void {
		const ballot = this.#proposed;
		const start = ballot?.value && this.#contents.get(toHex(ballot.value));
		if (!ballot || !start) return;
		out.sendAll(to, { kind: "start_proposal", start, attempt: this.#attempt, dead: [...this.#dead], ballot });
	}

	#addResponse(out: Collector, response: JobResponse): void {
		if (this.#responses.has(response.peer)) return;
		if (!this.#options.electorate.members.includes(response.peer)) return;
		this.#responses.set(response.peer, response);
		this.#resendMs = RESEND_MS;
		out.output({ kind: "response", response });
	}

	#receiveReveal(out: Collector, from: PeerId, reveal: NonceReveal): void {
		const response = this.#responses.get(reveal.peer);
		// Its response may be under way still; both are repeated.
		if (response === undefined || this.#reveals.has(reveal.peer)) return;
		if (opensCommitment(this.proposal, response, reveal)) this.#reveals.set(reveal.peer, reveal);
		else this.#forged(out, from, "reveal");
	}

	/** Reveals our nonce when enough accepted, lets the leader propose, and notices a job that cannot start. */
	#advance(out: Collector, nowMs: number): void {
		if (!this.#deciding) return;
		const { electorate, self } = this.#options;
		const needed = acceptancesNeeded(this.#options);
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
		if (this.#leader === self.peer) this.#propose(out, accepted, nowMs - this.#enoughSinceMs, nowMs);
	}

	/** The leader's part: proposes the start when everybody answered, or after `gatherMs` with those who did. */
	#propose(out: Collector, accepted: readonly JobResponse[], waitedMs: number, nowMs: number): void {
		const { electorate, gatherMs } = this.#options;
		const ready = accepted.flatMap((response) => {
			const reveal = this.#reveals.get(response.peer);
			return reveal === undefined ? [] : [{ response, reveal }];
		});
		const everybody = ready.length === accepted.length && this.responses.length === electorate.members.length;
		if (ready.length < acceptancesNeeded(this.#options) || (!everybody && waitedMs < gatherMs)) return;
		const own = this.#lock.ballot(this.#slot);
		if (own !== undefined) {
			// Voted before a restart: this start, and no other, may be repeated.
			if (own.value !== null) this.#proposed = own;
			return;
		}
		const participants = ready.sort((a, b) => (a.response.peer < b.response.peer ? -1 : 1));
		const start: JobStart = { jobId: this.jobId, charterHash: this.proposal.charterHash, participants };
		this.#castBallot(out, start, nowMs);
	}

	/** A start with its leader's ballot holds, whoever passes it on. */
	#receiveStartProposal(out: Collector, from: PeerId, message: StartProposal, nowMs: number): void {
		const { start, attempt, dead, ballot } = message;
		for (const certificate of dead.slice(this.#attempt)) {
			const sound =
				slotId(certificate.slot) === slotId(this.#slot) &&
				verifyDeadCertificate(this.#options.electorate, certificate);
			if (!sound) return;
			this.#bury(certificate, nowMs);
		}
		if (!this.#deciding || attempt !== this.#attempt) return;
		const sound =
			ballot.voter === this.#leader &&
			slotId(ballot.slot) === slotId(this.#slot) &&
			ballot.value !== null &&
			equalBytes(ballot.value, startHash(start)) &&
			verifyBallot(this.#options.electorate, ballot) &&
			isValidStart(this.#options, start);
		if (!sound) {
			out.fault({
				peer: from,
				code: "agreement.bad_start",
				message: `${from} proposed a start of job ${this.jobId} that does not hold`,
				proof: false,
			});
			return;
		}
		this.#proposed ??= ballot;
		this.#contents.set(toHex(startHash(start)), start);
		this.#count(out, from, ballot, nowMs);
		if (this.#deciding && this.#lock.ballot(this.#slot) === undefined) this.#castBallot(out, start, nowMs);
	}

	/** Votes for a start, or abstains for good. */
	#castBallot(out: Collector, start: JobStart | undefined, nowMs: number): void {
		const value = start === undefined ? null : startHash(start);
		if (start !== undefined && value !== null) this.#contents.set(toHex(value), start);
		const { ballot, fresh } = this.#lock.cast(this.#slot, value);
		if (!fresh) return;
		this.#resendMs = RESEND_MS;
		out.persist(encodePromise({ kind: "ballot", ballot, start }));
		if (this.#leader === this.#options.self.peer && start !== undefined) {
			this.#proposed = ballot;
			this.#sendStartProposal(out, this.#others);
		} else {
			// The leader's ballot as it was shown to us: two different ones meet at somebody.
			if (this.#proposed !== undefined) out.sendAll(this.#others, { kind: "ballot", ballot: this.#proposed });
			out.sendAll(this.#others, { kind: "ballot", ballot });
		}
		this.#count(out, this.#options.self.peer, ballot, nowMs);
	}

	#count(out: Collector, from: PeerId, ballot: Ballot, nowMs: number): void {
		if (!this.#deciding || slotId(ballot.slot) !== slotId(this.#box.slot)) return;
		const outcome = this.#box.add(ballot);
		if (outcome === "invalid") {
			this.#forged(out, from, "ballot");
			return;
		}
		if (typeof outcome === "object") {
			out.fault({
				peer: ballot.voter,
				code: "agreement.equivocation",
				message: `${ballot.voter} voted twice about the start of job ${this.jobId}`,
				proof: true,
				evidence: outcome.equivocation.map((one) => encodePromise({ kind: "ballot", ballot: one })),
			});
		}
		const certificate = this.#box.certificate();
		const start = certificate && this.#contents.get(toHex(certificate.value));
		if (certificate !== undefined && start !== undefined) {
			this.#begin(out, start, certificate);
			out.sendAll(this.#others, { kind: "start", start, certificate });
			return;
		}
		const dead = this.#box.dead();
		if (dead !== undefined) this.#bury(dead, nowMs);
	}

	/** A certified start stands above everything this member thought of the responses. */
	#receiveStart(out: Collector, from: PeerId, message: Extract<AgreementMessage, { kind: "start" }>): void {
		if (this.#started !== undefined || this.#abort !== undefined) return;
		const { certificate, start } = message;
		const sound =
			slotId(certificate.slot) === slotId(startSlot(this.proposal, certificate.slot.attempt)) &&
			equalBytes(certificate.value, startHash(start)) &&
			isValidStart(this.#options, start) &&
			verifyQuorumCertificate(this.#options.electorate, certificate);
		if (sound) this.#begin(out, start, certificate);
		else this.#forged(out, from, "start certificate");
	}

	#begin(out: Collector, start: JobStart, certificate: QuorumCertificate): void {
		this.#started = { start, certificate };
		out.persist(encodePromise({ kind: "start", start, certificate }));
		out.output({ kind: "started", start, certificate });
	}

	/** The attempt can never be certified: the next leader may propose. */
	#bury(certificate: DeadCertificate, nowMs: number): void {
		this.#dead.push(certificate);
		this.#attempt++;
		this.#attemptSinceMs = nowMs;
		this.#proposed = undefined;
		this.#resendMs = RESEND_MS;
		this.#box = this.#newBox();
	}

	#newBox(): BallotBox {
		const box = new BallotBox(this.#options.electorate, this.#slot);
		const own = this.#lock.ballot(this.#slot);
		if (own !== undefined) box.add(own);
		return box;
	}

	get #leader(): PeerId {
		return leaderOf(this.proposal, this.#options.electorate.members, this.#attempt);
	}

	#acceptAbort(out: Collector, abort: JobAbort): void {
		if (this.#abort !== undefined) return;
		this.#abort = abort;
		out.persist(encodePromise({ kind: "abort", abort }));
		out.output({ kind: "aborted", by: abort.by, reason: abort.reason });
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
