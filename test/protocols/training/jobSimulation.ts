/** Training jobs in the simulator: a fake learner, connectivity, restarts from the journal, and what must always hold. */
import { expect } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { hashFields, sha256 } from "../../../crypto/hash.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { decodeMessage, runAggregationTask } from "../../../protocols/aggregation/index.ts";
import { decodePromise as decodeSessionPromise } from "../../../protocols/aggregation/promises.ts";
import type { Effects, Machine, PeerId } from "../../../protocols/contract.ts";
import {
	decodeTrainingMessage,
	encodeTrainingMessage,
	type PersistedStep,
	type RoundResult,
	resultHash,
	statesNeeded,
	TrainingJob,
	type TrainingJobOptions,
	type TrainingMessage,
	type TrainingOutput,
	type TrainingTask,
	type TrainingTaskResult,
} from "../../../protocols/training/index.ts";
import { decodePromise } from "../../../protocols/training/promises.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";
import { type Ballot, contradictsForTests } from "./contradiction.ts";

export interface JobSimulationOptions {
	readonly seed?: number;
	readonly members?: number;
	readonly corruption?: number;
	readonly minimumSurvivors?: number;
	readonly rounds?: number;
	readonly roundsPerEpoch?: number;
	readonly lossProbability?: number;
	readonly configure?: (options: TrainingJobOptions, index: number) => TrainingJobOptions;
	readonly jobId?: string;
	/** Virtual time that a task takes at a participant; one millisecond where undefined. */
	readonly taskMs?: (index: number, task: TrainingTask) => number | undefined;
	/** Does a task in place of the fake learner; undefined leaves it to that. */
	readonly execute?: (index: number, task: TrainingTask) => TrainingTaskResult | undefined;
	/** What a member contributes instead of {@link contributionOf}. */
	readonly contribution?: (index: number, round: number) => Uint32Array | undefined;
}

interface OwnedTask {
	readonly peer: PeerId;
	readonly task: TrainingTask;
}
type Sim = MachineSimulation<TrainingMessage, OwnedTask, TrainingTaskResult, TrainingOutput>;

const LENGTH = 20;
const MODULUS_BITS = 24;
const INITIAL_STATE = new Uint8Array(4 * LENGTH);

/** What a site contributes to a round. */
export function contributionOf(peer: PeerId, round: number): Uint32Array {
	const digest = hashFields("test/contribution", peer, round);
	return Uint32Array.from({ length: LENGTH }, (_, i) => (digest[i] ?? 0) * 1000);
}

/** The state after adding a sum. */
function added(state: Uint8Array, sum: Uint32Array): Uint8Array {
	const next = Uint32Array.from(new Uint32Array(state.slice().buffer), (value, i) => value + (sum[i] ?? 0));
	return new Uint8Array(next.buffer);
}

export class JobSimulation {
	readonly keys: readonly SigningKey[];
	readonly peers: readonly PeerId[];
	readonly simulation: Sim;
	readonly jobs = new Map<PeerId, TrainingJob>();
	/** Sites whose budget is used up. */
	readonly broke = new Set<PeerId>();
	/** Every session message sent, by kind of its body: `from/kind`. */
	readonly sent = new Map<string, number>();
	readonly options: readonly TrainingJobOptions[];
	readonly #settings: JobSimulationOptions;
	readonly #states = new Map<PeerId, Map<string, Uint8Array>>();
	readonly #charged = new Set<string>();
	/** Buffered rounds: the round that each prepared contribution went into. */
	readonly #finished = new Map<string, number>();
	#cut: readonly (readonly PeerId[])[] | undefined;

	constructor(settings: JobSimulationOptions = {}) {
		const members = settings.members ?? 5;
		this.#settings = settings;
		this.keys = keysForTests(members);
		this.peers = this.keys.map(({ peer }) => peer);
		this.simulation = new MachineSimulation({
			seed: settings.seed ?? 1,
			lossProbability: settings.lossProbability ?? 0,
			encode: encodeTrainingMessage,
			decode: decodeTrainingMessage,
			runTask: (owned) =>
				settings.execute?.(this.peers.indexOf(owned.peer), owned.task) ?? this.#execute(owned),
			taskMs: ({ peer, task }) => settings.taskMs?.(this.peers.indexOf(peer), task) ?? 1,
		});
		this.options = this.keys.map((self, index) => {
			const options: TrainingJobOptions = {
				self,
				federationId: "ab".repeat(32),
				charterHash: new Uint8Array(32).fill(3),
				jobId: settings.jobId ?? "job",
				configHash: new Uint8Array(32).fill(4),
				electorate: { members: this.peers, corruption: settings.corruption ?? Math.floor(members / 5) },
				rounds: settings.rounds ?? 3,
				roundsPerEpoch: settings.roundsPerEpoch ?? 10,
				minimumSurvivors: settings.minimumSurvivors ?? Math.ceil(members * 0.6),
				length: LENGTH,
				modulusBits: MODULUS_BITS,
				phaseTimeoutMs: 3000,
				seed: new Uint8Array(32).fill(5),
				initialState: INITIAL_STATE,
				promises: [],
				states: new Map(),
				random: randomBytes,
				timing: { heartbeatMs: 1000, suspicionMs: 3000, stallMs: 20_000 },
				voidAfterMs: 10_000,
			};
			return settings.configure?.(options, index) ?? options;
		});
		this.#watch();
		for (const [index, peer] of this.peers.entries()) {
			this.#states.set(peer, new Map());
			this.simulation.add(peer, this.#machine(index, []));
		}
		this.simulation.at(0, () => this.#connectAll());
	}

	peer(index: number): PeerId {
		return this.peers[index] as PeerId;
	}

	job(index: number): TrainingJob {
		return this.jobs.get(this.peer(index)) as TrainingJob;
	}

	/** Who coordinates now, in the eyes of the first running node. */
	get coordinator(): number {
		const running = this.peers.find((peer) => this.simulation.isRunning(peer)) as PeerId;
		return this.peers.indexOf((this.jobs.get(running) as TrainingJob).coordinator);
	}

	crash(index: number): void {
		const peer = this.peer(index);
		if (!this.simulation.isRunning(peer)) return;
		this.simulation.crash(peer);
		for (const other of this.peers) this.#tellLink(other, peer, false);
	}

	/** Starts a node from its journal and the states stored by hash; everything else is lost. */
	restart(index: number): void {
		const peer = this.peer(index);
		if (this.simulation.isRunning(peer)) return;
		this.simulation.restart(peer, (durable) => this.#machine(index, durable));
		this.simulation.at(this.simulation.nowMs, () => {
			for (const other of this.peers) {
				if (!this.#linked(peer, other)) continue;
				this.#tellLink(other, peer, true);
				this.#tellLink(peer, other, true);
			}
		});
	}

	partition(groups: readonly (readonly number[])[]): void {
		this.#cut = groups.map((group) => group.map((index) => this.peer(index)));
		this.simulation.partition(this.#cut);
		for (const a of this.peers)
			for (const b of this.peers) if (!this.#linked(a, b)) this.#tellLink(a, b, false);
	}

	heal(): void {
		this.#cut = undefined;
		this.simulation.heal();
		this.#connectAll();
	}

	/** Calls `action` once, when the numbered message of this kind is sent (by `from`, if given), within the step. */
	onSend(
		kind: string,
		action: (from: number) => void,
		options: { readonly from?: number; readonly nth?: number; readonly round?: number } = {},
	): void {
		let left = options.nth ?? 1;
		this.simulation.intercept(({ from, message }) => {
			if (options.from !== undefined && from !== this.peer(options.from)) return undefined;
			if (options.round !== undefined && "round" in message && message.round !== options.round)
				return undefined;
			if (kindOf(message) === kind && left > 0 && --left === 0)
				this.simulation.at(this.simulation.nowMs, () => action(this.peers.indexOf(from)));
			return undefined;
		});
	}

	/** Runs until every running (or listed) job is done, or the time is over. */
	run(untilMs = 300_000, until?: () => boolean): void {
		this.simulation.run({
			untilMs,
			until: until ?? (() => this.running.every((index) => this.job(index).done)),
			maxEvents: 2_000_000,
		});
	}

	kind(message: TrainingMessage): string {
		return kindOf(message);
	}

	get running(): number[] {
		return [...this.peers.keys()].filter((index) => this.simulation.isRunning(this.peer(index)));
	}

	outputs<K extends TrainingOutput["kind"]>(index: number, kind: K): Extract<TrainingOutput, { kind: K }>[] {
		return this.simulation.outputs(this.peer(index)).filter((output) => output.kind === kind) as Extract<
			TrainingOutput,
			{ kind: K }
		>[];
	}

	/** The certified results that any node reported, in order; fails when two nodes differ. */
	results(): RoundResult[] {
		const results = new Map<number, RoundResult>();
		for (const index of this.peers.keys()) {
			for (const { content } of this.outputs(index, "round")) {
				const known = results.get(content.round);
				if (known !== undefined) expect(toHex(resultHash(content))).toBe(toHex(resultHash(known)));
				results.set(content.round, content);
			}
		}
		return [...results.values()].sort((a, b) => a.round - b.round);
	}

	faultCodes(index: number): string[] {
		return this.simulation.faults(this.peer(index)).map(({ code }) => code);
	}

	/** What must hold after every run, whatever happened in it. */
	check(expected: { readonly done?: boolean; readonly ignore?: readonly number[] } = {}): RoundResult[] {
		const results = this.results();
		let state: Uint8Array = INITIAL_STATE;
		let previous: Uint8Array | undefined;
		for (const [round, content] of results.entries()) {
			expect(content.round).toBe(round);
			if (previous !== undefined) expect(toHex(content.previous)).toBe(toHex(previous));
			previous = resultHash(content);
			if (content.outcome === "released") {
				expect(content.survivors.length).toBeGreaterThanOrEqual(this.options[0]?.minimumSurvivors ?? 2);
				for (const survivor of content.survivors) state = added(state, contributionOf(survivor, round));
			} else expect(content.survivors).toEqual([]);
			expect(toHex(content.stateHash)).toBe(toHex(sha256(state)));
		}
		for (const peer of this.peers) this.#checkJournal(peer);
		if (expected.done === false) return results;
		const rounds = this.options[0]?.rounds ?? 0;
		expect(results).toHaveLength(rounds);
		for (const index of this.running) {
			if (expected.ignore?.includes(index)) continue;
			expect(this.job(index).round).toBe(rounds);
			expect(toHex(this.job(index).state)).toBe(toHex(state));
		}
		return results;
	}

	#checkJournal(peer: PeerId): void {
		const ballots: Ballot[] = [];
		for (const promise of this.simulation.durable(peer).map(decodePromise)) {
			if (promise.kind === "ballot") ballots.push(promise.ballot);
			if (promise.kind !== "session") continue;
			const inner = decodeSessionPromise(promise.record);
			if (inner.kind === "ballot") ballots.push(inner.ballot);
		}
		expect(contradictsForTests(ballots)).toEqual([]);
	}

	/** Invariants of every message: charged before input; a second input only after proof that the first is dead. */
	#watch(): void {
		this.simulation.intercept(({ from, message }) => {
			const kind = kindOf(message);
			this.sent.set(
				`${this.peers.indexOf(from)}/${kind}`,
				(this.sent.get(`${this.peers.indexOf(from)}/${kind}`) ?? 0) + 1,
			);
			if (message.kind !== "session" || kind !== "input") return undefined;
			const { round, attempt } = message;
			if (!this.#charged.has(`${from}/${round}/${attempt}`))
				throw new Error(`${from} sent an input it was not charged for`);
			const dead = this.simulation
				.durable(from)
				.map(decodePromise)
				.filter((promise) => promise.kind === "dead" && promise.round === round).length;
			if (dead < attempt)
				throw new Error(
					`${from} sent an input of attempt ${attempt} without proof that the earlier are dead`,
				);
			return undefined;
		});
	}

	#linked(a: PeerId, b: PeerId): boolean {
		if (a === b || !this.simulation.isRunning(a) || !this.simulation.isRunning(b)) return false;
		return this.#cut === undefined || this.#cut.some((group) => group.includes(a) && group.includes(b));
	}

	#tellLink(node: PeerId, about: PeerId, connected: boolean): void {
		if (node === about || !this.simulation.isRunning(node)) return;
		const job = this.jobs.get(node) as TrainingJob;
		this.simulation.perform(
			node,
			this.#owned(node, job.connectivity(about, connected, this.simulation.nowMs)),
		);
	}

	#connectAll(): void {
		for (const a of this.peers)
			for (const b of this.peers) if (this.#linked(a, b)) this.#tellLink(a, b, true);
	}

	#machine(
		index: number,
		durable: readonly Uint8Array[],
	): Machine<TrainingMessage, OwnedTask, TrainingTaskResult, TrainingOutput> {
		const peer = this.peer(index);
		const stored = this.#states.get(peer) as Map<string, Uint8Array>;
		const promises = [...durable];
		const states = new Map(
			statesNeeded(promises).flatMap((hash) => {
				const state = stored.get(hash);
				return state === undefined ? [] : [[hash, state] as const];
			}),
		);
		const job = new TrainingJob({ ...(this.options[index] as TrainingJobOptions), promises, states });
		this.jobs.set(peer, job);
		const own = (effects: Effects<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>) =>
			this.#owned(peer, effects);
		return {
			start: (nowMs) => own(job.start(nowMs)),
			receive: (from, message, nowMs, blob) => own(job.receive(from, message, nowMs, blob)),
			expired: (timerId, nowMs) => own(job.expired(timerId, nowMs)),
			completed: (workId, result, nowMs) => own(job.completed(workId, result, nowMs)),
		};
	}

	/** The driver's part: stores states by hash before their records, and knows whose task it is. */
	#owned(
		peer: PeerId,
		effects: Effects<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>,
	): Effects<TrainingMessage, OwnedTask, TrainingOutput> {
		const stored = this.#states.get(peer) as Map<string, Uint8Array>;
		for (const { state } of effects.persist ?? [])
			if (state !== undefined) stored.set(toHex(sha256(state)), state);
		return {
			...effects,
			persist: effects.persist?.map(({ record }) => record),
			work: effects.work?.map(({ id, task }) => ({ id, task: { peer, task } })),
		};
	}

	#execute({ peer, task }: OwnedTask): TrainingTaskResult {
		switch (task.kind) {
			case "contribute": {
				const other = this.#settings.contribution?.(this.peers.indexOf(peer), task.round);
				return { kind: "contribution", vector: other ?? contributionOf(peer, task.round) };
			}
			case "prepare":
				return { kind: "prepared" };
			case "finish": {
				const before = this.#finished.get(`${peer}/${task.version}`);
				if (before !== undefined)
					throw new Error(`${peer} used version ${task.version} in round ${before} already`);
				this.#finished.set(`${peer}/${task.version}`, task.round);
				return { kind: "contribution", vector: contributionOf(peer, task.round) };
			}
			case "charge":
				if (this.broke.has(peer))
					throw new AlthingError("budget.exceeded", "the data set's budget is used up");
				this.#charged.add(`${peer}/${task.round}/${task.attempt}`);
				return { kind: "charged" };
			case "apply":
				return {
					kind: "applied",
					state: added(task.state, task.sum),
					metrics: { loss: 1 / (task.round + 3) },
				};
			case "aggregate":
				return { kind: "aggregated", result: runAggregationTask(task.task) };
		}
	}
}

/** The kind of a training message; of the aggregation message inside, if it carries one. */
export function kindOf(message: TrainingMessage): string {
	return message.kind === "session" ? decodeMessage(message.body).kind : message.kind;
}
