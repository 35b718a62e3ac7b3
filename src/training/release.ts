/** From a verified sum to the next common model: public arithmetic that every node repeats bit for bit. */
import { nextClippingNorm } from "../learning/adaptiveClipping.ts";
import { applyGradient } from "../learning/optimizer.ts";
import { decodeRound } from "../privacy/correlatedNoise/decoder.ts";
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import { allocationAfter } from "./adaptiveNoise.ts";
import { boundedWeightOf, weightedDivisor } from "./boundedWeight.ts";
import { bucketedChoiceOf, bucketedMean, totalOfBuckets } from "./bucketedUpdate.ts";
import { clearChoiceOf, robustMean } from "./clearUpdate.ts";
import type { CommonState } from "./commonState.ts";
import { takeFigures } from "./figures.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { type ClusterPhase, clusterPhase } from "./personalizationChoice.ts";
import { noiseLevelOf, type TrainingPlan } from "./plan.ts";
import { reputationAfter } from "./reputationUpdate.ts";
import { isScreened, normBoundAfter, siteNormBound } from "./robustUpdate.ts";
import { roundCompression } from "./roundCompression.ts";
import { placeShared } from "./sharedParameters.ts";
import { LOSS_UNIT, MOST_STEPS, variateUnit } from "./siteSteps.ts";
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
	/** With a reputation: each participant's agreement with the last aggregate, as the screening found it. */
	readonly alignments?: readonly (number | undefined)[] | undefined;
	/** Robustness in the clear: what each survivor showed, and the round's beacon. */
	readonly shown?: { readonly parts: readonly Uint8Array[]; readonly beacon: Uint8Array } | undefined;
	/** Where sums are opened by bucket: the survivors in each, as places among the participants. */
	readonly buckets?: readonly (readonly number[])[] | undefined;
}): { state: CommonState; metrics: RoundMetrics; leftOut?: readonly number[] } {
	const { spec, plan, state, round, survivors, buckets } = input;
	const sum = buckets === undefined ? input.sum : totalOfBuckets(input.sum, plan.length);
	const { metrics: figures, weights } = takeFigures(plan, sum);
	const sent = sum.subarray(0, plan.layout.update);
	const released = decode(fromRing(sent, plan.encoding.modulusBits), plan.encoding);
	const compression =
		plan.compression === undefined ? undefined : roundCompression(plan.compression, state.compression, round);
	compression?.gatherBack(released);
	const decoded =
		plan.correlation === undefined
			? { estimate: released }
			: decodeRound(plan.correlation, state.decoder ?? [], round, released);
	const phase = clusterPhase(spec.personalization, spec.training, round);
	const units = unitsOf(spec, plan, phase, state, {
		weights,
		survivors,
		// What a norm bound holds with the update, where sites weigh by records under one.
		bounded: decoded.estimate[plan.layout.update - 1] ?? 0,
	});
	const sums = decoded.estimate.subarray(0, plan.compression?.values ?? plan.whole.length);
	const { shown } = input;
	const robust =
		shown === undefined || clearChoiceOf(spec) === undefined
			? undefined
			: robustMean(spec, plan, state, shown.parts, shown.beacon);
	const bucketed =
		buckets === undefined || bucketedChoiceOf(spec) === undefined
			? undefined
			: bucketedMean(spec, plan, state, input.sum, buckets);
	const means = bucketed?.mean ?? robust?.mean ?? meansOf(plan, sums, units);
	const restored = compression?.restore(means);
	const { parameters, optimizer, clusterLosses } = stateAfter(
		spec,
		plan,
		phase,
		state,
		restored?.update ?? means,
	);
	const clippingNorm = clippingNormAfter(spec, plan, state, decoded.estimate, publicDivisor(spec, survivors));
	const controlVariate = controlVariateAfter(spec, plan, state, decoded.estimate);
	const { rounds, evaluateEveryRounds } = spec.training;
	const { metricUnit } = plan.noise[noiseLevelOf(plan, round, rounds, state)]!;
	const metrics = round % evaluateEveryRounds === 0 ? metricsOf(figures, plan, metricUnit) : {};
	const { loss } = metrics;
	return {
		state: {
			parameters,
			optimizer,
			...(clippingNorm === undefined ? {} : { clippingNorm }),
			...(controlVariate === undefined ? {} : { controlVariate }),
			...(clusterLosses === undefined ? {} : { clusterLosses }),
			...("state" in decoded ? { decoder: decoded.state } : {}),
			...normBoundAfter(spec, plan, state, input.norms),
			...robust?.kept,
			...bucketed?.kept,
			...reputationAfter(spec, state, means, input.alignments, round),
			...(restored === undefined ? {} : { compression: restored.state }),
			...(plan.allocation === undefined || state.allocation === undefined
				? {}
				: { allocation: allocationAfter(plan.allocation, state.allocation, { round, rounds, loss }) }),
		},
		metrics,
		...(robust === undefined ? {} : { leftOut: robust.leftOut }),
	};
}

/** The expected batch, or the number of survivors: never anything that depends on records. */
function publicDivisor({ privacy, training }: ResolvedJobSpec, survivors: number): number {
	const perRecord = privacy.mechanism === "distributed_gaussian" && privacy.unit === "record";
	return perRecord ? (training.expectedBatch ?? 1) : survivors;
}

/** What the sum of each common model's updates is multiplied by to be a mean. */
function unitsOf(
	spec: ResolvedJobSpec,
	{ whole }: TrainingPlan,
	phase: ClusterPhase,
	state: CommonState,
	sums: { readonly weights: Float64Array; readonly survivors: number; readonly bounded: number },
): number[] {
	const { privacy, aggregation } = spec;
	const { clippingNorm = 1 } = state;
	const { weights, survivors } = sums;
	if (boundedWeightOf(spec) !== undefined)
		return [1 / weightedDivisor(sums.bounded, siteNormBound(spec, state), survivors)];
	return Array.from({ length: whole.clusters }, (_, cluster) => {
		if (privacy.mechanism !== "none" || isScreened(spec)) {
			// How many sites chose a cluster would have to be noised and charged: each is taken to have an equal part.
			const parted = phase === "parting" || phase === "apart" ? whole.clusters : 1;
			// Adaptive clipping sums gradients in units of the norm of their round.
			return (clippingNorm / publicDivisor(spec, survivors)) * parted;
		}
		const weight = weights[cluster]!;
		// Nobody had records, or nobody chose this model: the sum is zero as well.
		if (weight <= 0) return 1;
		const mean = aggregation.updateNormBound / weight;
		// FedNova: updates by step are moved along by the sites' mean number of steps.
		return whole.steps === undefined ? mean : mean * ((weights[whole.steps]! / weight) * MOST_STEPS);
	});
}

/** Every common model's mean update; what lies behind them in the update is left out. */
function meansOf(
	{ whole, compression }: TrainingPlan,
	sums: Float64Array,
	units: readonly number[],
): Float64Array {
	// Compressed updates are of one common model.
	if (compression !== undefined) return sums.map((value) => value * units[0]!);
	const { shared, clusters } = whole;
	return sums.slice(0, clusters * shared).map((value, i) => value * units[Math.floor(i / shared)]!);
}

/** The common models moved against their mean gradients, or in the round for it their measured losses. */
function stateAfter(
	spec: ResolvedJobSpec,
	{ whole, shared, parameterCount }: TrainingPlan,
	phase: ClusterPhase,
	state: CommonState,
	means: Float64Array,
): Pick<CommonState, "parameters" | "optimizer" | "clusterLosses"> {
	if (phase === "measured") {
		const clusterLosses = Array.from(means.subarray(0, whole.clusters), (value) => value / LOSS_UNIT);
		return { ...state, clusterLosses };
	}
	const gradient = new Float64Array(whole.clusters * parameterCount);
	for (let cluster = 0; cluster < whole.clusters; cluster++) {
		const from = (phase === "joint" ? 0 : cluster) * shared.count;
		const mean = means.subarray(from, from + shared.count);
		gradient.set(placeShared(shared, mean), cluster * parameterCount);
	}
	const next = applyGradient(optimizerOf(spec), state.optimizer, state.parameters, gradient);
	const { clusterLosses } = state;
	return {
		parameters: next.parameters,
		optimizer: next.state,
		...(clusterLosses === undefined ? {} : { clusterLosses }),
	};
}

/** c + the sum of the sites' changes over all sites, those that are not in the sum having changed nothing. */
function controlVariateAfter(
	{ training }: ResolvedJobSpec,
	{ whole, participants }: TrainingPlan,
	{ controlVariate, clippingNorm = 1 }: CommonState,
	estimate: Float64Array,
): Float64Array | undefined {
	if (controlVariate === undefined || whole.variates === undefined) return undefined;
	const from = whole.variates;
	const unit = clippingNorm / (variateUnit(training) * participants);
	return controlVariate.map((value, i) => value + estimate[from + i]! * unit);
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
