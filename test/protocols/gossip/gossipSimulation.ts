/** Gossip jobs in the simulator: a learner that pulls towards a target of its own, links, restarts, and what must always hold. */
import { expect } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { sha256 } from "../../../crypto/hash.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import type { Effects, Machine, PeerId } from "../../../protocols/contract.ts";
import {
	bytesNeeded,
	decodeGossipMessage,
	encodeGossipMessage,
	GossipJob,
	type GossipJobOptions,
	type GossipMessage,
	type GossipOutput,
	type GossipTask,
	type GossipTaskResult,
	type PersistedStep,
} from "../../../protocols/gossip/index.ts";
import { decodePromise } from "../../../protocols/gossip/promises.ts";
import { mix } from "../../../src/gossip/mixing.ts";
import { drawTopology, neighboursOf, type Topology } from "../../../src/gossip/topology.ts";
import { float32FromBytes, float32ToBytes } from "../../../src/learning/littleEndian.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

export const LENGTH = 4;
const WIDE = 1e6;

export interface GossipSettings {
	readonly seed?: number;
	readonly members?: number;
	readonly degree?: number;
	readonly rounds?: number;
	readonly radius?: number;
	/** How much of the way to its own target a node goes in one round; 0: it trains nothing. */
	readonly step?: number;
	/** Size of the noise of local training, which is another one each time. */
	readonly noise?: number;
	readonly lossProbability?: number;
	/** What a node starts from; by default a place of its own. */
	readonly initial?: (index: number) => Float32Array;
	readonly tamper?: (options: GossipJobOptions, index: number) => GossipJobOptions;
}

interface OwnedTask {
	readonly peer: PeerId;
	readonly task: GossipTask;
}

export class GossipSimulation {
	readonly keys: readonly SigningKey[];
	readonly peers: readonly PeerId[];
	readonly topology: Topology;
	readonly simulation: MachineSimulation<GossipMessage, OwnedTask, GossipTaskResult, GossipOutput>;
	readonly jobs = new Map<PeerId, GossipJob>();
	readonly options: readonly GossipJobOptions[];
	/** Rounds charged, by peer. */
	readonly charged = new Map<PeerId, number[]>();
	readonly broke = new Set<PeerId>();
	readonly #stored = new Map<PeerId, Map<string, Uint8Array>>();
	readonly #settings: GossipSettings;
	#draws = 0;
	#cut: readonly (readonly PeerId[])[] | undefined;

	constructor(settings: GossipSettings = {}) {
		this.#settings = settings;
		const members = settings.members ?? 8;
		this.keys = keysForTests(members);
		this.peers = this.keys.map(({ peer }) => peer);
		this.topology = drawTopology(this.peers, settings.degree ?? 4, {
			jobId: "job",
			beacon: sha256(Uint8Array.of(settings.seed ?? 1)),
		});
		this.options = this.keys.map((self, index) => {
			const options: GossipJobOptions = {
				self,
				federationId: "ab".repeat(32),
				jobId: "job",
				configHash: sha256(Uint8Array.of(9)),
				neighbours: neighboursOf(this.topology, self.peer),
				rounds: settings.rounds ?? 10,
				modelBytes: 4 * LENGTH,
				phaseTimeoutMs: 5000,
				initialState: float32ToBytes((settings.initial ?? targetOf)(index)),
				promises: [],
				stored: new Map(),
			};
			return settings.tamper?.(options, index) ?? options;
		});
		this.simulation = new MachineSimulation({
			seed: settings.seed ?? 1,
			lossProbability: settings.lossProbability ?? 0,
			encode: encodeGossipMessage,
			decode: decodeGossipMessage,
			runTask: ({ peer, task }) => this.#run(peer, task),
		});
		for (const peer of this.peers) this.#add(peer, []);
		this.#announceLinks();
	}

	peer(index: number): PeerId {
		return this.peers[index] as PeerId;
	}

	neighbours(index: number): PeerId[] {
		return this.options[index]!.neighbours.map(({ peer }) => peer);
	}

	model(index: number): Float32Array {
		return float32FromBytes(this.jobs.get(this.peer(index))!.state);
	}

	crash(index: number): void {
		this.simulation.crash(this.peer(index));
		this.jobs.delete(this.peer(index));
		this.#linksOf(this.peer(index), false);
	}

	restart(index: number): void {
		this.#add(this.peer(index), this.simulation.durable(this.peer(index)));
		this.simulation.at(this.simulation.nowMs, () => this.#linksOf(this.peer(index), true));
	}

	partition(groups: readonly (readonly number[])[]): void {
		this.#cut = groups.map((group) => group.map((index) => this.peer(index)));
		this.simulation.partition(this.#cut);
		this.#announceLinks();
	}

	heal(): void {
		this.#cut = undefined;
		this.simulation.heal();
		this.#announceLinks();
	}

	allDone(indices: readonly number[] = this.peers.map((_, index) => index)): boolean {
		return indices.every((index) => this.jobs.get(this.peer(index))?.done === true);
	}

	run(untilMs = 600_000, until: () => boolean = () => this.allDone()): void {
		this.simulation.run({ untilMs, until });
	}

	outputs<Kind extends GossipOutput["kind"]>(
		index: number,
		kind: Kind,
	): Extract<GossipOutput, { kind: Kind }>[] {
		return this.simulation
			.outputs(this.peer(index))
			.filter((output): output is Extract<GossipOutput, { kind: Kind }> => output.kind === kind);
	}

	faultCodes(index: number): string[] {
		return this.simulation.faults(this.peer(index)).map(({ code }) => code);
	}

	/** Root of the sum of squared distances from the mean of all models. */
	spread(): number {
		const models = this.peers.map((_, index) => this.model(index));
		const mean = Array.from(
			{ length: LENGTH },
			(_, i) => models.reduce((sum, model) => sum + model[i]!, 0) / models.length,
		);
		return Math.sqrt(
			models.reduce((sum, model) => sum + mean.reduce((s, value, i) => s + (model[i]! - value) ** 2, 0), 0),
		);
	}

	/** No node ever signs two models for one round, and every one it promised was paid for before. */
	checkPromises(): void {
		for (const peer of this.peers) {
			const released = this.simulation
				.durable(peer)
				.map(decodePromise)
				.filter(({ kind }) => kind === "released")
				.map(({ round }) => round);
			expect(new Set(released).size).toBe(released.length);
			for (const round of released) expect(this.charged.get(peer)).toContain(round);
		}
	}

	#add(peer: PeerId, promises: readonly Uint8Array[]): void {
		const options = this.options[this.peers.indexOf(peer)]!;
		const known = this.#stored.get(peer) ?? new Map<string, Uint8Array>();
		this.#stored.set(peer, known);
		const stored = new Map(bytesNeeded(promises).map((hash) => [hash, known.get(hash)!]));
		const job = new GossipJob({ ...options, promises, stored });
		this.jobs.set(peer, job);
		this.simulation.add(peer, this.#machine(peer, job));
	}

	#machine(peer: PeerId, job: GossipJob): Machine<GossipMessage, OwnedTask, GossipTaskResult, GossipOutput> {
		return {
			start: (nowMs) => this.#plain(peer, job.start(nowMs)),
			receive: (from, message, nowMs, blob) => this.#plain(peer, job.receive(from, message, nowMs, blob)),
			expired: (id, nowMs) => this.#plain(peer, job.expired(id, nowMs)),
			completed: (id, result, nowMs) => this.#plain(peer, job.completed(id, result, nowMs)),
		};
	}

	/** Stores what is promised under its hash, as the node does, and names whose task it is. */
	#plain(
		peer: PeerId,
		effects: Effects<GossipMessage, GossipTask, GossipOutput, PersistedStep>,
	): Effects<GossipMessage, OwnedTask, GossipOutput> {
		return {
			...effects,
			work: effects.work?.map(({ id, task }) => ({ id, task: { peer, task } })),
			persist: effects.persist?.map(({ record, state }) => {
				if (state !== undefined) this.#stored.get(peer)!.set(toHex(sha256(state)), state);
				return record;
			}),
		};
	}

	#announceLinks(): void {
		this.simulation.at(this.simulation.nowMs, () => {
			for (const peer of this.peers) this.#linksOf(peer, true);
		});
	}

	/** Tells this peer and the others which links there are; `up` false when the peer is gone. */
	#linksOf(peer: PeerId, up: boolean): void {
		for (const other of this.peers) {
			if (other === peer) continue;
			const together =
				up &&
				this.jobs.has(other) &&
				(this.#cut === undefined || this.#cut.some((group) => group.includes(peer) && group.includes(other)));
			this.#link(peer, other, together);
			this.#link(other, peer, together);
		}
	}

	#link(at: PeerId, other: PeerId, connected: boolean): void {
		const job = this.jobs.get(at);
		if (job === undefined) return;
		this.simulation.perform(at, this.#plain(at, job.connectivity(other, connected, this.simulation.nowMs)));
	}

	#run(peer: PeerId, task: GossipTask): GossipTaskResult {
		const index = this.peers.indexOf(peer);
		switch (task.kind) {
			case "train": {
				const { step = 0, noise = 0 } = this.#settings;
				const drawn = noise * Math.sin(++this.#draws);
				const target = targetOf(index);
				const own = float32FromBytes(task.state);
				const model = own.map((value, i) => value + step * (target[i]! - value) + drawn);
				return { kind: "trained", model: float32ToBytes(model), metrics: { loss: index } };
			}
			case "charge":
				if (this.broke.has(peer)) throw new AlthingError("budget.exceeded", "nothing is left");
				this.charged.set(peer, [...(this.charged.get(peer) ?? []), task.round]);
				return { kind: "charged" };
			case "mix": {
				const own = float32FromBytes(task.model ?? task.state);
				const models = task.received.map(({ peer: from, weight, model }) => ({
					from,
					weight,
					parameters: float32FromBytes(model),
				}));
				const sound = models.filter(({ parameters }) => parameters.every(Number.isFinite));
				const { parameters, distances } = mix(own, sound, this.#settings.radius ?? WIDE);
				return {
					kind: "mixed",
					state: float32ToBytes(parameters),
					rejected: models.filter((one) => !sound.includes(one)).map(({ from }) => from),
					farthest: Math.max(0, ...distances),
				};
			}
		}
	}
}

/** Where a node's own records would take its model. */
export function targetOf(index: number): Float32Array {
	return Float32Array.from({ length: LENGTH }, (_, i) => Math.sin(1 + index * (i + 1)));
}
