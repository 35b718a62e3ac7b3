/** A started job without a coordinator on this node: its neighbours, its machine, and what drives it. */
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import type { Fault } from "../../protocols/contract.ts";
import {
	bytesNeeded,
	decodeGossipMessage,
	encodeGossipMessage,
	GossipJob,
	type GossipMessage,
	type GossipOutput,
	type GossipTask,
	type GossipTaskResult,
	type PersistedStep,
} from "../../protocols/gossip/index.ts";
import { gossipDegree } from "../../src/gossip/gossipChoice.ts";
import { drawTopology, type Neighbour, neighboursOf } from "../../src/gossip/topology.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import type { TrainingPlan } from "../../src/training/plan.ts";
import type { Logger } from "../logging/logger.ts";
import type { Network, Packet } from "../network/port.ts";
import { MachineDriver } from "./machineDriver.ts";

export function gossipKind(jobId: string): string {
	return `gossip/${jobId}`;
}

/** What a run needs of the node around it, and of the job. */
export interface GossipRunOptions {
	readonly self: SigningKey;
	readonly network: Network;
	readonly log: Logger;
	readonly attendedMs: () => number;
	readonly journal: { append(kind: string, body: Uint8Array): Promise<unknown> };
	readonly blobs: {
		put(bytes: Uint8Array): Promise<string>;
		get(hash: string): Promise<Uint8Array | undefined>;
	};
	readonly federationId: string;
	readonly jobId: string;
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	/** Of everything participants agree on. */
	readonly planHash: Uint8Array;
	readonly charterHash: Uint8Array;
	/** Certified participants, and the beacon of their start. */
	readonly participants: readonly PeerId[];
	readonly seed: Uint8Array;
	readonly initialState: Uint8Array;
	/** The journal's records of the job. */
	readonly records: readonly Uint8Array[];
	readonly execute: (task: GossipTask) => Promise<GossipTaskResult>;
	readonly onOutput: (output: GossipOutput) => void | Promise<void>;
	readonly onFault: (fault: Fault) => void;
	readonly onFatal: (error: unknown) => void;
	readonly onSent: (sizeBytes: number) => void;
}

export class GossipRun {
	readonly job: GossipJob;
	readonly neighbours: readonly Neighbour[];
	readonly spectralGap: number;
	readonly #driver: MachineDriver<GossipMessage, GossipTask, GossipTaskResult, GossipOutput, PersistedStep>;
	readonly #network: Network;

	/** @throws AlthingError `gossip.bad_topology`, `gossip.bad_record`, `gossip.lost_state` */
	static async open(options: GossipRunOptions): Promise<GossipRun> {
		const stored = new Map<string, Uint8Array>();
		for (const hash of bytesNeeded(options.records)) {
			const bytes = await options.blobs.get(hash);
			if (bytes !== undefined) stored.set(hash, bytes);
		}
		return new GossipRun(options, stored);
	}

	private constructor(options: GossipRunOptions, stored: ReadonlyMap<string, Uint8Array>) {
		const { self, spec, plan, jobId, participants, network, journal, blobs } = options;
		const beacon = options.seed;
		const topology = drawTopology(participants, gossipDegree(spec), { jobId, beacon });
		this.#network = network;
		this.spectralGap = topology.spectralGap;
		this.neighbours = neighboursOf(topology, self.peer);
		this.job = new GossipJob({
			self,
			federationId: options.federationId,
			jobId,
			configHash: hashFields("althing/gossip-session/1", options.planHash, options.charterHash, beacon),
			neighbours: this.neighbours,
			rounds: spec.training.rounds,
			modelBytes: Float32Array.BYTES_PER_ELEMENT * plan.parameterCount,
			phaseTimeoutMs: spec.aggregation.phaseTimeoutMs,
			initialState: options.initialState,
			promises: options.records,
			stored,
		});
		this.#driver = new MachineDriver(this.job, {
			persist: async ({ record, state }) => {
				if (state !== undefined) await blobs.put(state);
				await journal.append(gossipKind(jobId), record);
			},
			send: (to, message, blob) => {
				const body = encodeGossipMessage(message);
				options.onSent(body.length + (blob?.length ?? 0));
				return network.send(to, gossipKind(jobId), blob === undefined ? { body } : { body, blob });
			},
			execute: options.execute,
			onOutput: options.onOutput,
			onFault: options.onFault,
			onFatal: options.onFatal,
			onUndelivered: (to, error) =>
				options.log.debug({ peer: to, err: error }, "gossip message not delivered"),
			nowMs: options.attendedMs,
		});
	}

	start(): void {
		for (const { peer, connected } of this.#network.peers()) this.connectivity(peer, connected);
		this.#driver.step((nowMs) => this.job.start(nowMs));
	}

	/**
	 * @returns false when the job has no room for it now
	 * @throws AlthingError `gossip.malformed`
	 */
	receive(from: PeerId, { body, blob }: Packet): boolean {
		const message = decodeGossipMessage(body);
		const sizeBytes = body.length + (blob?.length ?? 0);
		return this.#driver.deliver(sizeBytes, (nowMs) => this.job.receive(from, message, nowMs, blob));
	}

	connectivity(peer: PeerId, connected: boolean): void {
		this.#driver.step((nowMs) => this.job.connectivity(peer, connected, nowMs));
	}

	stop(): Promise<void> {
		return this.#driver.stop();
	}
}
