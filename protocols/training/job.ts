/** One participant's view of one training job: the state machine that runs its rounds. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields, sha256 } from "../../crypto/hash.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import {
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMessage,
	encodeMessage,
	survivorsSlot,
} from "../aggregation/index.ts";
import {
	type Ballot,
	type DeadCertificate,
	type Electorate,
	type QuorumCertificate,
	quorum,
	slotId,
	VoteLock,
	verifyDeadCertificate,
	verifyQuorumCertificate,
} from "../certificate/index.ts";
import type { Effects, Machine, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { epochOf } from "../election/index.ts";
import { Coordination, type CoordinationTiming, DEFAULT_TIMING } from "./coordination.ts";
import type { TrainingMessage } from "./messages.ts";
import { decodePromise, encodePromise, type PersistedStep, type TrainingPromise } from "./promises.ts";
import { type RoundResult, resultHash, resultSlot } from "./result.ts";
import { ResultDecision } from "./resultDecision.ts";

/** Work for the driver's worker pool or its ledger. */
export type TrainingTask =
	/** This site's encoded, noised contribution to a round, computed from the common state. */
	| { readonly kind: "contribute"; readonly round: number; readonly state: Uint8Array }
	/** Charge the budget for releasing the round's contribution, durably; an error withdraws this site from the round. */
	| { readonly kind: "charge"; readonly round: number; readonly attempt: number }
	/** The next common state from a verified sum. */
	| {
			readonly kind: "apply";
			readonly round: number;
			readonly state: Uint8Array;
			readonly sum: Uint32Array;
			readonly survivors: number;
	  }
	| { readonly kind: "aggregate"; readonly task: AggregationTask };

export type TrainingTaskResult =
	| { readonly kind: "contribution"; readonly vector: Uint32Array }
	| { readonly kind: "charged" }
	| {
			readonly kind: "applied";
			readonly state: Uint8Array;
			readonly metrics: Readonly<Record<string, number>>;
	  }
	| { readonly kind: "aggregated"; readonly result: AggregationTaskResult };

/** What a job tells its surroundings. */
export type TrainingOutput =
	| {
			readonly kind: "coordinator";
			readonly term: number;
			readonly coordinator: PeerId;
			readonly certified: boolean;
	  }
	| { readonly kind: "stage"; readonly round: number; readonly attempt: number; readonly stage: string }
	| { readonly kind: "retry"; readonly round: number; readonly attempt: number; readonly reason: string }
	| { readonly kind: "withdrawn"; readonly round: number; readonly code: string; readonly reason: string }
	| { readonly kind: "round"; readonly content: RoundResult; readonly resultHash: Uint8Array }
	| { readonly kind: "done"; readonly rounds: number };

export type Collector = EffectCollector<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>;
type Step = Effects<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>;

export interface TrainingJobOptions {
	readonly self: SigningKey;
	readonly federationId: string;
	readonly charterHash: Uint8Array;
	readonly jobId: string;
	/** Hash of the resolved specification and everything derived from it. */
	readonly configHash: Uint8Array;
	/** The job's participants, fixed when it started: they vote, whoever is in a cohort. */
	readonly electorate: Electorate;
	readonly rounds: number;
	/** Rounds after which the coordinator's role moves on. */
	readonly roundsPerEpoch: number;
	readonly minimumSurvivors: number;
	/** Coordinates of the aggregated vector, and bits of the ring. */
	readonly length: number;
	readonly modulusBits: 16 | 24 | 32;
	readonly phaseTimeoutMs: number;
	/** Beacon of the job's start: hash of nonces that the participants committed to before. */
	readonly seed: Uint8Array;
	readonly initialState: Uint8Array;
	/** Journal records of this job, in order, and the states they name. */
	readonly promises: readonly Uint8Array[];
	readonly states: ReadonlyMap<string, Uint8Array>;
	readonly random: RandomBytes;
	readonly timing?: CoordinationTiming;
	/** How long a lost sum is waited for before this participant votes to void the round. */
	readonly voidAfterMs?: number;
}

const TICK_MS = 250;
const RESEND_MS = 1000;
const DEFAULT_VOID_AFTER_MS = 20_000;

/** State hashes (hex) that the journal records of a job refer to: load them before constructing it. */
export function statesNeeded(promises: readonly Uint8Array[]): string[] {
	const needed = new Map<number, string[]>();
	for (const promise of promises.map(decodePromise)) {
		const content =
			promise.kind === "result" ? promise.content : promise.kind === "ballot" ? promise.content : undefined;
		if (content !== undefined)
			needed.set(content.round, [...(needed.get(content.round) ?? []), toHex(content.stateHash)]);
	}
	const last = Math.max(-1, ...needed.keys());
	return [...new Set([...(needed.get(last - 1) ?? []), ...(needed.get(last) ?? [])])];
}

export class TrainingJob
	implements Machine<TrainingMessage, TrainingTask, TrainingTaskResult, TrainingOutput, PersistedStep>
{
	readonly #options: TrainingJobOptions;
	readonly #lock: VoteLock;
	readonly #coordination: Coordination;
	readonly #others: readonly PeerId[];
	readonly #alive = new Set<PeerId>();

	/** The round being worked on; equals `rounds` when the job is done. */
	#round = 0;
	#attempt = 0;
	#state: Uint8Array;
	#previous: Uint8Array;
	#lastResult: { certificate: QuorumCertificate; content: RoundResult } | undefined;
	#session: AggregationSession | undefined;
	#dead: DeadCertificate[] = [];
	#decision: ResultDecision;
	#sessionPromises = new Map<string, Uint8Array[]>();

	#vector: Uint32Array | undefined;
	/** Of the current attempt. */
	#charge: "none" | "asked" | "made" = "none";
	#inputWanted = false;
	#withdrawn = false;
	/** The verified sum's facts, kept until the round is certified. */
	#released: Extract<AggregationOutput, { kind: "released" }> | undefined;
	/** A certified result whose state we do not hold yet. */
	#awaiting: { certificate: QuorumCertificate; content: RoundResult } | undefined;
	#ownResultBallot: Ballot | undefined;
	/** Since when this participant knows that the round's survivors are fixed but has no sum. */
	#lostSinceMs: number | undefined;

	#nextOpenMs = 0;
	#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
	#lastResendMs = Number.NEGATIVE_INFINITY;

	constructor(options: TrainingJobOptions) {
		this.#options = options;
		this.#state = options.initialState;
		this.#previous = hashFields("althing/job-start/1", options.jobId, options.configHash, options.seed);
		const promises = options.promises.map(decodePromise);
		this.#lock = new VoteLock(
			options.self,
			promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : [])),
		);
		this.#coordination = new Coordination({
			...options,
			lock: this.#lock,
			timing: options.timing ?? DEFAULT_TIMING,
		});
		this.#others = options.electorate.members.filter((peer) => peer !== options.self.peer);
		this.#alive.add(options.self.peer);
		this.#decision = this.#newDecision(0);
		this.#restore(promises);
	}

	get round(): number {
		return this.#round;
	}

	get done(): boolean {
		return this.#round >= this.#options.rounds;
	}

	/** The common state (parameters and optimizer) of the last certified round. */
	get state(): Uint8Array {
		return this.#state;
	}

	get coordinator(): PeerId {
		return this.#coordination.coordinator;
	}

	get term(): number {
		return this.#coordination.term;
	}

	start(nowMs: number): Step {
		const out = this.#collector();
		this.#enterEpoch(nowMs);
		out.sendAll(this.#others, { kind: "status", term: this.#coordination.term, round: this.#round });
		if (this.done) out.output({ kind: "done", rounds: this.#round });
		else this.#beginRound(out, nowMs);
		out.timer("tick", TICK_MS);
		return out.effects();
	}

	/** The driver's view of the links: feeds liveness, and re-introduces us to a peer that came back. */
	connectivity(peer: PeerId, connected: boolean): Step {
		const out = this.#collector();
		if (!this.#others.includes(peer)) return {};
		if (!connected) this.#alive.delete(peer);
		else if (!this.#alive.has(peer)) {
			this.#alive.add(peer);
			out.send(peer, { kind: "status", term: this.#coordination.term, round: this.#round });
		}
		return out.effects();
	}

	receive(from: PeerId, message: TrainingMessage, nowMs: number, blob?: Uint8Array): Step {
		if (!this.#options.electorate.members.includes(from)) {
			return {
				faults: [
					{
						peer: from,
						code: "training.stranger",
						message: `${from} is no participant of job ${this.#options.jobId}`,
						proof: false,
					},
				],
			};
		}
		const out = this.#collector();
		this.#coordination.heard(from, nowMs);
		switch (message.kind) {
			case "session":
				this.#receiveSession(out, from, message, nowMs, blob);
				break;
			case "heartbeat":
				if (message.term > this.#coordination.term || message.round > this.#round) this.#askStatus(out, from);
				else if (message.term < this.#coordination.term || message.round < this.#round)
					this.#tellStatus(out, from, message);
				break;
			case "status":
				this.#tellStatus(out, from, message);
				if (message.round > this.#round) this.#askStatus(out, from);
				break;
			case "term_vote":
				if (this.#coordination.receiveVote(out, from, message, this.#alive, nowMs))
					this.#coordinatorChanged(out, nowMs);
				break;
			case "term":
				if (this.#coordination.adopt(message, nowMs)) this.#coordinatorChanged(out, nowMs);
				break;
			case "result_ballot":
				this.#receiveResultBallot(out, from, message, nowMs);
				break;
			case "result":
				this.#receiveResult(out, from, message, nowMs);
				break;
			case "state_request":
				this.#serveState(out, from, message.round);
				break;
			case "state":
				this.#receiveState(out, from, message.content, blob, nowMs);
				break;
		}
		return out.effects();
	}

	expired(timerId: string, nowMs: number): Step {
		const out = this.#collector();
		if (timerId === "tick") {
			this.#tick(out, nowMs);
			out.timer("tick", TICK_MS);
		} else if (timerId.startsWith("session/")) {
			const [, round, attempt, ...id] = timerId.split("/");
			if (this.#session !== undefined && Number(round) === this.#round && Number(attempt) === this.#attempt) {
				this.#relay(out, this.#session.expired(id.join("/"), nowMs), nowMs);
			}
		}
		return out.effects();
	}

	completed(workId: string, result: TrainingTaskResult | Error, nowMs: number): Step {
		const out = this.#collector();
		const [kind, round, ...rest] = workId.split("/");
		if (Number(round) !== this.#round) return {};
		if (kind === "aggregate") {
			const [attempt, ...id] = rest;
			if (this.#session === undefined || Number(attempt) !== this.#attempt) return {};
			const answer =
				result instanceof Error
					? result
					: result.kind === "aggregated"
						? result.result
						: new Error("wrong result");
			this.#relay(out, this.#session.completed(id.join("/"), answer, nowMs), nowMs);
		} else if (result instanceof Error) {
			this.#workFailed(out, kind ?? "", result);
		} else if (result.kind === "contribution") {
			this.#vector = result.vector;
			this.#chargeAndProvide(out, nowMs);
		} else if (result.kind === "charged") {
			if (Number(rest[0]) !== this.#attempt) return {};
			this.#charge = "made";
			this.#chargeAndProvide(out, nowMs);
		} else if (result.kind === "applied") {
			this.#applied(out, result.state, result.metrics, nowMs);
		}
		return out.effects();
	}

	// --- rounds ---------------------------------------------------------------------------

	#beginRound(out: Collector, nowMs: number): void {
		this.#attempt = 0;
		this.#session = undefined;
		this.#dead = [];
		this.#decision = this.#newDecision(this.#round);
		this.#vector = undefined;
		this.#inputWanted = false;
		this.#withdrawn = false;
		this.#released = undefined;
		this.#awaiting = undefined;
		this.#ownResultBallot = undefined;
		this.#lostSinceMs = undefined;
		this.#nextOpenMs = nowMs;
		this.#coordination.progressed(nowMs);
		// Starts before the cohort is known: training overlaps with the key exchange.
		out.work(`contribute/${this.#round}`, { kind: "contribute", round: this.#round, state: this.#state });
		this.#maybeOpen(out, nowMs);
	}

	/** The coordinator opens the next attempt when enough participants are connected. */
	#maybeOpen(out: Collector, nowMs: number): void {
		if (this.done || !this.#coordination.leads || this.#session !== undefined || nowMs < this.#nextOpenMs)
			return;
		if (this.#released !== undefined || this.#awaiting !== undefined) return;
		const { electorate, minimumSurvivors } = this.#options;
		if (this.#alive.size < Math.max(quorum(electorate), minimumSurvivors)) return;
		this.#openSession(this.#attempt);
		out.output({ kind: "stage", round: this.#round, attempt: this.#attempt, stage: "open" });
		const session = this.#session as AggregationSession | undefined;
		if (session !== undefined) this.#relay(out, session.start(nowMs), nowMs);
	}

	#openSession(attempt: number): AggregationSession {
		const {
			electorate,
			self,
			federationId,
			jobId,
			configHash,
			minimumSurvivors,
			length,
			modulusBits,
			phaseTimeoutMs,
			random,
		} = this.#options;
		this.#attempt = attempt;
		this.#inputWanted = false;
		this.#charge = "none";
		const session = new AggregationSession({
			self,
			federationId,
			jobId,
			round: this.#round,
			attempt,
			modelHash: sha256(this.#state),
			configHash,
			electorate,
			coordinator: this.#coordination.coordinator,
			term: this.#coordination.term,
			minimumSurvivors,
			length,
			modulusBits,
			phaseTimeoutMs,
			precedingDead: this.#dead,
			promises: this.#sessionPromises.get(`${this.#round}/${attempt}`) ?? [],
			random,
		});
		this.#session = session;
		return session;
	}

	#receiveSession(
		out: Collector,
		from: PeerId,
		message: Extract<TrainingMessage, { kind: "session" }>,
		nowMs: number,
		blob: Uint8Array | undefined,
	): void {
		if (message.round !== this.#round || this.done) {
			if (message.round > this.#round) this.#askStatus(out, from);
			else this.#tellStatus(out, from, { term: this.#coordination.term, round: message.round });
			return;
		}
		let body: AggregationMessage;
		try {
			body = decodeMessage(message.body);
		} catch (error) {
			out.fault({
				peer: from,
				code: "training.malformed",
				message: error instanceof Error ? error.message : String(error),
				proof: false,
			});
			return;
		}
		if (message.attempt < this.#attempt) return;
		if (message.attempt > this.#attempt || this.#session === undefined) {
			if (from !== this.#coordination.coordinator) return;
			if (message.attempt > this.#attempt && !this.#adoptDead(body, message.attempt)) return;
			this.#relay(out, this.#openSession(message.attempt).start(nowMs), nowMs);
		}
		const session = this.#session;
		if (session !== undefined) this.#relay(out, session.receive(from, body, nowMs, blob), nowMs);
	}

	/**
	 * A later attempt is joined only with a Dead certificate for every earlier one: a member
	 * must never mask its update again while an earlier sum of it might still be opened.
	 */
	#adoptDead(body: AggregationMessage, attempt: number): boolean {
		if (body.kind !== "open" || body.precedingDead.length !== attempt) return false;
		const { federationId, jobId, electorate } = this.#options;
		const sound = body.precedingDead.every(
			(dead, earlier) =>
				slotId(dead.slot) ===
					slotId(survivorsSlot({ federationId, jobId, round: this.#round, attempt: earlier })) &&
				verifyDeadCertificate(electorate, dead),
		);
		if (sound) this.#dead = [...body.precedingDead];
		return sound;
	}

	#relay(out: Collector, effects: ReturnType<AggregationSession["start"]>, nowMs: number): void {
		const round = this.#round;
		const attempt = this.#attempt;
		for (const record of effects.persist ?? [])
			out.persist(encodePromise({ kind: "session", round, attempt, record }));
		for (const { to, message, blob } of effects.send ?? []) {
			out.send(to, { kind: "session", round, attempt, body: encodeMessage(message) }, blob);
		}
		for (const { id, afterMs } of effects.setTimer ?? [])
			out.timer(`session/${round}/${attempt}/${id}`, afterMs);
		for (const { id, task } of effects.work ?? [])
			out.work(`aggregate/${round}/${attempt}/${id}`, { kind: "aggregate", task });
		for (const fault of effects.faults ?? []) out.fault(fault);
		for (const output of effects.output ?? []) this.#sessionOutput(out, output, nowMs);
	}

	#sessionOutput(out: Collector, output: AggregationOutput, nowMs: number): void {
		switch (output.kind) {
			case "phase":
				this.#coordination.progressed(nowMs);
				out.output({ kind: "stage", round: this.#round, attempt: this.#attempt, stage: output.phase });
				break;
			case "certified":
				this.#coordination.progressed(nowMs);
				this.#lostSinceMs ??= nowMs;
				break;
			case "input_wanted":
				this.#coordination.progressed(nowMs);
				this.#inputWanted = true;
				this.#chargeAndProvide(out, nowMs);
				break;
			case "released":
				this.#coordination.progressed(nowMs);
				if (this.#released !== undefined) break;
				this.#released = output;
				out.work(`apply/${this.#round}`, {
					kind: "apply",
					round: this.#round,
					state: this.#state,
					sum: output.sum,
					survivors: output.survivors.length,
				});
				break;
			case "dead": {
				if (this.#dead.length !== this.#attempt) break;
				this.#dead = [...this.#dead, output.certificate];
				out.output({ kind: "retry", round: this.#round, attempt: this.#attempt, reason: output.reason });
				this.#attempt++;
				this.#session = undefined;
				// Back off when attempts die in a row: a partition must not become a storm of key exchanges.
				this.#nextOpenMs = nowMs + Math.min(4, 1.5 ** (this.#attempt - 1)) * 500;
				this.#coordination.progressed(nowMs);
				break;
			}
			case "failed":
				// Certified but not opened by us: wait for the others' result, then for a void round.
				this.#lostSinceMs ??= nowMs;
				out.output({
					kind: "retry",
					round: this.#round,
					attempt: this.#attempt,
					reason: output.error.message,
				});
				break;
			case "closed":
				break;
		}
	}

	/** The budget is charged, durably, before the masked contribution leaves. */
	#chargeAndProvide(out: Collector, nowMs: number): void {
		if (!this.#inputWanted || this.#vector === undefined || this.#session === undefined || this.#withdrawn)
			return;
		if (this.#charge === "none") {
			this.#charge = "asked";
			const charge = { kind: "charge" as const, round: this.#round, attempt: this.#attempt };
			out.work(`charge/${charge.round}/${charge.attempt}`, charge);
		} else if (this.#charge === "made") {
			this.#inputWanted = false;
			this.#relay(out, this.#session.provideInput(this.#vector.slice(), nowMs), nowMs);
		}
	}

	#workFailed(out: Collector, kind: string, error: Error): void {
		if (kind === "apply")
			throw new AlthingError(
				"training.apply_failed",
				`a verified sum could not be applied: ${error.message}`,
				{},
				{ cause: error },
			);
		this.#withdrawn = true;
		out.output({
			kind: "withdrawn",
			round: this.#round,
			code: error instanceof AlthingError ? error.code : "training.failed",
			reason: error.message,
		});
	}

	// --- the round's result ----------------------------------------------------------------

	#applied(
		out: Collector,
		state: Uint8Array,
		metrics: Readonly<Record<string, number>>,
		nowMs: number,
	): void {
		const released = this.#released;
		if (released === undefined) return;
		const content: RoundResult = {
			jobId: this.#options.jobId,
			round: this.#round,
			outcome: "released",
			attempt: this.#attempt,
			survivors: [...released.survivors],
			stateHash: sha256(state),
			beacon: released.beacon,
			metrics: { ...metrics },
			previous: this.#previous,
		};
		this.#voteFor(out, content, state, nowMs);
	}

	#voteFor(out: Collector, content: RoundResult, state: Uint8Array, nowMs: number): void {
		this.#decision.know(content, state);
		const { ballot, fresh } = this.#lock.cast(this.#decision.slot, resultHash(content));
		if (fresh) out.persist({ ...encodePromise({ kind: "ballot", ballot, content }), state });
		this.#ownResultBallot = ballot;
		out.sendAll(this.#others, { kind: "result_ballot", round: this.#round, ballot });
		this.#decision.count(ballot);
		if (this.#awaiting !== undefined && equalBytes(this.#awaiting.content.stateHash, content.stateHash)) {
			this.#commit(out, this.#awaiting.certificate, this.#awaiting.content, state, nowMs);
			return;
		}
		this.#maybeCertified(out, nowMs);
	}

	#receiveResultBallot(
		out: Collector,
		from: PeerId,
		message: Extract<TrainingMessage, { kind: "result_ballot" }>,
		nowMs: number,
	): void {
		if (message.round > this.#round) {
			this.#askStatus(out, from);
			return;
		}
		if (message.round < this.#round) {
			this.#tellStatus(out, from, { term: this.#coordination.term, round: message.round });
			return;
		}
		if (slotId(message.ballot.slot) !== slotId(this.#decision.slot)) return;
		const outcome = this.#decision.count(message.ballot);
		if (outcome === "invalid") {
			out.fault({
				peer: from,
				code: "training.bad_ballot",
				message: `${from} sent an invalid ballot for round ${message.round}`,
				proof: false,
			});
			return;
		}
		if (typeof outcome === "object") {
			out.fault({
				peer: message.ballot.voter,
				code: "training.equivocation",
				message: `${message.ballot.voter} voted for two results of round ${message.round}`,
				proof: true,
			});
		}
		this.#maybeCertified(out, nowMs);
	}

	#maybeCertified(out: Collector, nowMs: number): void {
		const certificate = this.#decision.certificate();
		if (certificate === undefined) return;
		const content = this.#decision.content(certificate.value);
		const state = this.#decision.state(certificate.value);
		if (content !== undefined && state !== undefined) {
			if (this.#coordination.leads) out.sendAll(this.#others, { kind: "result", certificate, content });
			this.#commit(out, certificate, content, state, nowMs);
		}
	}

	#receiveResult(
		out: Collector,
		from: PeerId,
		message: Extract<TrainingMessage, { kind: "result" }>,
		nowMs: number,
	): void {
		const { content, certificate } = message;
		if (content.round < this.#round) return;
		if (!this.#verifyResult(certificate, content)) {
			out.fault({
				peer: from,
				code: "training.bad_certificate",
				message: `${from} sent a result of round ${content.round} without a valid certificate`,
				proof: false,
			});
			return;
		}
		const held =
			this.#decision.state(certificate.value) ??
			(equalBytes(content.stateHash, sha256(this.#state)) ? this.#state : undefined);
		if (held !== undefined) {
			this.#commit(out, certificate, content, held, nowMs);
			return;
		}
		if (this.#awaiting !== undefined && this.#awaiting.content.round >= content.round) return;
		this.#awaiting = { certificate, content };
		out.send(from, { kind: "state_request", round: content.round });
	}

	#serveState(out: Collector, from: PeerId, round: number): void {
		if (this.#lastResult?.content.round === round) {
			out.send(from, { kind: "state", content: this.#lastResult.content }, this.#state);
			return;
		}
		const ballot = round === this.#round ? this.#ownResultBallot : undefined;
		const content = ballot?.value ? this.#decision.content(ballot.value) : undefined;
		const state = ballot?.value ? this.#decision.state(ballot.value) : undefined;
		if (content !== undefined && state !== undefined) out.send(from, { kind: "state", content }, state);
		else if (round < this.#round) this.#tellStatus(out, from, { term: this.#coordination.term, round });
	}

	#receiveState(
		out: Collector,
		from: PeerId,
		content: RoundResult,
		blob: Uint8Array | undefined,
		nowMs: number,
	): void {
		if (blob === undefined || !equalBytes(sha256(blob), content.stateHash)) {
			out.fault({
				peer: from,
				code: "training.wrong_state",
				message: `${from} sent a state that does not match its hash`,
				proof: false,
			});
			return;
		}
		const awaiting = this.#awaiting;
		if (awaiting !== undefined && equalBytes(awaiting.content.stateHash, content.stateHash)) {
			this.#commit(out, awaiting.certificate, awaiting.content, blob, nowMs);
			return;
		}
		// Not certified yet: f+1 votes vouch for it, and ours may complete the quorum.
		const vouched = this.#decision.vouched();
		if (
			content.round !== this.#round ||
			vouched === undefined ||
			!equalBytes(vouched.value, resultHash(content))
		)
			return;
		this.#voteFor(out, content, blob, nowMs);
	}

	#verifyResult(certificate: QuorumCertificate, content: RoundResult): boolean {
		const { federationId, jobId, electorate } = this.#options;
		return (
			content.jobId === jobId &&
			slotId(certificate.slot) === slotId(resultSlot(federationId, jobId, content.round)) &&
			equalBytes(certificate.value, resultHash(content)) &&
			verifyQuorumCertificate(electorate, certificate)
		);
	}

	#commit(
		out: Collector,
		certificate: QuorumCertificate,
		content: RoundResult,
		state: Uint8Array,
		nowMs: number,
	): void {
		out.persist({ ...encodePromise({ kind: "result", certificate, content }), state });
		this.#adoptResult(certificate, content, state);
		out.output({ kind: "round", content, resultHash: certificate.value });
		const termBefore = this.#coordination.term;
		this.#enterEpoch(nowMs);
		if (this.#coordination.term !== termBefore) this.#announceCoordinator(out);
		if (this.done) {
			this.#session = undefined;
			out.output({ kind: "done", rounds: this.#round });
		} else this.#beginRound(out, nowMs);
	}

	#adoptResult(certificate: QuorumCertificate, content: RoundResult, state: Uint8Array): void {
		this.#state = state;
		this.#previous = resultHash(content);
		this.#lastResult = { certificate, content };
		this.#round = content.round + 1;
	}

	// --- liveness ---------------------------------------------------------------------------

	#tick(out: Collector, nowMs: number): void {
		if (this.done) return;
		if (this.#coordination.tick(out, this.#alive, nowMs)) this.#coordinatorChanged(out, nowMs);
		if (
			this.#coordination.leads &&
			nowMs - this.#lastHeartbeatMs >= (this.#options.timing ?? DEFAULT_TIMING).heartbeatMs
		) {
			this.#lastHeartbeatMs = nowMs;
			out.sendAll(this.#others, {
				kind: "heartbeat",
				term: this.#coordination.term,
				round: this.#round,
				attempt: this.#attempt,
			});
		}
		this.#maybeOpen(out, nowMs);
		if (nowMs - this.#lastResendMs < RESEND_MS) return;
		this.#lastResendMs = nowMs;
		if (this.#ownResultBallot !== undefined) {
			out.sendAll(this.#others, { kind: "result_ballot", round: this.#round, ballot: this.#ownResultBallot });
		}
		this.#recoverLost(out, nowMs);
	}

	/** Fetches what others can still give of this round, or votes to void it. */
	#recoverLost(out: Collector, nowMs: number): void {
		if (this.#awaiting !== undefined) {
			const holders = this.#awaiting.certificate.votes
				.map((vote) => vote.voter)
				.filter((peer) => this.#alive.has(peer) && peer !== this.#options.self.peer);
			const holder = holders[Math.floor(nowMs / RESEND_MS) % Math.max(1, holders.length)];
			if (holder !== undefined)
				out.send(holder, { kind: "state_request", round: this.#awaiting.content.round });
			return;
		}
		if (this.#ownResultBallot !== undefined) return;
		const vouched = this.#decision.vouched();
		if (vouched !== undefined && this.#released === undefined) {
			const holder = vouched.voters.find((peer) => this.#alive.has(peer));
			if (holder !== undefined) out.send(holder, { kind: "state_request", round: this.#round });
			return;
		}
		const voidAfterMs = this.#options.voidAfterMs ?? DEFAULT_VOID_AFTER_MS;
		if (
			this.#lostSinceMs === undefined ||
			this.#released !== undefined ||
			nowMs - this.#lostSinceMs < voidAfterMs
		)
			return;
		this.#voteFor(out, this.#voidContent(), this.#state, nowMs);
	}

	#voidContent(): RoundResult {
		return {
			jobId: this.#options.jobId,
			round: this.#round,
			outcome: "void",
			attempt: 0,
			survivors: [],
			stateHash: sha256(this.#state),
			beacon: hashFields("althing/void-beacon/1", this.#previous),
			metrics: {},
			previous: this.#previous,
		};
	}

	#coordinatorChanged(out: Collector, nowMs: number): void {
		const certified = this.#coordination.certified;
		if (certified !== undefined) {
			out.persist(encodePromise({ kind: "term", ...certified }));
			// Whoever completes the certificate tells everybody: the new coordinator may lack a vote.
			out.sendAll(this.#others, { kind: "term", ...certified });
		}
		this.#announceCoordinator(out);
		if (this.done) return;
		if (this.#session !== undefined) {
			this.#relay(
				out,
				this.#session.coordinatorChanged(this.#coordination.term, this.#coordination.coordinator, nowMs),
				nowMs,
			);
		}
		this.#nextOpenMs = nowMs;
		this.#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
		this.#maybeOpen(out, nowMs);
	}

	#announceCoordinator(out: Collector): void {
		out.output({
			kind: "coordinator",
			term: this.#coordination.term,
			coordinator: this.#coordination.coordinator,
			certified: this.#coordination.certified?.term === this.#coordination.term,
		});
	}

	#enterEpoch(nowMs: number): void {
		const epoch = Math.floor(this.#round / this.#options.roundsPerEpoch);
		if (this.#lastResult !== undefined && epoch <= epochOf(this.#coordination.term)) return;
		const seed = this.#lastResult?.content.beacon ?? this.#options.seed;
		this.#coordination.enterEpoch(epoch, seed, this.#lastResult?.content.survivors ?? [], nowMs);
	}

	#askStatus(out: Collector, from: PeerId): void {
		out.send(from, { kind: "status", term: this.#coordination.term, round: this.#round });
	}

	/** Gives a peer the certified term and round that it lacks. */
	#tellStatus(out: Collector, from: PeerId, theirs: { readonly term: number; readonly round: number }): void {
		const certified = this.#coordination.certified;
		if (certified !== undefined && theirs.term < certified.term)
			out.send(from, { kind: "term", ...certified });
		if (this.#lastResult !== undefined && theirs.round < this.#round)
			out.send(from, { kind: "result", ...this.#lastResult });
	}

	#restore(promises: readonly TrainingPromise[]): void {
		for (const promise of promises) {
			if (promise.kind === "session") {
				const key = `${promise.round}/${promise.attempt}`;
				this.#sessionPromises.set(key, [...(this.#sessionPromises.get(key) ?? []), promise.record]);
			} else if (promise.kind === "result") {
				const state = this.#options.states.get(toHex(promise.content.stateHash));
				if (state !== undefined) this.#adoptResult(promise.certificate, promise.content, state);
			}
		}
		for (const promise of promises) if (promise.kind === "term") this.#coordination.adopt(promise, 0);
		this.#decision = this.#newDecision(this.#round);
	}

	#newDecision(round: number): ResultDecision {
		const { electorate, federationId, jobId } = this.#options;
		return new ResultDecision(electorate, federationId, jobId, round);
	}

	#collector(): Collector {
		return new EffectCollector();
	}
}
