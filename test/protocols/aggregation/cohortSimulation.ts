/** A cohort of aggregation sessions in the simulator, with inputs and expected sums. */

import { type SigningKey, signingKeyFromSeed } from "../../../crypto/identity.ts";
import { randomBytes } from "../../../crypto/random.ts";
import {
	type AggregationConfig,
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	type CohortParameters,
	decodeMessage,
	encodeMessage,
	runAggregationTask,
} from "../../../protocols/aggregation/index.ts";
import type { PeerId } from "../../../protocols/contract.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";

export interface CohortOptions {
	readonly seed?: number;
	readonly members?: number;
	readonly corruption?: number;
	readonly minimumSurvivors?: number;
	readonly length?: number;
	readonly modulusBits?: number;
	readonly lossProbability?: number;
	readonly attempt?: number;
	readonly precedingDead?: AggregationConfig["precedingDead"];
	/** Changes one member's configuration. */
	readonly configure?: (config: AggregationConfig, index: number) => AggregationConfig;
	/** Who holds shares of whom and is masked against whom; everybody by default. */
	readonly cohort?: CohortParameters;
	readonly keys?: readonly SigningKey[];
	/** One member's input; random over the whole ring by default. */
	readonly input?: (index: number, length: number) => Uint32Array;
	/** One member's part that everybody sees; none by default. */
	readonly publicPart?: (index: number) => Uint8Array;
}

type Simulation = MachineSimulation<
	AggregationMessage,
	AggregationTask,
	AggregationTaskResult,
	AggregationOutput
>;
type Released = Extract<AggregationOutput, { kind: "released" }>;

export function keysForTests(count: number, seed = 1): SigningKey[] {
	const random = seededRandomForTests(seed);
	const seeds = Array.from({ length: count }, () => Uint8Array.from({ length: 32 }, () => random() * 256));
	return seeds.map(signingKeyFromSeed).sort((a, b) => (a.peer < b.peer ? -1 : 1));
}

export class CohortSimulation {
	readonly keys: readonly SigningKey[];
	readonly peers: readonly PeerId[];
	readonly inputs: readonly Uint32Array[];
	readonly simulation: Simulation;
	readonly sessions = new Map<PeerId, AggregationSession>();
	readonly configs: AggregationConfig[];
	readonly modulusBits: number;
	readonly #publicPart: (index: number) => Uint8Array | undefined;
	/** Members whose self seed was opened by anybody, in part or whole. */
	readonly openedSeeds: PeerId[] = [];
	/** Answers input_wanted; a test may replace it. */
	provide = true;

	constructor(options: CohortOptions = {}) {
		const members = options.members ?? 5;
		const seed = options.seed ?? 1;
		const length = options.length ?? 40;
		this.modulusBits = options.modulusBits ?? 24;
		this.#publicPart = options.publicPart ?? (() => undefined);
		this.keys = options.keys ?? keysForTests(members);
		this.peers = this.keys.map(({ peer }) => peer);
		const random = seededRandomForTests(seed + 1000);
		const modulus = 2 ** this.modulusBits;
		const anything = () => Uint32Array.from({ length }, () => Math.floor(random() * modulus));
		this.inputs = this.keys.map((_, index) => options.input?.(index, length) ?? anything());
		this.simulation = new MachineSimulation({
			seed,
			lossProbability: options.lossProbability ?? 0,
			encode: encodeMessage,
			decode: decodeMessage,
			runTask: runAggregationTask,
		});
		this.configs = this.keys.map((self, index) => {
			const config: AggregationConfig = {
				federationId: "ab".repeat(32),
				jobId: "job",
				round: 3,
				attempt: options.attempt ?? 0,
				modelHash: new Uint8Array(32).fill(7),
				configHash: new Uint8Array(32).fill(8),
				electorate: { members: this.peers, corruption: options.corruption ?? Math.floor(members / 5) },
				coordinator: this.peers[0] as PeerId,
				term: 1,
				self,
				minimumSurvivors: options.minimumSurvivors ?? Math.ceil(members * 0.6),
				cohort: options.cohort ?? { graph: "complete" },
				graphSeed: new Uint8Array(32).fill(seed),
				length,
				modulusBits: this.modulusBits,
				phaseTimeoutMs: 5000,
				precedingDead: options.precedingDead ?? [],
				promises: [],
				random: randomBytes,
				publicBytes: options.publicPart?.(index).length,
			};
			return options.configure?.(config, index) ?? config;
		});
		for (const [index, config] of this.configs.entries()) {
			const session = new AggregationSession(config);
			this.sessions.set(this.peers[index] as PeerId, session);
			this.simulation.add(this.peers[index] as PeerId, session);
		}
		this.#watchReveals();
		this.simulation.onOutput((peer, output) => {
			if (output.kind === "input_wanted" && this.provide) this.provideInput(peer);
		});
	}

	/** Invariant, in every test: no node opens both kinds of secret for one member of a session. */
	#watchReveals(): void {
		const opened = new Map<string, string>();
		const note = (from: PeerId, session: Uint8Array, target: PeerId, part: string): void => {
			const key = `${from} ${Buffer.from(session).toString("hex")} ${target}`;
			if ((opened.get(key) ?? part) !== part) throw new Error(`${from} opened both secrets of ${target}`);
			opened.set(key, part);
		};
		this.simulation.intercept(({ from, message }) => {
			if (message.kind === "shareReply") {
				for (const { target, part } of message.parts) note(from, message.sid, target, part);
				this.openedSeeds.push(
					...message.parts.flatMap(({ target, part }) => (part === "seed" ? [target] : [])),
				);
			}
			if (message.kind === "edgeReply")
				for (const { peer } of message.edges) note(from, message.sid, peer, "maskKey");
			if (message.kind === "reveal") {
				const { author, proposalHash } = message.reveal;
				this.openedSeeds.push(author);
				// One session has one certified proposal.
				for (const { target, part } of message.parts) note(from, proposalHash, target, part);
				note(from, proposalHash, author, "seed");
			}
			return undefined;
		});
	}

	peer(index: number): PeerId {
		return this.peers[index] as PeerId;
	}

	provideInput(peer: PeerId): void {
		const index = this.peers.indexOf(peer);
		const input = this.inputs[index] as Uint32Array;
		const part = this.#publicPart(index);
		const session = this.sessions.get(peer) as AggregationSession;
		// The owner answers after the step, as a real one does after charging its budget.
		this.simulation.at(this.simulation.nowMs, () => {
			if (this.simulation.isRunning(peer) && this.sessions.get(peer) === session) {
				this.simulation.perform(peer, session.provideInput(input, this.simulation.nowMs, part));
			}
		});
	}

	/** Starts a crashed node again with what it had persisted. */
	restart(index: number, changes: Partial<AggregationConfig> = {}): void {
		const peer = this.peer(index);
		this.simulation.restart(peer, (promises) => {
			const session = new AggregationSession({
				...(this.configs[index] as AggregationConfig),
				...changes,
				promises,
			});
			this.sessions.set(peer, session);
			return session;
		});
	}

	/** Tells every running node of a new coordinator. */
	changeCoordinator(term: number, index: number): void {
		for (const peer of this.peers) {
			if (!this.simulation.isRunning(peer)) continue;
			const session = this.sessions.get(peer) as AggregationSession;
			this.simulation.perform(
				peer,
				session.coordinatorChanged(term, this.peer(index), this.simulation.nowMs),
			);
		}
	}

	released(index: number): Released | undefined {
		return this.simulation.outputs(this.peer(index)).find((output) => output.kind === "released");
	}

	output<K extends AggregationOutput["kind"]>(
		index: number,
		kind: K,
	): Extract<AggregationOutput, { kind: K }> | undefined {
		return this.simulation.outputs(this.peer(index)).find((output) => output.kind === kind) as
			| Extract<AggregationOutput, { kind: K }>
			| undefined;
	}

	/** The plain sum of some members' inputs. */
	expectedSum(survivors: readonly PeerId[]): Uint32Array {
		const modulus = 2 ** this.modulusBits;
		const first = this.inputs[0] as Uint32Array;
		return Uint32Array.from(first, (_, i) => {
			const total = survivors.reduce(
				(sum, peer) => sum + (this.inputs[this.peers.indexOf(peer)]?.[i] ?? 0),
				0,
			);
			return total % modulus;
		});
	}

	/** Runs until every listed node has ended. */
	runUntilEnded(indices: readonly number[] = this.peers.map((_, i) => i), untilMs = 120_000): void {
		this.simulation.run({
			untilMs,
			until: () => indices.every((i) => this.sessions.get(this.peer(i))?.ended === true),
		});
	}
}
