/** What a training job is given, what it asks of its surroundings and what it tells them. */
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import type { ModulusBits } from "../../crypto/ringPacking.ts";
import type { SelectionRule } from "../../src/selection/select.ts";
import type { AggregationTask, AggregationTaskResult, BucketRules } from "../aggregation/index.ts";
import type { Electorate } from "../certificate/index.ts";
import type { Effects, RandomBytes } from "../contract.ts";
import type { EffectCollector } from "../effects.ts";
import type { ScreeningRules } from "../robust/outcome.ts";
import type { CoordinationTiming } from "./coordination.ts";
import type { TrainingMessage } from "./messages.ts";
import type { PersistedStep } from "./promises.ts";
import type { RoundResult } from "./result.ts";

/** Work for the driver's worker pool or its ledger. */
export type TrainingTask =
	/** This site's encoded, noised contribution to a round, computed from the common state. */
	| { readonly kind: "contribute"; readonly round: number; readonly state: Uint8Array }
	/** Buffered rounds: trains from a version of the model, the state that this round starts from, and keeps the outcome. */
	| { readonly kind: "prepare"; readonly version: number; readonly state: Uint8Array }
	/**
	 * Buffered rounds: what was prepared from the version, weighted for its staleness, held to the bound of the
	 * round, which starts from the state, encoded and noised; once.
	 */
	| {
			readonly kind: "finish";
			readonly round: number;
			readonly version: number;
			readonly state: Uint8Array;
	  }
	/** Charge the budget for releasing the round's contribution, durably; an error withdraws this site from the round. */
	| { readonly kind: "charge"; readonly round: number; readonly attempt: number }
	/** The next common state from a verified sum. */
	| {
			readonly kind: "apply";
			readonly round: number;
			readonly state: Uint8Array;
			readonly sum: Uint32Array;
			readonly survivors: number;
			/** Where inputs are screened: estimated L2 norms of the survivors' vectors, in integer units. */
			readonly norms?: readonly number[] | undefined;
			/** With a reputation: agreement with the last aggregate of each participant that was seen, in their order. */
			readonly alignments?: readonly (number | undefined)[] | undefined;
			/** Where a part of every input is shown: those of the survivors, in their order, and the round's beacon. */
			readonly shown?: { readonly parts: readonly Uint8Array[]; readonly beacon: Uint8Array } | undefined;
			/** Where sums are opened by bucket: the survivors in each, as places among the participants. */
			readonly buckets?: readonly (readonly number[])[] | undefined;
	  }
	| { readonly kind: "aggregate"; readonly task: AggregationTask };

/** The answer to a {@link TrainingTask}; a failure is answered with an Error instead. */
export type TrainingTaskResult =
	| {
			readonly kind: "contribution";
			readonly vector: Uint32Array;
			/** What everybody is to see beside it, where the job asks for that. */
			readonly publicPart?: Uint8Array | undefined;
	  }
	| { readonly kind: "prepared" }
	| { readonly kind: "charged" }
	| {
			readonly kind: "applied";
			readonly state: Uint8Array;
			readonly metrics: Readonly<Record<string, number>>;
			/** Places of the survivors that a robust rule left out. */
			readonly leftOut?: readonly number[];
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
	/** An attempt ended without a sum for us; `dead` tells that nothing of it was or will be released. */
	| {
			readonly kind: "retry";
			readonly round: number;
			readonly attempt: number;
			readonly reason: string;
			readonly dead: boolean;
	  }
	| { readonly kind: "withdrawn"; readonly round: number; readonly code: string; readonly reason: string }
	/** A certified round: a checkpoint. Rounds that others certified while this node was away are skipped. */
	| {
			readonly kind: "round";
			readonly content: RoundResult;
			readonly resultHash: Uint8Array;
			/** Who was asked to contribute; its survivors, of a buffered round or one that this node was away in. */
			readonly invited: readonly PeerId[];
	  }
	| { readonly kind: "done"; readonly rounds: number };

export type Collector = EffectCollector<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>;
export type Step = Effects<TrainingMessage, TrainingTask, TrainingOutput, PersistedStep>;

export interface TrainingJobOptions {
	readonly self: SigningKey;
	readonly federationId: string;
	readonly charterHash: Uint8Array;
	readonly jobId: string;
	/** Hash of the resolved specification and everything derived from it. */
	readonly configHash: Uint8Array;
	/** The job's participants, fixed when it started: they vote, whoever is in a cohort. */
	readonly electorate: Electorate;
	/** Who is asked to contribute to a round; everybody where absent. */
	readonly selection?: SelectionRule | undefined;
	/** Contributions that a round is for: it goes on with that many; absent to wait for all that are asked. */
	readonly enoughInputs?: number | undefined;
	/**
	 * Bytes of the public part of each contribution: the update of a job in the clear, or what a selection
	 * by losses reports, of which the first byte is the loss.
	 */
	readonly publicBytes?: number | undefined;
	/** Rounds over a tree: largest cohort, and the share of a cohort that may be missing from its sum. */
	readonly tree?: { readonly cohortSize: number; readonly toleratedDropout: number } | undefined;
	/** Buffered rounds: contributions that a round takes, and rounds that one may have missed while it was made. */
	readonly buffer?: { readonly capacity: number; readonly maximumStaleness: number } | undefined;
	readonly rounds: number;
	/** Rounds after which the coordinator's role moves on. */
	readonly roundsPerEpoch: number;
	readonly minimumSurvivors: number;
	/** Coordinates of the aggregated vector, and bits of the ring. */
	readonly length: number;
	readonly modulusBits: ModulusBits;
	readonly phaseTimeoutMs: number;
	/** What the inputs of the round that starts from a common state are screened by; absent to screen none. */
	readonly screening?: ((state: Uint8Array) => ScreeningRules) | undefined;
	/** How members are dealt to buckets whose sums are opened, with so many excluded; absent for one sum. */
	readonly bucketRules?: ((excluded: number) => BucketRules) | undefined;
	/** Who is not asked in the round that starts from a common state, beside those who are excluded: places. */
	readonly setAside?: ((state: Uint8Array, excluded: readonly number[]) => readonly number[]) | undefined;
	/** Beacon of the job's start: hash of nonces that the participants committed to before. */
	readonly seed: Uint8Array;
	readonly initialState: Uint8Array;
	/** Journal records of this job, in order, and the states they name ({@link statesNeeded}). */
	readonly promises: readonly Uint8Array[];
	readonly states: ReadonlyMap<string, Uint8Array>;
	readonly random: RandomBytes;
	readonly timing?: CoordinationTiming;
	/** How long a lost sum is waited for before this participant asks to void the round; by default a few phases. */
	readonly voidAfterMs?: number;
}
