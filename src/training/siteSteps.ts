/**
 * What a site's own steps of one round give: the direction that the common state is to be moved
 * against, and what the site keeps for itself if its vector is in the sum. Nothing is bounded,
 * weighted or noised here, but for private local steps, whose noise is part of each step.
 */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../data/dataset.ts";
import { allFinite } from "../learning/finite.ts";
import { accumulatedSteps, type DescentRule } from "../learning/localDescent.ts";
import { diverged, type LocalUpdate, trainLocally } from "../learning/localTraining.ts";
import { trainByProximalModels } from "../learning/proximalTraining.ts";
import type { Trainer } from "../learning/trainer.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { clusterPhase } from "./personalizationChoice.ts";
import type { TrainingPlan } from "./plan.ts";
import { movingMask, placeShared, takeShared, withOwn } from "./sharedParameters.ts";
import type { SiteState } from "./siteState.ts";
import type { StreamedRound } from "./streamedRound.ts";
import { localStepsOf, type TrainingChoice } from "./trainingChoice.ts";

/** What the updates of a job are computed from. */
export interface Site {
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	readonly train: Dataset;
	readonly trainer: Trainer;
	/** Source of the randomness of shuffles, which privacy does not rest on; the system's unless a test seeds it. */
	readonly random?: ((length: number) => Uint8Array) | undefined;
	/** In place of `train` where the records do not fit in memory. */
	readonly streamed?: StreamedRound | undefined;
}

/** Steps of FedNova that a site takes at most in a round: beyond, its epochs end early. */
export const MOST_STEPS = 4096;

export interface SiteSteps {
	/** The update's coordinates, without the count of adaptive clipping. */
	readonly direction: Float64Array;
	/** Which common model was trained. */
	readonly cluster: number;
	/** FedNova: how many steps the direction was divided by; otherwise 0. */
	readonly steps: number;
	/** @param factor in [0, 1] that the direction is scaled by before it is summed */
	keep(factor: number): SiteState;
}

/** A common model as this site works with it. */
export interface ModelHere {
	readonly cluster: number;
	/** As the common state holds it. */
	readonly common: Float32Array;
	/** With the site's own layers, if it keeps any. */
	readonly parameters: Float32Array;
}

/**
 * The common model that fits the site's training records best (IFCA: Ghosh et al. 2020, arXiv:2006.04088),
 * with the site's own layers in place.
 */
export async function modelHere(
	site: Site,
	round: number,
	state: CommonState,
	own: SiteState,
): Promise<ModelHere> {
	const { spec, plan } = site;
	const models = commonModels(plan, state);
	const phase = clusterPhase(spec.personalization, spec.training, round);
	let cluster = 0;
	if (phase === "parting" || phase === "apart") {
		const offsets = phase === "parting" ? state.clusterLosses : undefined;
		const losses = (await meanLosses(site, models)).map((loss, i) => loss - (offsets?.[i] ?? 0));
		cluster = losses.indexOf(Math.min(...losses));
	}
	const common = models[cluster]!;
	const hasOwn = plan.shared.count < plan.parameterCount && own.parameters !== undefined;
	return { cluster, common, parameters: hasOwn ? withOwn(plan.shared, common, own.parameters!) : common };
}

/** How a common state's parameters are divided into models. */
export interface ModelCounts {
	readonly whole: { readonly clusters: number };
	readonly parameterCount: number;
}

/** Of each model on the site's training records. */
async function meanLosses(
	{ plan, train, trainer }: Site,
	models: readonly Float32Array[],
): Promise<number[]> {
	const losses: number[] = [];
	for (const model of models)
		losses.push((await trainer.evaluate(model, train, plan.lossBound)).lossSum / Math.max(1, train.rows));
	return losses;
}

/** The common models of a state, views of its parameters. */
export function commonModels(
	{ whole, parameterCount }: ModelCounts,
	{ parameters }: Pick<CommonState, "parameters">,
): Float32Array[] {
	return Array.from({ length: whole.clusters }, (_, cluster) =>
		parameters.subarray(cluster * parameterCount, (cluster + 1) * parameterCount),
	);
}

/** Trains from a model; the noise of private steps, if any, is the caller's. */
export type LocalTraining = (start: Float32Array, rule: DescentRule) => Promise<LocalUpdate>;

/**
 * One round of steps.
 * @param train how local steps are taken: {@link plainSteps}, or private ones
 * @throws AlthingError `learning.*`, `learning.not_finite` where training diverges
 */
export async function siteSteps(
	site: Site,
	round: number,
	state: CommonState,
	own: SiteState,
	train: LocalTraining,
): Promise<SiteSteps> {
	const { spec, trainer } = site;
	const { training, personalization } = spec;
	if (clusterPhase(personalization, training, round) === "measured")
		return await measuredLosses(site, state, own);
	const here = await modelHere(site, round, state, own);
	if (training.algorithm === "fedsgd") {
		const { sum, examples } =
			site.streamed?.gradient ?? (await trainer.gradientSum(here.parameters, site.train));
		if (!allFinite(sum)) throw new AlthingError("learning.not_finite", "The gradient is not finite.");
		return ofOneModel(
			site,
			here,
			own,
			sum.map((value) => value / examples),
		);
	}
	const rule = localStepsOf(training, round, here.common);
	if (personalization?.method === "pfedme") {
		const {
			weight,
			innerSteps,
			learningRate: innerLearningRate = training.localLearningRate,
		} = personalization;
		const plan = { ...rule, weight, innerSteps, innerLearningRate };
		const { delta, personal } = await trainByProximalModels(
			trainer,
			here.common,
			site.train,
			plan,
			site.random,
		);
		return ofOneModel(site, here, { ...own, parameters: personal }, negative(delta));
	}
	if (training.algorithm === "scaffold") return await controlledSteps(site, state, own, here, rule, train);
	const trained = await localUpdate(site, here, rule, train);
	const after = keptLayers(site, own, trained);
	if (training.algorithm !== "fednova") return ofOneModel(site, here, after, negative(trained.update.delta));
	const steps = accumulatedSteps(trained.update.steps, rule);
	const each = trained.update.delta.map((value) => -value / steps);
	return { ...ofOneModel(site, here, after, each), steps };
}

/** Real value of one unit of loss, relative to the mean of the models', in the aggregated vector. */
export const LOSS_UNIT = 2 ** 10;

/** The models' losses instead of an update, in its first coordinates: what the sum tells is their mean over the sites. */
async function measuredLosses(site: Site, state: CommonState, own: SiteState): Promise<SiteSteps> {
	const losses = await meanLosses(site, commonModels(site.plan, state));
	const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
	const direction = new Float64Array(site.plan.whole.clusters * site.plan.shared.count);
	direction.set(losses.map((loss) => (loss - mean) * LOSS_UNIT));
	return { direction, cluster: 0, steps: 0, keep: () => own };
}

/** Plain local epochs over the site's records; those of a stream have been taken, from {@link epochsStart}. */
export function plainSteps({ spec, train, trainer, random, streamed }: Site): LocalTraining {
	const trained = streamed?.trained;
	if (trained !== undefined) {
		return async () => {
			if (trained === "diverged") throw diverged();
			return trained;
		};
	}
	const { localEpochs: epochs, localBatch: batchSize, algorithm } = spec.training;
	const most = algorithm === "fednova" ? { mostSteps: MOST_STEPS } : {};
	return (start, rule) =>
		trainLocally(trainer, start, train, { ...rule, epochs, batchSize, ...most }, random);
}

/**
 * Where plain local epochs start and how they step, for a site that keeps no layers of its own: what
 * {@link siteSteps} gives its `train`.
 */
export function epochsStart(
	{ spec, plan }: Pick<Site, "spec" | "plan">,
	round: number,
	state: CommonState,
	own: SiteState,
): { readonly start: Float32Array; readonly rule: ReturnType<typeof localStepsOf> & DescentRule } {
	const start = commonModels(plan, state)[0]!;
	const rule = localStepsOf(spec.training, round, start);
	if (spec.training.algorithm !== "scaffold") return { start, rule };
	return { start, rule: { ...rule, correction: controls(plan, state, own).correction } };
}

interface LocallyTrained {
	readonly start: Float32Array;
	readonly update: LocalUpdate;
}

/** Local steps from the model here; of FedRep the site's own layers first, then the shared ones. */
async function localUpdate(
	{ spec, plan, train, trainer, random }: Site,
	{ parameters }: ModelHere,
	rule: DescentRule,
	local: LocalTraining,
): Promise<LocallyTrained> {
	const { training, personalization } = spec;
	if (personalization?.method !== "fedrep")
		return { start: parameters, update: await local(parameters, rule) };
	const ownSteps = {
		learningRate: rule.learningRate,
		epochs: personalization.ownEpochs,
		batchSize: training.localBatch,
		moving: movingMask(plan.shared, "own"),
	};
	const { delta } = await trainLocally(trainer, parameters, train, ownSteps, random);
	const start = moved(parameters, delta);
	return { start, update: await local(start, { ...rule, moving: movingMask(plan.shared, "shared") }) };
}

/**
 * SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II): steps corrected by c - c_i, then
 * c_i <- c_i - c + (x - y) / (K learningRate). The change of c_i is summed beside the update, in units
 * that make it about as large; both are one vector, scaled together.
 */
async function controlledSteps(
	site: Site,
	state: CommonState,
	own: SiteState,
	here: ModelHere,
	rule: DescentRule,
	train: LocalTraining,
): Promise<SiteSteps> {
	const { spec, plan } = site;
	const { shared } = plan;
	const { common, variate, correction } = controls(plan, state, own);
	const trained = await localUpdate(site, here, { ...rule, correction }, train);
	const { delta, steps } = trained.update;
	const scale = steps * rule.learningRate;
	const sharedDelta = takeShared(shared, delta);
	const change = sharedDelta.map((value, i) => -value / scale - common[i]!);
	const unit = variateUnit(spec.training);
	const direction = new Float64Array(2 * shared.count);
	for (let i = 0; i < shared.count; i++) {
		direction[i] = -sharedDelta[i]!;
		direction[shared.count + i] = change[i]! * unit;
	}
	const after = keptLayers(site, own, trained);
	return {
		direction,
		cluster: 0,
		steps: 0,
		keep: (factor) => ({
			...after,
			controlVariate: variate.map((value, i) => value + factor * change[i]!),
		}),
	};
}

/** c and c_i, over the shared parameters, and c - c_i over all. */
function controls({ shared }: Pick<TrainingPlan, "shared">, state: CommonState, own: SiteState) {
	const common = state.controlVariate ?? new Float64Array(shared.count);
	const variate = own.controlVariate ?? new Float64Array(shared.count);
	const correction = placeShared(
		shared,
		common.map((value, i) => value - variate[i]!),
	);
	return { common, variate, correction };
}

/** Real value of one unit of a control variate in the aggregated vector. */
export function variateUnit({ localLearningRate, localEpochs }: TrainingChoice): number {
	return localLearningRate * localEpochs;
}

/** The site's own layers after its steps, for a job that keeps any. */
function keptLayers({ plan }: Site, own: SiteState, { start, update }: LocallyTrained): SiteState {
	return plan.shared.count < plan.parameterCount ? { ...own, parameters: moved(start, update.delta) } : own;
}

/** Steps whose site state does not depend on what becomes of the vector. */
function ofOneModel(
	{ plan }: Site,
	{ cluster }: ModelHere,
	own: SiteState,
	direction: Float64Array,
): SiteSteps {
	const { shared, whole } = plan;
	const after = whole.clusters > 1 ? { ...own, cluster } : own;
	const values = takeShared(shared, direction);
	if (whole.clusters === 1) return { direction: values, cluster, steps: 0, keep: () => after };
	const placed = new Float64Array(whole.clusters * shared.count);
	placed.set(values, cluster * shared.count);
	return { direction: placed, cluster, steps: 0, keep: () => after };
}

/** Exact: a difference of float32 values is exact in double precision. */
function moved(start: Float32Array, delta: Float64Array): Float32Array {
	return start.map((value, i) => value + delta[i]!);
}

function negative(vector: Float64Array): Float64Array {
	return vector.map((value) => -value);
}
