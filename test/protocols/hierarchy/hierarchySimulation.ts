/** Whole hierarchies in the simulator: cohorts, latency, crashes and restarts from what was written. */
import { randomBytes } from "../../../crypto/random.ts";
import {
	type AggregationTask,
	type AggregationTaskResult,
	runAggregationTask,
} from "../../../protocols/aggregation/index.ts";
import { type Ballot, slotId } from "../../../protocols/certificate/index.ts";
import type { PeerId } from "../../../protocols/contract.ts";
import {
	combinersOf,
	type DealtCohort,
	dealCohorts,
	decodeHierarchyMessage,
	encodeHierarchyMessage,
	HierarchyMember,
	type HierarchyMessage,
	type HierarchyOutput,
} from "../../../protocols/hierarchy/index.ts";
import { decodePromise } from "../../../protocols/hierarchy/promises.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

const LENGTH = 7;
const MODULUS_BITS = 16;
const ROUND = 2;

export class HierarchySimulation {
	readonly keys;
	readonly peers: readonly PeerId[];
	readonly cohorts: readonly DealtCohort[];
	/** In the order in which they combine. */
	readonly combiners: readonly PeerId[];
	readonly simulation: MachineSimulation<
		HierarchyMessage,
		AggregationTask,
		AggregationTaskResult,
		HierarchyOutput
	>;
	readonly #machines = new Map<PeerId, HierarchyMember>();

	constructor(
		options: {
			readonly members?: number;
			readonly cohortSize?: number;
			/** Crashes when its input is asked for. */
			readonly lost?: (peer: PeerId) => boolean;
		} = {},
	) {
		const { members = 24, cohortSize = 8, lost = () => false } = options;
		this.keys = keysForTests(members, 8);
		this.peers = this.keys.map(({ peer }) => peer);
		this.cohorts = dealCohorts({
			members: this.peers,
			corruption: 2,
			cohortSize,
			toleratedDropout: 0.25,
			seed: new Uint8Array(32).fill(4),
		});
		this.combiners = combinersOf(this.cohorts, ROUND);
		this.simulation = new MachineSimulation({
			seed: 1,
			encode: encodeHierarchyMessage,
			decode: decodeHierarchyMessage,
			runTask: runAggregationTask,
			latencyMs: [10, 120],
		});
		for (const { peer } of this.keys) this.simulation.add(peer, this.#machine(peer, []));
		this.simulation.onOutput((peer, output) => {
			if (output.kind !== "input_wanted") return;
			this.simulation.at(this.simulation.nowMs, () => {
				if (lost(peer)) this.simulation.crash(peer);
				else if (this.simulation.isRunning(peer)) {
					const machine = this.#machines.get(peer) as HierarchyMember;
					this.simulation.perform(peer, machine.provideInput(this.input(peer), this.simulation.nowMs));
				}
			});
		});
	}

	#machine(peer: PeerId, promises: readonly Uint8Array[]): HierarchyMember {
		const self = this.keys.find((key) => key.peer === peer);
		if (self === undefined) throw new Error(`${peer} has no key`);
		const machine = new HierarchyMember({
			federationId: "cd".repeat(32),
			jobId: "job",
			round: ROUND,
			modelHash: new Uint8Array(32),
			configHash: new Uint8Array(32).fill(1),
			cohorts: this.cohorts,
			self,
			length: LENGTH,
			modulusBits: MODULUS_BITS,
			phaseTimeoutMs: 5000,
			combineTimeoutMs: 10_000,
			promises,
			random: randomBytes,
		});
		this.#machines.set(peer, machine);
		return machine;
	}

	restart(peer: PeerId): void {
		this.simulation.restart(peer, (durable) => this.#machine(peer, [...durable]));
	}

	/** Of a cohort. */
	members(index: number): readonly PeerId[] {
		return this.cohorts[index]?.electorate.members ?? [];
	}

	coordinator(index: number): PeerId {
		return this.cohorts[index]?.coordinator as PeerId;
	}

	get combiner(): PeerId {
		return this.combiners[0] as PeerId;
	}

	/** A cohort whose coordinator is neither the first nor the second to combine. */
	get bystander(): number {
		return this.cohorts.findIndex(({ coordinator }) => !this.combiners.slice(0, 2).includes(coordinator));
	}

	input(peer: PeerId): Uint32Array {
		return Uint32Array.from(
			{ length: LENGTH },
			(_, i) => (this.peers.indexOf(peer) * 2711 + i * 97) % 65_536,
		);
	}

	/** The last release, also of an earlier life. */
	released(peer: PeerId) {
		return this.simulation.outputs(peer).findLast((output) => output.kind === "released");
	}

	expected(peers: readonly PeerId[]): Uint32Array {
		return Uint32Array.from({ length: LENGTH }, (_, i) =>
			peers.reduce((total, peer) => (total + (this.input(peer)[i] as number)) % 65_536, 0),
		);
	}

	run(until: readonly PeerId[], untilMs = 200_000): void {
		this.simulation.run({ untilMs, until: () => until.every((peer) => this.released(peer) !== undefined) });
	}

	/** Crashes `peer` when the `nth` message of a kind is on its way, or another than its sender if given. */
	onSent(kind: HierarchyMessage["kind"], from: PeerId, action: () => void, nth = 1): void {
		let left = nth;
		this.simulation.intercept((envelope) => {
			if (envelope.from !== from || envelope.message.kind !== kind || left <= 0 || --left > 0)
				return undefined;
			this.simulation.at(this.simulation.nowMs, action);
			return undefined;
		});
	}

	/** Slots in which a member's journal holds two ballots. */
	doubleVotes(): string[] {
		return this.peers.flatMap((peer) => {
			const values = new Map<string, Set<string>>();
			for (const record of this.simulation.durable(peer)) {
				const promise = decodePromise(record);
				if (promise.kind !== "ballot") continue;
				const { slot, value }: Ballot = promise.ballot;
				const of = values.get(slotId(slot)) ?? new Set();
				values.set(slotId(slot), of.add(String(value)));
			}
			return [...values].filter(([, of]) => of.size > 1).map(([slot]) => `${peer} ${slot}`);
		});
	}
}
