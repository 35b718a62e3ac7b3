/** Planning tasks for a worker thread, and what comes back: plain data only. */

import type { TrainerOptions } from "../../src/learning/trainer.ts";
import type { PrivacyEvent } from "../../src/privacy/accounting/events.ts";
import type { TrainingAudit } from "../../src/privacy/auditing/trainingAudit.ts";
import type { Allocation, AllocationRequest } from "../../src/privacy/planning/allocation.ts";
import type { BudgetState, Forecast } from "../../src/privacy/planning/forecast.ts";
import type {
	Optimization,
	OptimizationRequest,
	TrainingSetting,
} from "../../src/privacy/planning/optimizeNoise.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import type { Participation } from "../../src/training/plan.ts";

export type PrivacyTask =
	| { readonly kind: "plan"; readonly request: Omit<AllocationRequest, "loss"> }
	| {
			readonly kind: "cost";
			readonly state: BudgetState;
			readonly event: PrivacyEvent;
			readonly rounds: number;
	  }
	| {
			readonly kind: "forecast";
			/** Of the partitions that compose in parallel. */
			readonly states: readonly BudgetState[];
			readonly nowMs: number;
			readonly windowMs: number;
	  }
	| {
			readonly kind: "optimize";
			readonly request: OptimizationRequest;
			readonly frontier: readonly number[];
	  }
	| {
			readonly kind: "audit";
			readonly spec: ResolvedJobSpec;
			readonly who: Participation;
			readonly dataPath: string;
			readonly splitKey: Uint8Array;
			readonly engine: Omit<TrainerOptions, "model">;
			readonly attacker: "sums" | "model";
			readonly canaries: number;
			readonly rounds: number;
			readonly significance: number;
	  };

export interface PrivacyResults {
	readonly plan: Allocation;
	readonly cost: { before: number; after: number; cost: number; largestRounds: number };
	readonly forecast: Forecast;
	readonly optimize: Optimization & {
		readonly frontier: readonly (TrainingSetting & { readonly epsilon: number })[];
	};
	readonly audit: TrainingAudit;
}

export type PrivacyResult = {
	[Kind in keyof PrivacyResults]: { readonly kind: Kind; readonly value: PrivacyResults[Kind] };
}[keyof PrivacyResults];
