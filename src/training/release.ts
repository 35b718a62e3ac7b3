/** From a verified sum to the next common model: public arithmetic that every node repeats bit for bit. */
import { nextClippingNorm } from "../learning/adaptiveClipping.ts";
import { applyGradient } from "../learning/optimizer.ts";
import { decodeRound } from "../privacy/correlatedNoise/decoder.ts";
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import { allocationAfter } from "./adaptiveNoise.ts";
import type { CommonState } from "./commonState.ts";
import { takeFigures } from "./figures.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { noiseLevelOf, type TrainingPlan } from "./plan.ts";
import { isScreened, normBoundAfter } from "./robustUpdate.ts";
import { roundCompression } from "./roundCompression.ts";
import { optimizerOf } from "./trainingChoice.ts";

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
	/** Where inputs are screened: estimated norms of the survivors' vectors, in integer units. */
	readonly norms?: readonly number[] | undefined;
}): { state: CommonState; metrics: RoundMetrics } {
	const { spec, plan, state, round, survivors } = input;
	const { metrics: figures, weight } = takeFigures(plan, input.sum);
	const divisor = divisorOf(spec, weight, survivors);
	const sent = input.sum.subarray(0, plan.layout.update);
	const released = decode(fromRing(sent, plan.encoding.modulusBits), plan.encoding);
	const compression =
		plan.compression === undefined ? undefined : roundCompression(plan.compression, state.compression, round);
	compression?.gatherBack(released);
	const decoded =
		plan.correlation === undefined
			? { estimate: released }
			: decodeRound(plan.correlation, state.decoder ?? [], round, released);
	// Adaptive clipping sums gradients in units of the norm of their round.
	const unit = (state.clippingNorm ?? 1) / divisor;
	const carrying = plan.compression?.values ?? plan.parameterCount;
	const mean = decoded.estimate.slice(0, carrying).map((value) => value * unit);
	const restored = compression?.restore(mean);
	const gradient = restored?.update ?? mean;
	const next = applyGradient(optimizerOf(spec), state.optimizer, state.parameters, gradient);
	const clippingNorm = clippingNormAfter(spec, plan, state, decoded.estimate, divisor);
	const { rounds, evaluateEveryRounds } = spec.training;
	const { metricUnit } = plan.noise[noiseLevelOf(plan, round, rounds, state)]!;
	const metrics = round % evaluateEveryRounds === 0 ? metricsOf(figures, plan, metricUnit) : {};
	const { loss } = metrics;
	return {
		state: {
			parameters: next.parameters,
			optimizer: next.state,
			...(clippingNorm === undefined ? {} : { clippingNorm }),
			...("state" in decoded ? { decoder: decoded.state } : {}),
			...normBoundAfter(spec, plan, state, input.norms),
			...(restored === undefined ? {} : { compression: restored.state }),
			...(plan.allocation === undefined || state.allocation === undefined
				? {}
				: { allocation: allocationAfter(plan.allocation, state.allocation, { round, rounds, loss }) }),
		},
		metrics,
	};
}

/** Always a public number: the expected batch, the number of survivors, or the sum of weights where no privacy is asked. */
function divisorOf(spec: ResolvedJobSpec, weightSum: number, survivors: number): number {
	const { privacy, training, aggregation } = spec;
	if (isScreened(spec)) return survivors;
	switch (privacy.mechanism) {
		case "distributed_gaussian":
			return privacy.unit === "client" ? survivors : (training.expectedBatch ?? 1);
		case "site_gaussian":
			return survivors;
		case "none":
			// Nobody had records: the sum is zero as well.
			return weightSum > 0 ? weightSum / aggregation.updateNormBound : 1;
	}
}

/** The norm that the next round clips to, from the noised count of gradients within this round's. */
function clippingNormAfter(
	{ privacy }: ResolvedJobSpec,
	plan: TrainingPlan,
	state: CommonState,
	estimate: Float64Array,
	divisor: number,
): number | undefined {
	if (state.clippingNorm === undefined || privacy.mechanism !== "distributed_gaussian") return undefined;
	const { clippingNorm: initialNorm, targetQuantile = 0.5, clippingRate: rate = 0.2 } = privacy;
	// Each example adds half a unit up or down, so that the public divisor is all that is needed.
	const withinShare = estimate[plan.layout.update - 1]! / plan.withinUnit / divisor + 0.5;
	return nextClippingNorm({ targetQuantile, rate, initialNorm }, state.clippingNorm, withinShare);
}

function metricsOf(figures: Float64Array, plan: TrainingPlan, metricUnit: number): RoundMetrics {
	const [loss = 0, correct = 0, count = 0] = figures;
	// Noise can make the count of a tiny federation useless: then there is nothing to report.
	if (count < metricUnit) return {};
	const ratio = (value: number) => Math.min(1, Math.max(0, value / count));
	const mean = { loss: Math.max(0, (loss / count) * plan.lossBound) };
	return plan.model.task === "regression" ? mean : { ...mean, accuracy: ratio(correct) };
}
