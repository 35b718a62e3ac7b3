/** What a gossip job is given, what it asks of its surroundings and what it tells them. */
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import type { EffectCollector } from "../effects.ts";
import type { GossipMessage } from "./messages.ts";
import type { PersistedStep } from "./promises.ts";

export interface GossipJobOptions {
	readonly self: SigningKey;
	readonly federationId: string;
	readonly jobId: string;
	/** Of everything participants agree on: a model of another plan is none of this job's. */
	readonly configHash: Uint8Array;
	/** Whose models this node takes, with their weights, in a fixed order. */
	readonly neighbours: readonly { readonly peer: PeerId; readonly weight: number }[];
	readonly rounds: number;
	/** Of a released model. */
	readonly modelBytes: number;
	/** How long an exchange waits for neighbours that are silent. */
	readonly phaseTimeoutMs: number;
	readonly initialState: Uint8Array;
	/** The journal's records of this job, in order, and the bytes that {@link bytesNeeded} names, by hash. */
	readonly promises: readonly Uint8Array[];
	readonly stored: ReadonlyMap<string, Uint8Array>;
}

/** Work for the driver's worker pool or its ledger. */
export type GossipTask =
	/** Local training from this node's own state: the model that is released to the neighbours. */
	| { readonly kind: "train"; readonly round: number; readonly state: Uint8Array }
	/** Charge the budget for releasing it, durably; an error keeps the model here. */
	| { readonly kind: "charge"; readonly round: number }
	/** The weighted average of this node's model and those received. */
	| {
			readonly kind: "mix";
			readonly round: number;
			readonly state: Uint8Array;
			/** This node's released model; absent when it released none, and `state` stands for it. */
			readonly model?: Uint8Array;
			readonly received: readonly ReceivedModel[];
	  };

export interface ReceivedModel {
	readonly peer: PeerId;
	readonly weight: number;
	readonly model: Uint8Array;
}

/** The answer to a {@link GossipTask}; a failure is answered with an Error instead. */
export type GossipTaskResult =
	| {
			readonly kind: "trained";
			readonly model: Uint8Array;
			/** Of the state the round started from, on this site's own held-out records; leaves the node for nobody. */
			readonly metrics: Readonly<Record<string, number>>;
	  }
	| { readonly kind: "charged" }
	| {
			readonly kind: "mixed";
			readonly state: Uint8Array;
			/** Neighbours whose bytes were no model. */
			readonly rejected: readonly PeerId[];
			/** Largest distance of a neighbour's model from ours; 0 without any. */
			readonly farthest: number;
	  };

/** What a job tells its surroundings. */
export type GossipOutput =
	/** This node's model of the round is promised and leaves: what paid for it is spent. */
	| { readonly kind: "released"; readonly round: number }
	/** An exchange is over; the state after it is this node's model. */
	| {
			readonly kind: "round";
			readonly round: number;
			/** Whose models were taken. */
			readonly mixed: readonly PeerId[];
			readonly released: boolean;
			readonly farthest: number;
			readonly metrics: Readonly<Record<string, number>>;
			readonly state: Uint8Array;
	  }
	/** Most neighbours are further: rounds that this node was away for are left out, and not paid for. */
	| { readonly kind: "skipped"; readonly from: number; readonly to: number }
	/** No neighbour answers: the job waits, rather than spend budget alone. */
	| { readonly kind: "isolated"; readonly round: number }
	/** This node releases nothing in this round; it goes on taking its neighbours' models. */
	| { readonly kind: "withdrawn"; readonly round: number; readonly code: string; readonly reason: string }
	| { readonly kind: "done"; readonly rounds: number };

export type Collector = EffectCollector<GossipMessage, GossipTask, GossipOutput, PersistedStep>;
export type Step = ReturnType<Collector["effects"]>;
