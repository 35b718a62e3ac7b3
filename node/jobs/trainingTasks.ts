/** Tasks that the node hands to its worker threads, and what comes back: plain data only. */
import { AlthingError } from "../../crypto/error.ts";
import type { AggregationTask, AggregationTaskResult } from "../../protocols/aggregation/index.ts";
import type { DataDescription } from "../../src/data/description.ts";
import type { Exchange, Exchanged } from "../../src/gossip/exchange.ts";
import type { JobWork } from "../../src/jobs/jobPlan.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import type { BackendName } from "../../src/learning/trainer.ts";
import type { CorrelationHistory } from "../../src/privacy/correlatedNoise/encoder.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import type { Participation } from "../../src/training/plan.ts";
import { roundBuffers, type StreamedRound } from "../../src/training/streamedRound.ts";
import type { QueriedData, Question, QuestionAnswer, QuestionCost } from "../queries/queryWork.ts";

/** All a worker needs to take up a job, so that a fresh worker can replace a crashed one. */
export interface JobContext {
	readonly jobId: string;
	/** Planned once, by whichever worker was asked to. */
	readonly work: JobWork;
	readonly description: DataDescription;
	/** The organization's file for the job's data set; its records are read in passes when `streamed`. */
	readonly dataPath: string;
	readonly streamed: boolean;
	/** Whether this organization submitted the job. */
	readonly submitted: boolean;
	/** 32-byte key of the split between training and held-out records; this site's secret. */
	readonly splitKey: Uint8Array;
	readonly backend: BackendName;
	readonly threads: number;
}

/** What a pass found: for a round of a training, or for a query. */
export type StreamedPart =
	| { readonly kind: "round"; readonly round: StreamedRound }
	| { readonly kind: "sums"; readonly sums: Float64Array };

export type WorkerTask =
	/** Sizes a job's noise, which can take seconds. */
	| { readonly kind: "plan"; readonly spec: ResolvedSpecification; readonly participation: Participation }
	| {
			readonly kind: "contribute";
			readonly job: JobContext;
			readonly round: number;
			readonly state: Uint8Array;
			/** Correlated noise: this site's past sums, moved to the worker and back. */
			readonly history?: CorrelationHistory;
			/** Error feedback: what this site did not send of earlier updates. */
			readonly unsent?: Float32Array;
			/** In place of the records, where they are read in passes. */
			readonly streamed?: StreamedPart;
			/** Momentum of the site's own updates. */
			readonly momentum?: Float32Array;
			/** What this site keeps of the job for itself (encoded SiteState), if anything yet. */
			readonly own?: Uint8Array;
	  }
	/** What is left to be done for the site's own model after the job's last round. */
	| {
			readonly kind: "personalize";
			readonly job: JobContext;
			readonly rounds: number;
			readonly state: Uint8Array;
			readonly own?: Uint8Array;
	  }
	/** Buffered rounds: what a `contribute` of an earlier version made, for the round that takes it. */
	| {
			readonly kind: "weigh";
			readonly job: JobContext;
			readonly prepared: Uint32Array;
			readonly staleness: number;
			/** That the round starts from: it says which bound an update is held to. */
			readonly state: Uint8Array;
	  }
	| {
			readonly kind: "apply";
			readonly job: JobContext;
			readonly round: number;
			readonly state: Uint8Array;
			readonly sum: Uint32Array;
			readonly survivors: number;
			readonly norms?: readonly number[] | undefined;
			readonly alignments?: readonly (number | undefined)[] | undefined;
			/** Robustness in the clear: what the survivors showed, and the round's beacon. */
			readonly shown?: { readonly parts: readonly Uint8Array[]; readonly beacon: Uint8Array } | undefined;
			/** Where sums are opened by bucket: the survivors in each. */
			readonly buckets?: readonly (readonly number[])[] | undefined;
	  }
	| { readonly kind: "aggregate"; readonly task: AggregationTask }
	/** Gossip: this site's own model after a round's local training, to be released to its neighbours. */
	| {
			readonly kind: "trainOwn";
			readonly job: JobContext;
			readonly round: number;
			readonly state: Uint8Array;
			readonly streamed?: StreamedPart;
	  }
	/** Gossip: the average with the neighbours' models. */
	| { readonly kind: "exchange"; readonly job: JobContext; readonly exchange: Exchange }
	/** Model files, evaluation and predictions, which need an engine too. */
	| {
			readonly kind: "predict";
			readonly spec: ResolvedJobSpec;
			readonly parameters: Float32Array;
			readonly features: Float32Array;
	  }
	/** A question to this organization's own records: what it costs, then its answer. */
	| { readonly kind: "costOfQuestion"; readonly data: QueriedData; readonly question: Question }
	| {
			readonly kind: "answerQuestion";
			readonly data: QueriedData;
			readonly question: Question;
			/** Exact sums over records that are read in passes. */
			readonly sums?: Float64Array;
	  }
	/** Loads the engine, so that the first round need not wait for it. */
	| { readonly kind: "warm"; readonly backend: BackendName }
	| { readonly kind: "forget"; readonly jobId: string };

export type WorkerResult =
	| { readonly kind: "planned"; readonly work: JobWork }
	| {
			readonly kind: "contribution";
			readonly vector: Uint32Array;
			/** Of noise; 0 for a query. */
			readonly level: number;
			readonly samplerDistance: number;
			/** Correlated noise: names of the participations that the vector shows. */
			readonly participations: readonly string[];
			readonly history?: CorrelationHistory;
			readonly unsent?: Float32Array;
			/** What everybody is to see beside the masked vector. */
			readonly publicPart?: Uint8Array;
			/** Momentum of the site's own updates. */
			readonly momentum?: Float32Array;
			/** What the site keeps if the vector is in the certified sum; left out for jobs that keep nothing. */
			readonly own?: Uint8Array;
	  }
	| { readonly kind: "personalized"; readonly own: Uint8Array }
	| { readonly kind: "weighed"; readonly vector: Uint32Array; readonly samplerDistance: number }
	| {
			readonly kind: "applied";
			readonly state: Uint8Array;
			readonly metrics: Readonly<Record<string, number>>;
			/** Robustness in the clear: places of the survivors that the rule left out. */
			readonly leftOut?: readonly number[];
	  }
	| { readonly kind: "aggregated"; readonly result: AggregationTaskResult }
	| {
			readonly kind: "trainedOwn";
			/** Parameters, float32 little-endian. */
			readonly model: Uint8Array;
			readonly samplerDistance: number;
			readonly metrics: Readonly<Record<string, number>>;
	  }
	| { readonly kind: "exchanged"; readonly exchanged: Exchanged }
	| { readonly kind: "predictions"; readonly outputs: Float32Array }
	| { readonly kind: "questionCost"; readonly cost: QuestionCost }
	| { readonly kind: "questionAnswer"; readonly answer: QuestionAnswer }
	| { readonly kind: "done" };

/**
 * A worker's answer of the kind that was asked for.
 * @throws AlthingError `workers.protocol` for another kind: a defect, never a peer's doing
 */
export function answerOf<Kind extends WorkerResult["kind"]>(
	result: WorkerResult,
	kind: Kind,
): Extract<WorkerResult, { kind: Kind }> {
	if (result.kind !== kind)
		throw new AlthingError(
			"workers.protocol",
			`a worker answered ${result.kind} where ${kind} was asked for`,
		);
	return result as Extract<WorkerResult, { kind: Kind }>;
}

/** The buffers of a history, to be moved: its sums are in one place at a time. */
export function historyBuffers(history: CorrelationHistory | undefined): ArrayBuffer[] {
	return (history?.past ?? []).map(({ sum }) => sum.buffer as ArrayBuffer);
}

/** The buffers of what a pass found, to be moved. */
export function streamedBuffers(streamed: StreamedPart | undefined): ArrayBuffer[] {
	if (streamed === undefined) return [];
	return streamed.kind === "sums" ? [streamed.sums.buffer as ArrayBuffer] : roundBuffers(streamed.round);
}
