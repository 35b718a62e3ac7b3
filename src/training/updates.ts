/** What a site computes from its own records in a round, by the job's privacy mode, before encoding and noise. */
import { AlthingError } from "../../crypto/error.ts";
import { type Dataset, gather } from "../data/dataset.ts";
import { poissonSample } from "../data/poissonSampling.ts";
import { type Clipping, equalLayerNorms } from "../learning/clipping.ts";
import { allFinite } from "../learning/finite.ts";
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
import type { RoundCompression } from "./roundCompression.ts";
import { oneAfterAnother, type StreamedRound } from "./streamedRound.ts";

/** Weights are records up to this many, so that no site outweighs the others without bound. */
const WEIGHT_CAP = 100_000;

/** What the updates of a job are computed from. */
export interface Site {
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	readonly train: Dataset;
	readonly trainer: Trainer;
	readonly compression: RoundCompression | undefined;
	/** Error feedback: what the site did not send so far. */
	readonly unsent: Float32Array | undefined;
	/** In place of `train` where the records do not fit in memory. */
	readonly streamed?: StreamedRound | undefined;
}

function trainingRows({ train, streamed }: Site): number {
	return streamed?.trainingRows ?? train.rows;
}

/** What a site sends of its own whole update, bounded, and times its weight. */
export interface SiteUpdate {
	readonly update: Float64Array;
	readonly weight: number;
	/** Error feedback: what it does not send. */
	readonly unsent?: Float32Array;
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
	site: Site,
	privacy: SharedNoise,
	state: CommonState,
	round: number,
	slots: Uint32Array | undefined,
): Promise<Float64Array> {
	const { spec, plan, train, trainer, compression, streamed } = site;
	requireRoom(fitsPublicBatch(spec, trainingRows(site)));
	const batch = streamed?.batches[0] ?? gather(train, batchOf(site, privacy, round, slots));
	// A keyed hash spreads records as evenly as chance would; the sums' rounding is bounded up to here.
	requireRoom(batch.rows <= largestSample(spec.training.expectedBatch ?? 0));
	const norm = state.clippingNorm ?? privacy.clippingNorm;
	const { sum, withinNorm, examples } = await trainer.clippedGradientSum(
		state.parameters,
		batch,
		clippingOf(privacy.clipping, plan.model, norm),
	);
	// Coordinates of clipped gradients are no longer than the gradients.
	const sent = compression?.reduce(sum) ?? sum;
	if (state.clippingNorm === undefined) return sent;
	return withCount(plan, sent, norm, withinNorm - examples / 2);
}

/** Adaptive clipping: in units of the norm, and behind the update the count. */
function withCount(
	{ layout, withinUnit }: TrainingPlan,
	sent: Float64Array,
	norm: number,
	count: number,
): Float64Array {
	const update = new Float64Array(layout.update);
	for (let i = 0; i < sent.length; i++) update[i] = sent[i]! / norm;
	update[sent.length] = withinUnit * count;
	return update;
}

function batchOf(
	{ plan, train }: Site,
	privacy: SharedNoise,
	round: number,
	slots: Uint32Array | undefined,
): Int32Array {
	return slots === undefined
		? poissonSample(train.rows, recordRate(privacy))
		: rowsOfRound(slots, plan.correlation!.minimumSeparation, round);
}

/** The site's whole update, clipped; with adaptive clipping as in {@link recordUpdate}, the site being the one example. */
export async function clientUpdate(
	site: Site,
	privacy: SharedNoise,
	state: CommonState,
): Promise<SiteUpdate> {
	const { plan } = site;
	const norm = state.clippingNorm ?? privacy.clippingNorm;
	const direction =
		trainingRows(site) === 0
			? new Float64Array(plan.parameterCount)
			: await zerosIfDiverged(plan, () => descent(site, state));
	const { sent, ...rest } = split(site, direction);
	const update = bounded(sent, norm, 1);
	// An organization without records counts neither way: it is what one with records is compared with.
	const within = trainingRows(site) === 0 ? 0 : normOf(sent) <= norm ? 0.5 : -0.5;
	return {
		update: state.clippingNorm === undefined ? update : withCount(plan, update, norm, within),
		weight: 0,
		...rest,
	};
}

/**
 * What is sent of a site's update and the unsent part of earlier ones, and what is not. Before the whole
 * is clipped, so that the bound holds for what is sent, whatever compression made of it.
 */
function split(
	{ compression, plan, unsent }: Site,
	direction: Float64Array,
): { readonly sent: Float64Array; readonly unsent?: Float32Array } {
	if (compression === undefined) return { sent: direction };
	const whole = unsent === undefined ? direction : direction.map((value, i) => value + unsent[i]!);
	const sent = compression.reduce(whole);
	return plan.compression?.errorFeedback === true ? { sent, unsent: compression.unsent(whole) } : { sent };
}

/** Private local steps: minus the difference they made. It is private already, and takes no share of noise. */
export async function privateLocalUpdate(
	site: Site,
	privacy: Extract<PrivacyChoice, { mechanism: "site_gaussian" }>,
	state: CommonState,
	{ grid, sampler }: LocalNoise,
): Promise<SiteUpdate> {
	const { spec, plan, train, trainer, streamed } = site;
	const { localBatch, localLearningRate } = spec.training;
	requireRoom(fitsPublicBatch(spec, trainingRows(site)));
	const planned = streamed === undefined ? undefined : oneAfterAnother(streamed.batches);
	const delta = await zerosIfDiverged(plan, async () => {
		const local = await trainLocallyInPrivate(trainer, state.parameters, planned?.records ?? train, {
			steps: plan.localSteps,
			clipping: clippingOf(privacy.clipping, plan.model, privacy.clippingNorm),
			expectedBatchSize: localBatch,
			learningRate: localLearningRate,
			sampleRows: (step) =>
				planned?.rowsOf(step) ?? Uint32Array.from(poissonSample(train.rows, privacy.samplingRate)),
			addNoise: (sum) => addNoiseOnGrid(sum, grid, sampler),
		});
		return local.delta;
	});
	const { sent, ...rest } = split(
		site,
		delta.map((value) => -value),
	);
	// Equal weights: a site's record count stays its own.
	return { update: bounded(sent, spec.aggregation.updateNormBound, 1), weight: 0, ...rest };
}

/** Without differential privacy: the site's bounded update times its weight, and the weight. */
export async function unprotectedUpdate(site: Site, state: CommonState): Promise<SiteUpdate> {
	const { spec, plan, unsent } = site;
	const rows = trainingRows(site);
	if (rows === 0) {
		const nothing = new Float64Array(plan.compression?.values ?? plan.parameterCount);
		return { update: nothing, weight: 0, ...(unsent === undefined ? {} : { unsent }) };
	}
	const bound = spec.aggregation.updateNormBound;
	const largest = plan.compression?.largestWeight ?? WEIGHT_CAP;
	const share = Math.min(rows, largest) / largest;
	const { sent, ...rest } = split(site, await descent(site, state));
	return { update: bounded(sent, bound, share), weight: share * bound, ...rest };
}

/** The direction that the common model would be moved against: minus the difference of local epochs, or the mean gradient. */
async function descent({ spec, train, trainer, streamed }: Site, state: CommonState): Promise<Float64Array> {
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
	const { sum, examples } = streamed?.gradient ?? (await trainer.gradientSum(state.parameters, train));
	if (!allFinite(sum)) throw new AlthingError("learning.not_finite", "The gradient is not finite.");
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
