/** Tasks of the threads that stream records, and what comes back: plain data only. */
import type { DataDescription } from "../../../src/data/description.ts";
import type { BackendName } from "../../../src/learning/trainer.ts";
import type { QuerySpec } from "../../../src/queries/spec.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import type { TrainingPlan } from "../../../src/training/plan.ts";
import type { StreamedRound } from "../../../src/training/streamedRound.ts";
import type { StreamedRecords } from "./jobStream.ts";
import type { StreamedLocation, StreamSettings } from "./location.ts";

/** What a thread is started with: the records, and what they may take. */
export interface StreamedSet {
	readonly location: StreamedLocation;
	readonly description: DataDescription;
	readonly splitKey: Uint8Array;
	readonly settings: StreamSettings;
}

/** Of a set that is registered. */
export interface RegisteredStream extends StreamedSet, StreamedRecords {}

export type StreamTask =
	/** Reads every record once: each must be usable, and both parts are counted. */
	| { readonly kind: "survey"; readonly set: StreamedSet }
	| {
			readonly kind: "round";
			readonly set: RegisteredStream;
			readonly spec: ResolvedJobSpec;
			readonly plan: TrainingPlan;
			readonly backend: BackendName;
			readonly round: number;
			readonly state: Uint8Array;
			/** What the site keeps of the job for itself, encoded; undefined for nothing. */
			readonly own?: Uint8Array | undefined;
	  }
	| { readonly kind: "sums"; readonly set: RegisteredStream; readonly query: QuerySpec }
	/** Gives back what a job holds, before its thread ends. */
	| { readonly kind: "close" };

export type StreamResult =
	| {
			readonly kind: "surveyed";
			readonly columns: readonly string[];
			readonly trainingRows: number;
			readonly heldOutRows: number;
	  }
	| { readonly kind: "round"; readonly round: StreamedRound }
	| { readonly kind: "sums"; readonly sums: Float64Array }
	| { readonly kind: "closed" };
