/** Tuning for a worker thread, and what comes back: plain data only. */
import type { BackendName } from "../../src/learning/trainer.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import type { Tuned, Tuning, TuningPlan } from "../../src/training/tuning.ts";

/** The records that trials run on. */
interface TunedData {
	readonly path: string;
	readonly splitKey: Uint8Array;
}

export type TuningTask =
	| { readonly kind: "plan"; readonly spec: ResolvedJobSpec; readonly tuning: Tuning; readonly rows: number }
	| {
			readonly kind: "run";
			readonly plan: TuningPlan;
			readonly data: TunedData;
			readonly backend: BackendName;
	  };

export type TuningResult =
	| { readonly kind: "plan"; readonly plan: TuningPlan }
	| { readonly kind: "run"; readonly tuned: Tuned };
