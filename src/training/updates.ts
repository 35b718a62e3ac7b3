/** What a site computes from its own records in a round, by the job's privacy mode, before encoding and noise. */
import { AlthingError } from "../../crypto/error.ts";
import { type Dataset, gather } from "../data/dataset.ts";
import { poissonSample } from "../data/poissonSampling.ts";
import { type Clipping, equalLayerNorms } from "../learning/clipping.ts";
import { trainLocally, trainLocallyInPrivate } from "../learning/localTraining.ts";
import type { Model } from "../learning/model.ts";
import type { Trainer } from "../learning/trainer.ts";
import { rowsOfRound } from "../privacy/correlatedNoise/participation.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import { addNoiseOnGrid } from "../privacy/samplers/bulkEncoding.ts";
import type { GaussianSampler } from "../privacy/samplers/tableGaussian.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { TrainingPlan } from "./plan.ts";
import { type PrivacyChoice, recordRate, type SharedNoise } from "./privacyChoice.ts";
import { fitsPublicBatch, largestSample } from "./recordReach.ts";

/** Weights are records up to this many, so that no site outweighs the others without bound. */
const WEIGHT_CAP = 100_000;

/** What the updates of a job are computed from. */
interface Site {
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	readonly train: Dataset;
	readonly trainer: Trainer;
}

/** Noise of the private local steps. */
export interface LocalNoise {
	readonly grid: EncodingPlan;
	readonly sampler: GaussianSampler;
}

/**
 * The clipped gradient sum of this round's batch: a secret Poisson sample, or with `slots` the
 * records whose place in the cycle it is. With adaptive clipping in units of the norm, and behind it
 * the count of gradients within the norm, each example half a unit up or down.
 */
export async function recordUpdate(
	{ spec, plan, train, trainer }: Site,
	privacy: SharedNoise,
	state: CommonState,
	round: number,
	slots: Uint32Array | undefined,
): Promise<Float64Array> {
	requireRoom(fitsPublicBatch(spec, train.rows));
	const rows =
		slots === undefined
			? poissonSample(train.rows, recordRate(privacy))
			: rowsOfRound(slots, plan.correlation!.minimumSeparation, round);
	// A keyed hash spreads records as evenly as chance would; the sums' rounding is bounded up to here.
	requireRoom(rows.length <= largestSample(spec.training.expectedBatch ?? 0));
	const norm = state.clippingNorm ?? privacy.clippingNorm;
	const { sum, withinNorm, examples } = await trainer.clippedGradientSum(
		state.parameters,
		gather(train, rows),
		clippingOf(privacy.clipping, plan.model, norm),
	);
	if (state.clippingNorm === undefined) return sum;
	const update = new Float64Array(plan.layout.update);
	for (let i = 0; i < sum.length; i++) update[i] = sum[i]! / norm;
	update[plan.parameterCount] = plan.withinUnit * (withinNorm - examples / 2);
	return update;
}

/** The site's whole update, clipped; with adaptive clipping as in {@link recordUpdate}, the site being the one example. */
export async function clientUpdate(
	site: Site,
	privacy: SharedNoise,
	state: CommonState,
): Promise<Float64Array> {
	const { plan } = site;
	const norm = state.clippingNorm ?? privacy.clippingNorm;
	const update = new Float64Array(plan.layout.update);
	const direction =
		site.train.rows === 0
			? new Float64Array(plan.parameterCount)
			: await zerosIfDiverged(plan, () => descent(site, state));
	const within = normOf(direction) <= norm;
	update.set(bounded(direction, norm, 1));
	if (state.clippingNorm === undefined) return update;
	for (let i = 0; i < plan.parameterCount; i++) update[i]! /= norm;
	update[plan.parameterCount] = plan.withinUnit * (within ? 0.5 : -0.5);
	return update;
}

/** Private local steps: minus the difference they made. It is private already, and takes no share of noise. */
export async function privateLocalUpdate(
	{ spec, plan, train, trainer }: Site,
	privacy: Extract<PrivacyChoice, { mechanism: "site_gaussian" }>,
	state: CommonState,
	{ grid, sampler }: LocalNoise,
): Promise<Float64Array> {
	const { localBatch, localLearningRate } = spec.training;
	requireRoom(fitsPublicBatch(spec, train.rows));
	const delta = await zerosIfDiverged(plan, async () => {
		const local = await trainLocallyInPrivate(trainer, state.parameters, train, {
			steps: plan.localSteps,
			clipping: clippingOf(privacy.clipping, plan.model, privacy.clippingNorm),
			expectedBatchSize: localBatch,
			learningRate: localLearningRate,
			sampleRows: () => Uint32Array.from(poissonSample(train.rows, privacy.samplingRate)),
			addNoise: (sum) => addNoiseOnGrid(sum, grid, sampler),
		});
		return local.delta;
	});
	// Equal weights: a site's record count stays its own.
	return bounded(delta, spec.aggregation.updateNormBound, -1);
}

/** Without differential privacy: the site's bounded update times its weight, and the weight. */
export async function unprotectedUpdate(
	site: Site,
	state: CommonState,
): Promise<{ readonly update: Float64Array; readonly weight: number }> {
	const { spec, plan, train } = site;
	if (train.rows === 0) return { update: new Float64Array(plan.parameterCount), weight: 0 };
	const bound = spec.aggregation.updateNormBound;
	const share = Math.min(train.rows, WEIGHT_CAP) / WEIGHT_CAP;
	return { update: bounded(await descent(site, state), bound, share), weight: share * bound };
}

/** The direction that the common model would be moved against: minus the difference of local epochs, or the mean gradient. */
async function descent({ spec, train, trainer }: Site, state: CommonState): Promise<Float64Array> {
	const {
		algorithm,
		localEpochs: epochs,
		localBatch: batchSize,
		localLearningRate: learningRate,
	} = spec.training;
	if (algorithm === "fedavg") {
		const { delta } = await trainLocally(trainer, state.parameters, train, {
			epochs,
			batchSize,
			learningRate,
		});
		return delta.map((value) => -value);
	}
	const { sum, examples } = await trainer.gradientSum(state.parameters, train);
	return sum.map((value) => value / examples);
}

/**
 * An update of zeros where training diverges. The site would otherwise miss the round, which tells
 * about its records, and without a charge.
 */
async function zerosIfDiverged(
	{ parameterCount }: TrainingPlan,
	update: () => Promise<Float64Array>,
): Promise<Float64Array> {
	try {
		return await update();
	} catch (error) {
		if (error instanceof AlthingError && error.code === "learning.not_finite")
			return new Float64Array(parameterCount);
		throw error;
	}
}

function clippingOf(clipping: SharedNoise["clipping"], model: Model, norm: number): Clipping {
	switch (clipping) {
		case "flat":
		case "adaptive":
			return { mode: "flat", norm };
		case "automatic":
			return { mode: "automatic", norm };
		case "per_layer":
			return { mode: "perLayer", norms: equalLayerNorms(model, norm) };
	}
}

function normOf(vector: Float64Array): number {
	let squares = 0;
	for (const value of vector) squares += value * value;
	return Math.sqrt(squares);
}

/** `factor` times the vector after scaling it down to an L2 norm of at most `bound`. */
function bounded(vector: Float64Array, bound: number, factor: number): Float64Array {
	const scale = Math.min(1, bound / normOf(vector)) * factor;
	return vector.map((value) => value * scale);
}

/** Sampling more than the public expected batch foresees would break the bound on summation errors. */
function requireRoom(fits: boolean): void {
	if (fits) return;
	throw new AlthingError(
		"job.batch_too_small",
		"training.expectedBatch, or localBatch of local steps, is smaller than what this site alone samples; the job must be submitted with a larger one",
	);
}
