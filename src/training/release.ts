/** From a verified sum to the next common model: public arithmetic that every node repeats bit for bit. */
import { applyGradient } from "../learning/optimizer.ts";
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { TrainingPlan } from "./plan.ts";

/** Aggregated evaluation of the model a round started from; noised like everything that leaves. */
export interface RoundMetrics {
	readonly loss?: number;
	/** In [0, 1]; absent for regression. */
	readonly accuracy?: number;
}

export function applyRelease(input: {
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	readonly round: number;
	readonly state: CommonState;
	readonly sum: Uint32Array;
	readonly survivors: number;
}): { state: CommonState; metrics: RoundMetrics } {
	const { spec, plan, state, round } = input;
	const values = decode(fromRing(input.sum, plan.encoding.modulusBits), plan.encoding);
	const divisor = divisorOf(spec, values[plan.parameterCount + 3] ?? 0, input.survivors);
	const gradient = values.slice(0, plan.parameterCount).map((value) => value / divisor);
	const { serverLearningRate, momentum } = spec.training;
	const next = applyGradient(
		{ learningRate: serverLearningRate, momentum },
		state.optimizer,
		state.parameters,
		gradient,
	);
	return {
		state: { parameters: next.parameters, optimizer: next.state },
		metrics: round % spec.training.evaluateEveryRounds === 0 ? metricsOf(values, plan) : {},
	};
}

/** Always a public number: the expected batch, the number of survivors, or the sum of weights where no privacy is asked. */
function divisorOf(spec: ResolvedJobSpec, weightSum: number, survivors: number): number {
	switch (spec.privacy.mechanism) {
		case "distributed_gaussian":
			return spec.training.expectedBatch ?? 1;
		case "site_gaussian":
			return survivors;
		case "none":
			return Math.max(weightSum / spec.aggregation.updateNormBound, Number.MIN_VALUE);
	}
}

function metricsOf(values: Float64Array, plan: TrainingPlan): RoundMetrics {
	const [loss = 0, correct = 0, count = 0] = values.subarray(plan.parameterCount, plan.parameterCount + 3);
	// Noise can make the count of a tiny federation useless: then there is nothing to report.
	if (count < plan.metricUnit) return {};
	const ratio = (value: number) => Math.min(1, Math.max(0, value / count));
	const mean = { loss: Math.max(0, (loss / count) * plan.lossBound) };
	return plan.model.task === "regression" ? mean : { ...mean, accuracy: ratio(correct) };
}
