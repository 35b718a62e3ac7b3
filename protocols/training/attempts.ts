/**
 * The aggregation attempts of one round: opens or joins them, follows Dead certificates from
 * one to the next, and carries their messages, timers and work in the job's own.
 */
import { hashFields, sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { selectParticipants } from "../../src/selection/select.ts";
import {
	type AggregationConfig,
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type BufferRules,
	decodeMessage,
	encodeMessage,
	graphSeedOf,
	smallestRoster,
	survivorsSlot,
} from "../aggregation/index.ts";
import { type DeadCertificate, quorum, slotId, verifyDeadCertificate } from "../certificate/index.ts";
import { epochOf, firstTerm } from "../election/index.ts";
import { rulesWithout } from "../robust/outcome.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Collector, TrainingJobOptions, TrainingTaskResult } from "./contract.ts";
import type { Coordination } from "./coordination.ts";
import type { TrainingMessage } from "./messages.ts";
import { encodePromise } from "./promises.ts";
import { canBeSecured, cohortOfSelected } from "./selectedCohort.ts";

/** After this many dead attempts under one coordinator the next in line is asked, whatever the reasons were. */
const MAX_DEAD_PER_TERM = 3;
const RETRY_MS = 500;

export type Released = Extract<AggregationOutput, { kind: "released" }> & { readonly attempt: number };
type SessionMessage = Extract<TrainingMessage, { kind: "session" }>;

/** What an attempt tells the job. */
export interface AttemptListener {
	/** The session asks for this site's vector. */
	inputWanted(out: Collector, nowMs: number): void;
	/** The sum is verified. */
	released(out: Collector, released: Released, nowMs: number): void;
	/** The survivors are fixed, or may be, and this node may never get their sum. */
	mayBeLost(nowMs: number): void;
	/** The attempt is dead: nothing of it was or will be released. */
	dead(): void;
}

export class RoundAttempts {
	readonly #options: TrainingJobOptions;
	readonly #coordination: Coordination;
	readonly #listener: AttemptListener;
	#checkpoint: Checkpoint | undefined;
	/** Buffered rounds: the version that this node's contribution to the round was trained from. */
	#offered: number | undefined;
	/** Those invited to the round's attempts, as far as they were asked for. */
	#invited: (readonly PeerId[])[] = [];
	/** Those not asked in the round, once that was worked out. */
	#aside: readonly PeerId[] | undefined;
	#round = 0;
	#attempt = 0;
	#graphSeed: Uint8Array | undefined;
	#modelHash: Uint8Array = new Uint8Array(32);
	#session: AggregationSession | undefined;
	/** Peers whose link is down: no session waits for them. */
	readonly #unreachable = new Set<PeerId>();
	#dead: DeadCertificate[] = [];
	#promises: ReadonlyMap<number, readonly Uint8Array[]> = new Map();
	/** The term in which this node itself entered the attempt; undefined when others may have run it before. */
	#enteredTerm: number | undefined;
	/** Survivors of the attempt are certified: it cannot be dead. */
	#certified = false;
	#coordinatorChanges = 0;
	#deaths = { term: 0, count: 0 };
	#nextOpenMs = 0;

	constructor(options: TrainingJobOptions, coordination: Coordination, listener: AttemptListener) {
		this.#options = options;
		this.#coordination = coordination;
		this.#listener = listener;
	}

	get attempt(): number {
		return this.#attempt;
	}

	/** Who is asked to contribute to an attempt of this round, sorted: what every participant computes alike. */
	invitedTo(attempt: number): readonly PeerId[] {
		const { selection, electorate, jobId } = this.#options;
		const { beacon, history } = this.#checkpoint ?? {};
		const excluded = this.#checkpoint?.excluded ?? [];
		const aside = this.#setAside();
		const members = electorate.members.filter((peer) => !excluded.includes(peer) && !aside.includes(peer));
		if (selection === undefined || beacon === undefined || history === undefined) return members;
		const eligible = history.filter((_, index) => !excluded.includes(electorate.members[index] as PeerId));
		const known = this.#invited[attempt];
		if (known !== undefined) return known;
		const round = { jobId, round: this.#round, attempt, members, beacon, history: eligible };
		const asked = selectParticipants(selection, round);
		// A set too large for the survivors that are asked of it is no better than the one before.
		const tooLarge = attempt > 0 && !canBeSecured(this.#options, asked.length);
		const invited = tooLarge ? this.invitedTo(attempt - 1) : asked;
		this.#invited[attempt] = invited;
		return invited;
	}

	/** Who is not asked in this round for what the certified state says of it. */
	#setAside(): readonly PeerId[] {
		if (this.#aside !== undefined || this.#checkpoint === undefined) return this.#aside ?? [];
		const { setAside, electorate } = this.#options;
		const excluded = (this.#checkpoint.excluded ?? []).map((peer) => electorate.members.indexOf(peer));
		const places = setAside?.(this.#checkpoint.state, excluded) ?? [];
		this.#aside = places.map((place) => electorate.members[place] as PeerId);
		return this.#aside;
	}

	/**
	 * Who can be said to have been asked: those invited to an attempt. Who was ready in time for a buffered
	 * round is known of its survivors alone.
	 */
	askedIn(attempt: number, survivors: readonly PeerId[]): readonly PeerId[] {
		return this.#options.buffer === undefined ? this.invitedTo(attempt) : survivors;
	}

	/** Buffered rounds: a contribution, trained from this version, waits to be taken by this round. */
	offer(out: Collector, version: number, nowMs: number): void {
		this.#offered = version;
		if (this.#session !== undefined) this.#relay(out, this.#session.offer(version, nowMs), nowMs);
	}

	#bufferRules(): BufferRules | undefined {
		const { buffer, electorate } = this.#options;
		if (buffer === undefined) return undefined;
		const { history } = this.#checkpoint ?? {};
		const stalest = Math.max(0, this.#round - buffer.maximumStaleness);
		return {
			capacity: buffer.capacity,
			// What came of a version before its author's last contribution may have been in that one.
			oldestVersion: (member) =>
				Math.max(stalest, 1 + (history?.[electorate.members.indexOf(member)]?.lastSurvived ?? -1)),
		};
	}

	/** Whether this node is asked to contribute to the present attempt. */
	get invited(): boolean {
		return this.invitedTo(this.#attempt).includes(this.#options.self.peer);
	}

	/**
	 * Starts a round's first attempt.
	 * @param caughtUp others certified the round before without this node: they may be in the midst of this one
	 */
	begin(checkpoint: Checkpoint, caughtUp: boolean, nowMs: number): void {
		this.#checkpoint = checkpoint;
		this.#invited = [];
		this.#aside = undefined;
		this.#offered = undefined;
		this.#round = checkpoint.round;
		this.#modelHash = sha256(checkpoint.state);
		this.#dead = [];
		this.#promises = new Map();
		this.#enter(0, caughtUp ? undefined : this.#coordination.term);
		this.#nextOpenMs = nowMs;
	}

	/** Resumes a round after a restart, from this node's own records. */
	resume(
		checkpoint: Checkpoint,
		dead: readonly DeadCertificate[],
		promises: ReadonlyMap<number, readonly Uint8Array[]>,
		nowMs: number,
	): void {
		this.begin(checkpoint, true, nowMs);
		this.#dead = [...dead];
		this.#promises = promises;
		this.#enter(dead.length, undefined);
		// What this node promised in the attempt may be certified; the shares that opened it are gone.
		if (promises.has(this.#attempt)) this.#listener.mayBeLost(nowMs);
	}

	/** Drops the session: the round is decided. */
	end(): void {
		this.#session = undefined;
	}

	#enter(attempt: number, enteredTerm: number | undefined): void {
		this.#attempt = attempt;
		this.#enteredTerm = enteredTerm;
		this.#session = undefined;
		this.#certified = false;
		this.#coordinatorChanges = 0;
	}

	/** The coordinator opens the attempt, or recovers it, when enough participants are connected. */
	maybeOpen(out: Collector, alive: ReadonlySet<PeerId>, nowMs: number): void {
		if (!this.#coordination.leads || this.#session !== undefined || nowMs < this.#nextOpenMs) return;
		const { electorate, minimumSurvivors, self } = this.#options;
		if (alive.size < Math.max(quorum(electorate), smallestRoster(minimumSurvivors))) return;
		out.output({ kind: "stage", round: this.#round, attempt: this.#attempt, stage: "open" });
		const { term } = this.#coordination;
		// An earlier coordinator may have run this attempt: then it is finished or proven dead,
		// never begun afresh. In an epoch's first term there was none; a restarted coordinator
		// of that term is kept from a second beginning by its own promises.
		const fresh = term === this.#enteredTerm || term === firstTerm(epochOf(term));
		if (fresh || this.#promises.has(this.#attempt)) {
			const session = this.#create(term, self.peer, nowMs);
			this.#relay(out, session.start(nowMs), nowMs);
		} else {
			const predecessor = electorate.members.find((peer) => peer !== self.peer) ?? self.peer;
			const session = this.#create(term - 1, predecessor, nowMs);
			this.#relay(out, session.coordinatorChanged(term, self.peer, nowMs), nowMs);
		}
	}

	/** The next in line took over. */
	coordinatorChanged(out: Collector, nowMs: number): void {
		const { term, coordinator } = this.#coordination;
		this.#nextOpenMs = nowMs;
		this.#coordinatorChanges++;
		// Of f + 1 coordinators one is honest: if it could not finish the attempt, the votes are split.
		if (this.#coordinatorChanges > this.#options.electorate.corruption + 1) this.#listener.mayBeLost(nowMs);
		if (this.#session !== undefined)
			this.#relay(out, this.#session.coordinatorChanged(term, coordinator, nowMs), nowMs);
	}

	/** Handles a message of this round's sessions. */
	receive(
		out: Collector,
		from: PeerId,
		message: SessionMessage,
		nowMs: number,
		blob: Uint8Array | undefined,
	): void {
		let body: AggregationMessage;
		try {
			body = decodeMessage(message.body);
		} catch (error) {
			const text = error instanceof Error ? error.message : String(error);
			out.fault({ peer: from, code: "training.malformed", message: text, proof: false });
			return;
		}
		if (message.attempt < this.#attempt) {
			// Only what drives an attempt is answered: a late vote needs no correction.
			if (body.kind === "open" || body.kind === "recover" || body.kind === "abstainRequest")
				this.tellDead(out, from, message.attempt);
			return;
		}
		if (body.kind === "open") this.#adopt(out, body.precedingDead, nowMs);
		if (message.attempt !== this.#attempt) return;
		if (this.#session === undefined) {
			if (body.kind === "dead") this.#adopt(out, [body.certificate], nowMs);
			if (body.kind === "dead" || from !== this.#coordination.coordinator) return;
			const session = this.#create(this.#coordination.term, this.#coordination.coordinator, nowMs);
			this.#relay(out, session.start(nowMs), nowMs);
		}
		const before = this.#attempt;
		if (this.#session !== undefined) this.#relay(out, this.#session.receive(from, body, nowMs, blob), nowMs);
		// Somebody else's certificate: an attempt after it may be under way already.
		if (body.kind === "dead" && this.#attempt !== before) this.#enteredTerm = undefined;
	}

	/**
	 * A later attempt is joined only with a Dead certificate for every earlier one: a member
	 * must never mask its update again while an earlier sum of it might still be opened.
	 */
	#adopt(out: Collector, certificates: readonly DeadCertificate[], nowMs: number): void {
		for (const certificate of certificates) {
			if (certificate.slot.attempt < this.#attempt) continue;
			if (this.#certified || !this.#provesDead(certificate)) return;
			this.#buried(out, certificate, "the others proved it dead", nowMs);
			this.#enteredTerm = undefined;
		}
	}

	#provesDead(certificate: DeadCertificate): boolean {
		const { federationId, jobId, electorate } = this.#options;
		const slot = survivorsSlot({ federationId, jobId, round: this.#round, attempt: this.#attempt });
		return slotId(certificate.slot) === slotId(slot) && verifyDeadCertificate(electorate, certificate);
	}

	/** Gives a peer the Dead certificates of the attempts it still holds on to. */
	tellDead(out: Collector, to: PeerId, from: number): void {
		for (const certificate of this.#dead.slice(from)) {
			const body = encodeMessage({ kind: "dead", certificate, reason: "proven dead" });
			out.send(to, { kind: "session", round: this.#round, attempt: certificate.slot.attempt, body });
		}
	}

	expired(out: Collector, attempt: number, timerId: string, nowMs: number): void {
		if (attempt === this.#attempt && this.#session !== undefined)
			this.#relay(out, this.#session.expired(timerId, nowMs), nowMs);
	}

	completed(
		out: Collector,
		attempt: number,
		workId: string,
		result: TrainingTaskResult | Error,
		nowMs: number,
	): void {
		if (attempt !== this.#attempt || this.#session === undefined) return;
		const wrong = new Error("an aggregation task was answered with something else");
		const answer = result instanceof Error ? result : result.kind === "aggregated" ? result.result : wrong;
		this.#relay(out, this.#session.completed(workId, answer, nowMs), nowMs);
	}

	/** The state of a link, for this session and the ones after it. */
	connectivity(out: Collector, peer: PeerId, connected: boolean, nowMs: number): void {
		if (connected) this.#unreachable.delete(peer);
		else this.#unreachable.add(peer);
		if (this.#session !== undefined) this.#relay(out, this.#session.connectivity(peer, connected), nowMs);
	}

	/** Hands over this site's vector; the budget has been charged. */
	provideInput(out: Collector, vector: Uint32Array, nowMs: number, publicPart: Uint8Array | undefined): void {
		if (this.#session !== undefined)
			this.#relay(out, this.#session.provideInput(vector, nowMs, publicPart), nowMs);
	}

	/** The graph of a large cohort follows from the beacon of the job's start. */
	#graphOf(selected: readonly PeerId[]): Pick<AggregationConfig, "cohort" | "graphSeed"> {
		const { seed } = this.#options;
		const cohort = cohortOfSelected(this.#options, selected.length);
		if (cohort.graph === "ring") this.#graphSeed ??= graphSeedOf(seed);
		return { cohort, graphSeed: this.#graphSeed ?? seed };
	}

	/** Buckets are dealt anew in each round, and alike in its attempts: no coordinator gets other ones by letting one die. */
	#bucketSeed(beacon: Uint8Array | undefined): Uint8Array {
		return hashFields("althing/buckets/1", beacon ?? this.#options.seed, this.#round);
	}

	#create(term: number, coordinator: PeerId, nowMs: number): AggregationSession {
		const { self, federationId, jobId, configHash, electorate, minimumSurvivors } = this.#options;
		const { length, modulusBits, phaseTimeoutMs, random, enoughInputs, screening } = this.#options;
		const { state, beacon, excluded = [] } = this.#checkpoint ?? {};
		const buckets = this.#options.bucketRules?.(excluded.length);
		const rules = state && screening?.(state);
		const config: AggregationConfig = {
			self,
			federationId,
			jobId,
			round: this.#round,
			attempt: this.#attempt,
			modelHash: this.#modelHash,
			configHash,
			electorate,
			selected: this.invitedTo(this.#attempt),
			enoughInputs,
			buffer: this.#bufferRules(),
			publicBytes: this.#options.publicBytes,
			screening: rules && rulesWithout(rules, excluded.length),
			coordinator,
			term,
			minimumSurvivors,
			...this.#graphOf(this.invitedTo(this.#attempt)),
			...(buckets === undefined ? {} : { buckets, graphSeed: this.#bucketSeed(beacon) }),
			length,
			modulusBits,
			phaseTimeoutMs,
			precedingDead: this.#dead,
			promises: this.#promises.get(this.#attempt) ?? [],
			random,
		};
		const session = new AggregationSession(config);
		for (const peer of this.#unreachable) session.connectivity(peer, false);
		// Nobody has opened the session yet, so this says nothing to anybody.
		if (this.#offered !== undefined) session.offer(this.#offered, nowMs);
		this.#session = session;
		return session;
	}

	#relay(out: Collector, effects: ReturnType<AggregationSession["start"]>, nowMs: number): void {
		const round = this.#round;
		const attempt = this.#attempt;
		for (const record of effects.persist ?? [])
			out.persist(encodePromise({ kind: "session", round, attempt, record }));
		for (const { to, message, blob } of effects.send ?? [])
			out.send(to, { kind: "session", round, attempt, body: encodeMessage(message) }, blob);
		for (const { id, afterMs } of effects.setTimer ?? [])
			out.timer(`session/${round}/${attempt}/${id}`, afterMs);
		for (const { id, task } of effects.work ?? [])
			out.work(`aggregate/${round}/${attempt}/${id}`, { kind: "aggregate", task });
		for (const fault of effects.faults ?? []) out.fault(fault);
		for (const output of effects.output ?? []) this.#react(out, output, nowMs);
	}

	#react(out: Collector, output: AggregationOutput, nowMs: number): void {
		if (output.kind !== "failed" && output.kind !== "closed" && output.kind !== "dead")
			this.#coordination.progressed(nowMs);
		const at = { round: this.#round, attempt: this.#attempt };
		switch (output.kind) {
			case "phase":
				out.output({ kind: "stage", ...at, stage: output.phase });
				break;
			case "certified":
				this.#certified = true;
				this.#listener.mayBeLost(nowMs);
				break;
			case "input_wanted":
				this.#listener.inputWanted(out, nowMs);
				break;
			case "released":
				this.#listener.released(out, { ...output, attempt: this.#attempt }, nowMs);
				break;
			case "dead":
				this.#buried(out, output.certificate, output.reason, nowMs);
				break;
			case "failed":
				this.#listener.mayBeLost(nowMs);
				// A coordinator without shares of its own cannot open the sum; the next in line may.
				if (this.#coordination.leads) this.#coordination.distrust();
				out.output({ kind: "retry", ...at, reason: output.error.message, dead: false });
				break;
			case "closed":
				break;
		}
	}

	#buried(out: Collector, certificate: DeadCertificate, reason: string, nowMs: number): void {
		const { term } = this.#coordination;
		out.persist(encodePromise({ kind: "dead", round: this.#round, certificate }));
		out.output({ kind: "retry", round: this.#round, attempt: this.#attempt, reason, dead: true });
		this.#dead = [...this.#dead, certificate];
		this.#enter(this.#attempt + 1, term);
		this.#listener.dead();
		// Back off when attempts die in a row: a partition must not become a storm of key exchanges.
		this.#nextOpenMs = nowMs + Math.min(4, 1.5 ** (this.#attempt - 1)) * RETRY_MS;
		this.#deaths = { term, count: this.#deaths.term === term ? this.#deaths.count + 1 : 1 };
		// A coordinator that lets attempt after attempt die is no better than a silent one.
		if (this.#deaths.count >= MAX_DEAD_PER_TERM) this.#coordination.distrust();
		else this.#coordination.progressed(nowMs);
	}
}
