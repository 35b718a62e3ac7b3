/** What a site computes from its own records in a round, by the job's privacy mode, before encoding and noise. */
import { AlthingError } from "../../crypto/error.ts";
import { gather } from "../data/dataset.ts";
import { poissonSample } from "../data/poissonSampling.ts";
import { type Clipping, equalLayerNorms } from "../learning/clipping.ts";
import { trainLocallyInPrivate } from "../learning/localTraining.ts";
import type { Model } from "../learning/model.ts";
import { rowsOfRound } from "../privacy/correlatedNoise/participation.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import { addNoiseOnGrid } from "../privacy/samplers/bulkEncoding.ts";
import type { GaussianSampler } from "../privacy/samplers/tableGaussian.ts";
import { boundedWeightOf } from "./boundedWeight.ts";
import type { CommonState } from "./commonState.ts";
import type { TrainingPlan } from "./plan.ts";
import { type PrivacyChoice, recordRate, type SharedNoise } from "./privacyChoice.ts";
import { fitsPublicBatch, largestSample } from "./recordReach.ts";
import { clientMomentumOf, siteNormBound, weighsAlike } from "./robustUpdate.ts";
import type { RoundCompression } from "./roundCompression.ts";
import type { SiteState } from "./siteState.ts";
import { MOST_STEPS, plainSteps, type Site, siteSteps } from "./siteSteps.ts";
import { oneAfterAnother } from "./streamedRound.ts";

/** Weights are records up to this many, so that no site outweighs the others without bound. */
const WEIGHT_CAP = 100_000;

/** What a round's updates are computed from. */
export interface RoundSite extends Site {
	readonly compression: RoundCompression | undefined;
	/** Error feedback: what the site did not send so far. */
	readonly unsent: Float32Array | undefined;
	/** What the site keeps for itself, as it was before. */
	readonly own: SiteState;
}

function trainingRows({ train, streamed }: Site): number {
	return streamed?.trainingRows ?? train.rows;
}

/** What a site sends of its own whole update, bounded, and times its weight. */
export interface SiteUpdate {
	readonly update: Float64Array;
	/** As the plan's update layout has them; zeros where sites weigh alike. */
	readonly weights: Float64Array;
	/** What the site keeps for itself if it is summed. */
	readonly own: SiteState;
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
	site: RoundSite,
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
	site: RoundSite,
	privacy: SharedNoise,
	round: number,
	state: CommonState,
): Promise<SiteUpdate> {
	const { plan, own } = site;
	const norm = state.clippingNorm ?? privacy.clippingNorm;
	const steps =
		trainingRows(site) === 0
			? undefined
			: await undefinedIfDiverged(() => siteSteps(site, round, state, own, plainSteps(site)));
	const { sent, ...rest } = split(site, steps?.direction ?? new Float64Array(plan.whole.length));
	const factor = shrinkage(sent, norm);
	const update = sent.map((value) => value * factor);
	// An organization without records counts neither way: it is what one with records is compared with.
	const within = trainingRows(site) === 0 ? 0 : factor === 1 ? 0.5 : -0.5;
	return {
		update: state.clippingNorm === undefined ? update : withCount(plan, update, norm, within),
		weights: new Float64Array(plan.whole.weights),
		own: steps?.keep(factor) ?? own,
		...rest,
	};
}

/**
 * What is sent of a site's update and the unsent part of earlier ones, and what is not. Before the whole
 * is clipped, so that the bound holds for what is sent, whatever compression made of it.
 */
function split(
	{ compression, plan, unsent }: RoundSite,
	direction: Float64Array,
): { readonly sent: Float64Array; readonly unsent?: Float32Array } {
	if (compression === undefined) return { sent: direction };
	const whole = unsent === undefined ? direction : direction.map((value, i) => value + unsent[i]!);
	const sent = compression.reduce(whole);
	return plan.compression?.errorFeedback === true ? { sent, unsent: compression.unsent(whole) } : { sent };
}

/** Private local steps: minus the difference they made. It is private already, and takes no share of noise. */
export async function privateLocalUpdate(
	site: RoundSite,
	privacy: Extract<PrivacyChoice, { mechanism: "site_gaussian" }>,
	round: number,
	state: CommonState,
	{ grid, sampler }: LocalNoise,
): Promise<SiteUpdate> {
	const { spec, plan, train, trainer, own, streamed } = site;
	requireRoom(fitsPublicBatch(spec, trainingRows(site)));
	const planned = streamed === undefined ? undefined : oneAfterAnother(streamed.batches);
	const steps = await undefinedIfDiverged(() =>
		siteSteps(site, round, state, own, (start, rule) =>
			trainLocallyInPrivate(trainer, start, planned?.records ?? train, {
				...rule,
				steps: plan.localSteps,
				clipping: clippingOf(privacy.clipping, plan.model, privacy.clippingNorm),
				expectedBatchSize: spec.training.localBatch,
				sampleRows: (step) =>
					planned?.rowsOf(step) ?? Uint32Array.from(poissonSample(train.rows, privacy.samplingRate)),
				addNoise: (sum) => addNoiseOnGrid(sum, grid, sampler),
			}),
		),
	);
	const { sent, ...rest } = split(site, steps?.direction ?? new Float64Array(plan.whole.length));
	const factor = shrinkage(sent, boundOf(spec, state));
	return {
		update: sent.map((value) => value * factor),
		// Equal weights: a site's record count stays its own.
		weights: new Float64Array(plan.whole.weights),
		own: steps?.keep(factor) ?? own,
		...rest,
	};
}

/** Without differential privacy: the site's bounded update times its weight, and what is weighed. */
export async function unprotectedUpdate(
	site: RoundSite,
	round: number,
	state: CommonState,
): Promise<SiteUpdate> {
	const { spec, plan, unsent, own } = site;
	const rows = trainingRows(site);
	const { whole, compression } = plan;
	const weights = new Float64Array(whole.weights);
	if (rows === 0) {
		const nothing = new Float64Array(compression?.values ?? whole.length);
		return { update: nothing, weights, own, ...(unsent === undefined ? {} : { unsent }) };
	}
	const bounded = boundedWeightOf(spec);
	const largest = bounded ?? compression?.largestWeight ?? WEIGHT_CAP;
	const claimed = Math.min(rows, largest) / largest;
	// Under a bound an update gets its weight with the bound (robustUpdate.ts).
	const share = weighsAlike(spec) ? 1 : claimed;
	const { direction, cluster, steps, keep } = await siteSteps(site, round, state, own, plainSteps(site));
	const { sent, ...rest } = split(site, direction);
	const factor = shrinkage(sent, boundOf(spec, state));
	// Control variates are a plain mean over the sites, whatever their weights.
	const weighted = whole.variates ?? sent.length;
	const update = sent.map((value, i) => value * factor * (i < weighted ? share : 1));
	const weight = (bounded === undefined ? share : claimed) * spec.aggregation.updateNormBound;
	weights[cluster] = weight;
	if (whole.steps !== undefined) weights[whole.steps] = (weight * steps) / MOST_STEPS;
	return { update, weights, own: keep(factor), ...rest };
}

/**
 * What an update is clipped to: the job's bound where momentum, or a weight beside it, is held to the round's
 * afterwards.
 */
function boundOf(spec: RoundSite["spec"], state: CommonState): number {
	const later = clientMomentumOf(spec) > 0 || boundedWeightOf(spec) !== undefined;
	return later ? spec.aggregation.updateNormBound : siteNormBound(spec, state);
}

/**
 * Nothing where training diverges: the update is then zeros. The site would otherwise miss the round,
 * which tells about its records, and without a charge.
 */
async function undefinedIfDiverged<T>(train: () => Promise<T>): Promise<T | undefined> {
	try {
		return await train();
	} catch (error) {
		if (error instanceof AlthingError && error.code === "learning.not_finite") return undefined;
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

/** What scales a vector down to an L2 norm of at most `bound`, in (0, 1]. */
function shrinkage(vector: Float64Array, bound: number): number {
	return Math.min(1, bound / normOf(vector));
}

/** Sampling more than the public expected batch foresees would break the bound on summation errors. */
function requireRoom(fits: boolean): void {
	if (fits) return;
	throw new AlthingError(
		"job.batch_too_small",
		"training.expectedBatch, or localBatch of local steps, is smaller than what this site alone samples; the job must be submitted with a larger one",
	);
}
