/** One participant's view of one training job: the state machine that runs its rounds. */
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { VoteLock } from "../certificate/index.ts";
import type { Machine } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { type Released, RoundAttempts } from "./attempts.ts";
import { CatchUp } from "./catchUp.ts";
import {
	type CertifiedResult,
	type Checkpoint,
	certifiedExclusion,
	certifiedHistory,
	checkpointAfter,
	electionAfter,
	reportedLosses,
	restore,
	voidResult,
} from "./checkpoint.ts";
import { CohortTree } from "./cohortTree.ts";
import type {
	Collector,
	Step,
	TrainingJobOptions,
	TrainingOutput,
	TrainingTask,
	TrainingTaskResult,
} from "./contract.ts";
import { Contribution } from "./contribution.ts";
import { Coordination, DEFAULT_TIMING } from "./coordination.ts";
import type { TrainingMessage } from "./messages.ts";
import { Preparation } from "./preparation.ts";
import { encodePromise, type PersistedStep } from "./promises.ts";
import type { RoundResult } from "./result.ts";
import { RESEND_MS, ResultPhase } from "./resultPhase.ts";

const TICK_MS = 250;

/** What a round's sum is applied from. */
type RoundSum = Omit<Released, "kind" | "sid" | "certificate">;

/** Who counts for nothing, though it broke no rule: a rule's choice among the survivors, or a reputation's before the sum. */
function leftOutOf(
	survivors: readonly PeerId[],
	places: readonly number[] | undefined,
	reputed: readonly PeerId[] | undefined,
): Pick<RoundResult, "leftOut"> {
	if (places !== undefined) return { leftOut: places.map((place) => survivors[place] as PeerId) };
	return reputed === undefined ? {} : { leftOut: [...reputed] };
}

export class TrainingJob
	implements Machine<TrainingMessage, TrainingTask, TrainingTaskResult, TrainingOutput, PersistedStep>
{
	readonly #options: TrainingJobOptions;
	readonly #others: readonly PeerId[];
	readonly #alive = new Set<PeerId>();
	readonly #coordination: Coordination;
	readonly #attempts: RoundAttempts;
	readonly #results: ResultPhase;
	readonly #contribution = new Contribution();
	/** Buffered rounds. */
	readonly #preparation: Preparation | undefined;
	readonly #catchUp: CatchUp;
	/** Rounds over a tree: the attempts are then those of this node's cohort. */
	readonly #tree: CohortTree | undefined;
	/** Calls to the next round's session that came while this node still waits for the present one's state. */
	readonly #early = new Map<PeerId, Extract<TrainingMessage, { kind: "session" }>>();
	#checkpoint: Checkpoint;
	#released: RoundSum | undefined;
	/** Applied once at the start, then dropped. */
	#resume: ((out: Collector, nowMs: number) => void) | undefined;
	#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
	#lastResendMs = Number.NEGATIVE_INFINITY;
	#resends = 0;

	/**
	 * @throws AlthingError `training.bad_record` when a journal record cannot be read;
	 *   `aggregation.bad_configuration` comes with the first attempt
	 */
	constructor(options: TrainingJobOptions) {
		this.#options = options;
		const restored = restore(options);
		const lock = new VoteLock(options.self, restored.ballots);
		this.#checkpoint = restored.checkpoint;
		this.#others = options.electorate.members.filter((peer) => peer !== options.self.peer);
		this.#alive.add(options.self.peer);
		this.#coordination = new Coordination({ ...options, lock, timing: this.#timing });
		this.#coordination.enterEpoch(this.#epoch, this.#checkpoint.election, 0);
		for (const term of restored.terms) this.#coordination.adopt(term, 0);
		this.#tree =
			options.tree &&
			new CohortTree(options, options.tree, lock, restored.ballots, this.#timing, this.#alive, {
				decided: (out, root, nowMs) => {
					if (!this.done) this.#apply(out, root, nowMs);
				},
				progressed: (nowMs) => this.#coordination.progressed(nowMs),
			});
		this.#tree?.coordination.enterEpoch(this.#epoch, this.#checkpoint.election, 0);
		for (const term of restored.terms) this.#tree?.coordination.adopt(term, 0);
		const { options: attemptOptions, coordination } = this.#tree ?? {
			options,
			coordination: this.#coordination,
		};
		this.#attempts = new RoundAttempts(attemptOptions, coordination, {
			inputWanted: (out, nowMs) => {
				this.#coordination.progressed(nowMs);
				this.#contribution.want(out);
				this.#provide(out, nowMs);
			},
			released: (out, released, nowMs) => {
				if (this.#tree === undefined) {
					this.#apply(out, released, nowMs);
					return;
				}
				// The cohort's part is done: from now on the root is waited for.
				this.#results.nothingLost();
				this.#results.mayBeLost(nowMs);
				this.#coordination.progressed(nowMs);
				this.#tree.summed(out, released, nowMs);
			},
			mayBeLost: (nowMs) => this.#results.mayBeLost(nowMs),
			dead: () => {
				this.#contribution.attemptEnded();
				this.#results.nothingLost();
			},
		});
		this.#preparation = options.buffer && new Preparation(options.buffer.maximumStaleness);
		this.#tree?.attach(this.#attempts, () => this.#checkpoint);
		const shared = this.#tree === undefined ? this.#attempts : { attempt: 0, tellDead: () => {} };
		this.#catchUp = new CatchUp(this.#coordination, shared, () => this.#checkpoint);
		this.#results = new ResultPhase(options, lock, this.#checkpoint, (...result) => this.#commit(...result));
		if (restored.vote !== undefined) {
			const { ballot, content, state } = restored.vote;
			this.#results.restoreVote(ballot, content, state);
		}
		this.#tree?.begin(this.round, this.#coordination.coordinator);
		this.#resume = (out, nowMs) => {
			if (options.promises.length === 0) this.#attempts.begin(this.#checkpoint, false, nowMs);
			else this.#attempts.resume(this.#checkpoint, restored.dead, restored.sessions, nowMs);
			this.#contribute(out, nowMs);
		};
	}

	/** The round being worked on; equals `rounds` when the job is done. */
	get round(): number {
		return this.#checkpoint.round;
	}

	get done(): boolean {
		return this.round >= this.#options.rounds;
	}

	/** The common state (parameters and optimizer) after the last certified round. */
	get state(): Uint8Array {
		return this.#checkpoint.state;
	}

	/** The last certified round, if any. */
	get lastRound(): RoundResult | undefined {
		return this.#checkpoint.last?.content;
	}

	get coordinator(): PeerId {
		return this.#coordination.coordinator;
	}

	get term(): number {
		return this.#coordination.term;
	}

	start(nowMs: number): Step {
		const out = this.#collector();
		this.#coordination.wake(nowMs);
		this.#tree?.coordination.wake(nowMs);
		for (const peer of this.#others) this.#catchUp.ask(out, peer);
		if (this.done) out.output({ kind: "done", rounds: this.round });
		else this.#resume?.(out, nowMs);
		this.#resume = undefined;
		if (!this.done) this.#maybeOpen(out, nowMs);
		out.timer("tick", TICK_MS);
		return out.effects();
	}

	/** The driver's view of the links: feeds liveness, and re-introduces us to a peer that came back. */
	connectivity(peer: PeerId, connected: boolean, nowMs: number): Step {
		const out = this.#collector();
		if (!this.#others.includes(peer)) return {};
		if (!connected) this.#alive.delete(peer);
		this.#attempts.connectivity(out, peer, connected, nowMs);
		if (connected && !this.#alive.has(peer)) {
			this.#alive.add(peer);
			this.#catchUp.ask(out, peer);
			this.#tree?.greet(out, peer);
		}
		return out.effects();
	}

	receive(from: PeerId, message: TrainingMessage, nowMs: number, blob?: Uint8Array): Step {
		const out = this.#collector();
		if (!this.#others.includes(from)) {
			out.fault({
				peer: from,
				code: "training.stranger",
				message: `${from} is no other participant of job ${this.#options.jobId}`,
				proof: false,
			});
			return out.effects();
		}
		this.#coordination.heard(from, nowMs);
		this.#tree?.coordination.heard(from, nowMs);
		this.#dispatch(out, from, message, nowMs, blob);
		return out.effects();
	}

	#dispatch(
		out: Collector,
		from: PeerId,
		message: TrainingMessage,
		nowMs: number,
		blob: Uint8Array | undefined,
	): void {
		switch (message.kind) {
			case "session":
				if (message.round === this.round + 1 && blob === undefined) this.#early.set(from, message);
				if (this.#inStep(out, from, message.round)) this.#attempts.receive(out, from, message, nowMs, blob);
				break;
			case "heartbeat":
			case "status":
				this.#catchUp.compare(out, from, message);
				break;
			case "term_vote":
				// Who is done waits for no coordinator, but must not leave the others without an answer.
				if (this.done) this.#catchUp.tell(out, from, { term: message.term, round: 0, attempt: 0 });
				else if (this.#coordination.receiveVote(out, from, message, this.#alive, nowMs))
					this.#coordinatorChanged(out, nowMs);
				break;
			case "term":
				if (this.#coordination.adopt(message, nowMs)) this.#coordinatorChanged(out, nowMs);
				break;
			case "cohort":
				if (!this.done) this.#tree?.dispatch(out, from, message.message, nowMs);
				break;
			case "tree":
				if (this.#inStep(out, from, message.round)) this.#tree?.receive(out, from, message, nowMs, blob);
				break;
			case "result_ballot":
				if (this.#inStep(out, from, message.round))
					this.#results.receiveBallot(out, from, message.ballot, this.#idle, nowMs);
				break;
			case "result":
				this.#results.receiveResult(out, from, message, nowMs);
				break;
			case "lost":
				if (this.#inStep(out, from, message.round)) this.#results.receiveLost(from, nowMs);
				break;
			case "state_request":
				if (!this.#results.serveState(out, from, message.round)) this.#inStep(out, from, message.round);
				break;
			case "state":
				this.#results.receiveState(out, from, message.content, blob, nowMs);
				break;
		}
	}

	expired(timerId: string, nowMs: number): Step {
		const out = this.#collector();
		if (timerId === "tick") {
			if (!this.done) this.#tick(out, nowMs);
			out.timer("tick", TICK_MS);
		} else {
			const [kind, round, attempt, ...id] = timerId.split("/");
			if (Number(round) !== this.round || this.done) return out.effects();
			if (kind === "tree") this.#tree?.expired(out, Number(round), attempt ?? "", nowMs);
			else this.#attempts.expired(out, Number(attempt), id.join("/"), nowMs);
		}
		return out.effects();
	}

	/** @throws AlthingError `training.apply_failed`: without the common state this node cannot go on */
	completed(workId: string, result: TrainingTaskResult | Error, nowMs: number): Step {
		const out = this.#collector();
		const [kind, round, attempt, ...id] = workId.split("/");
		if (kind === "prepare") {
			this.#prepared(out, Number(round), result, nowMs);
			return out.effects();
		}
		if (Number(round) !== this.round) return {};
		if (kind === "aggregate") {
			this.#attempts.completed(out, Number(attempt), id.join("/"), result, nowMs);
		} else if (kind === "apply") {
			this.#applied(out, result, nowMs);
		} else if (result instanceof Error) {
			this.#preparation?.spend();
			this.#contribution.withdraw(out, result);
		} else {
			if (result.kind === "contribution") this.#contribution.computed(result);
			else if (result.kind === "charged") this.#contribution.charged(Number(attempt));
			this.#provide(out, nowMs);
		}
		return out.effects();
	}

	/** Trains for the round if this node is asked to; an attempt that asks it later on starts it then. */
	#contribute(out: Collector, nowMs: number): void {
		if (this.#preparation !== undefined) {
			this.#contribution.begin(this.round, undefined);
			this.#preparation.begin(out, this.#checkpoint);
			this.#offer(out, nowMs);
			return;
		}
		this.#contribution.begin(this.round, { state: this.state });
		if (this.#checkpoint.excluded.includes(this.#options.self.peer)) {
			const code = "training.excluded";
			const reason =
				"a quorum certified the proof that this site broke the rules of an earlier round's screening";
			out.output({ kind: "withdrawn", round: this.round, code, reason });
		}
		if (this.#attempts.invited) this.#contribution.compute(out);
	}

	/** Buffered rounds: offers what is ready. */
	#offer(out: Collector, nowMs: number): void {
		const version = this.#preparation?.ready;
		if (version === undefined) return;
		this.#contribution.begin(this.round, { version, state: this.state });
		this.#attempts.offer(out, version, nowMs);
	}

	#prepared(out: Collector, version: number, result: TrainingTaskResult | Error, nowMs: number): void {
		if (this.done) return;
		if (result instanceof Error) {
			this.#preparation?.failed();
			this.#contribution.withdraw(out, result);
		} else if (this.#preparation?.prepared(out, version) === true) this.#offer(out, nowMs);
	}

	/** The budget is charged, durably, before the masked contribution leaves. */
	#provide(out: Collector, nowMs: number): void {
		const taken = this.#contribution.take(out, this.#attempts.attempt);
		if (taken === undefined) return;
		this.#preparation?.spend();
		this.#attempts.provideInput(out, taken.vector, nowMs, taken.publicPart);
	}

	#apply(out: Collector, released: RoundSum, nowMs: number): void {
		if (this.#released !== undefined) return;
		this.#released = released;
		const { screening } = released;
		if (screening?.sound === false) {
			const { jobId, roundsPerEpoch } = this.#options;
			const content = voidResult(this.#checkpoint, jobId, roundsPerEpoch, screening.offenders);
			this.#results.vote(out, content, this.state, nowMs);
			return;
		}
		this.#results.computing();
		out.work(`apply/${this.round}`, {
			kind: "apply",
			round: this.round,
			state: this.state,
			sum: released.sum,
			survivors: released.survivors.length,
			norms: screening?.norms,
			alignments: this.#inOrder(screening?.alignments),
			shown: released.publicParts && { parts: released.publicParts, beacon: released.beacon },
			buckets: released.buckets?.map((bucket) =>
				bucket.map((peer) => this.#options.electorate.members.indexOf(peer)),
			),
		});
	}

	#applied(out: Collector, result: TrainingTaskResult | Error, nowMs: number): void {
		if (result instanceof Error) {
			throw new AlthingError(
				"training.apply_failed",
				`a verified sum could not be applied: ${result.message}`,
				{},
				{ cause: result },
			);
		}
		const released = this.#released;
		if (released === undefined || result.kind !== "applied") return;
		const survivors = [...released.survivors];
		const { beacon, attempt } = released;
		const content = {
			jobId: this.#options.jobId,
			round: this.round,
			outcome: "released" as const,
			attempt,
			survivors,
			stateHash: sha256(result.state),
			beacon,
			metrics: { ...result.metrics },
			previous: this.#checkpoint.previous,
			election: electionAfter(this.#checkpoint, this.#options.roundsPerEpoch, { beacon, survivors }),
			...leftOutOf(survivors, result.leftOut, released.screening?.leftOut),
			...certifiedExclusion(this.#checkpoint, released.screening?.offenders ?? []),
			...certifiedHistory(this.#checkpoint, this.#options, {
				invited: this.#askedIn(attempt, survivors),
				survivors,
				losses: reportedLosses(this.#options.selection, survivors, released.publicParts),
			}),
		};
		this.#results.vote(out, content, result.state, nowMs);
	}

	#commit(
		out: Collector,
		result: CertifiedResult,
		state: Uint8Array,
		caughtUp: boolean,
		nowMs: number,
	): void {
		out.persist({ ...encodePromise({ kind: "result", ...result }), state });
		const { content } = result;
		const invited =
			content.round === this.round && content.outcome === "released"
				? this.#askedIn(content.attempt, content.survivors)
				: content.survivors;
		this.#checkpoint = checkpointAfter(result, state);
		this.#released = undefined;
		out.output({ kind: "round", content, resultHash: this.#checkpoint.previous, invited });
		this.#attempts.end();
		this.#results.begin(this.#checkpoint);
		if (this.done) {
			out.output({ kind: "done", rounds: this.round });
			return;
		}
		if (this.#coordination.enterEpoch(this.#epoch, this.#checkpoint.election, nowMs))
			this.#announceCoordinator(out);
		this.#coordination.progressed(nowMs);
		this.#tree?.coordination.enterEpoch(this.#epoch, this.#checkpoint.election, nowMs);
		this.#tree?.coordination.progressed(nowMs);
		this.#tree?.begin(this.round, this.#coordination.coordinator);
		this.#attempts.begin(this.#checkpoint, caughtUp, nowMs);
		this.#contribute(out, nowMs);
		this.#maybeOpen(out, nowMs);
		for (const [peer, message] of this.#early)
			if (message.round === this.round) this.#attempts.receive(out, peer, message, nowMs, undefined);
		this.#early.clear();
	}

	#maybeOpen(out: Collector, nowMs: number): void {
		if (this.done || this.#results.decided) return;
		if (this.#tree === undefined) this.#attempts.maybeOpen(out, this.#alive, nowMs);
		else this.#tree.maybeOpen(out, nowMs);
	}

	/** Who was asked to contribute to the round. */
	#askedIn(attempt: number, survivors: readonly PeerId[]): readonly PeerId[] {
		return this.#tree === undefined
			? this.#attempts.askedIn(attempt, survivors)
			: this.#options.electorate.members;
	}

	#inOrder(values: ReadonlyMap<PeerId, number> | undefined): (number | undefined)[] | undefined {
		return values && this.#options.electorate.members.map((member) => values.get(member));
	}

	// --- liveness ---------------------------------------------------------------------------

	#tick(out: Collector, nowMs: number): void {
		if (this.#coordination.tick(out, this.#alive, nowMs)) this.#coordinatorChanged(out, nowMs);
		if (this.#coordination.leads && nowMs - this.#lastHeartbeatMs >= this.#timing.heartbeatMs) {
			this.#lastHeartbeatMs = nowMs;
			out.sendAll(this.#others, { kind: "heartbeat", ...this.#catchUp.position });
		}
		const resends = nowMs - this.#lastResendMs >= RESEND_MS;
		this.#tree?.tick(out, resends, nowMs);
		this.#maybeOpen(out, nowMs);
		if (!resends) return;
		this.#lastResendMs = nowMs;
		this.#results.resend(out, this.#alive, nowMs);
		// Compares notes with one participant after the other: whatever was lost on the way is found.
		const partner = this.#others[this.#resends++ % this.#others.length];
		if (partner !== undefined) this.#catchUp.ask(out, partner);
	}

	#coordinatorChanged(out: Collector, nowMs: number): void {
		const { certified } = this.#coordination;
		if (certified !== undefined) {
			out.persist(encodePromise({ kind: "term", ...certified }));
			// Whoever completes the certificate tells everybody: the new coordinator may lack a vote.
			out.sendAll(this.#others, { kind: "term", ...certified });
		}
		this.#announceCoordinator(out);
		if (this.done) return;
		if (this.#tree === undefined) this.#attempts.coordinatorChanged(out, nowMs);
		else this.#tree.combinerChanged(out, this.#coordination.coordinator, nowMs);
		this.#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
		this.#maybeOpen(out, nowMs);
	}

	/** Whether this node has no part in the round's sum. */
	get #idle(): boolean {
		return this.#preparation === undefined ? !this.#attempts.invited : !this.#preparation.handedOver;
	}

	#announceCoordinator(out: Collector): void {
		const { term, coordinator, certified } = this.#coordination;
		out.output({ kind: "coordinator", term, coordinator, certified: certified?.term === term });
	}

	/** True for a message that this node can use now. */
	#inStep(out: Collector, from: PeerId, round: number): boolean {
		return this.#catchUp.inStep(out, from, round) && !this.done;
	}

	get #epoch(): number {
		return Math.floor(this.#checkpoint.round / this.#options.roundsPerEpoch);
	}

	get #timing() {
		return this.#options.timing ?? DEFAULT_TIMING;
	}

	#collector(): Collector {
		return new EffectCollector();
	}
}
