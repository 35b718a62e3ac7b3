/**
 * One site's contribution to a round: sampled, clipped, summed, evaluated, encoded, noised.
 * What leaves this module is already the integer vector that is masked and sent; the
 * un-noised sum exists nowhere else.
 */
import { AlthingError } from "../../crypto/error.ts";
import { gather } from "../data/dataset.ts";
import { poissonSample } from "../data/poissonSampling.ts";
import { trainLocally, trainLocallyInPrivate } from "../learning/localTraining.ts";
import type { Trainer } from "../learning/trainer.ts";
import { type EncodingPlan, planEncoding } from "../privacy/fixedPoint.ts";
import { sigmaFor } from "../privacy/integerNoise.ts";
import { addNoiseOnGrid, encodeToRing } from "../privacy/samplers/bulkEncoding.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { largestSample, largestSiteNoise, SUMMATION_ERROR, type TrainingPlan } from "./plan.ts";
import type { SiteData } from "./siteData.ts";

/** Weights are records up to this many, so that no site outweighs the others without bound. */
const WEIGHT_CAP = 100_000;

/** Computes the contributions of one site to one job; keeps the noise tables between rounds. */
export class Contributor {
	readonly #spec: ResolvedJobSpec;
	readonly #plan: TrainingPlan;
	readonly #data: SiteData;
	readonly #trainer: Trainer;
	readonly #parameterShare: GaussianSampler | undefined;
	readonly #metricShare: GaussianSampler | undefined;
	readonly #siteNoise: { readonly grid: EncodingPlan; readonly sampler: GaussianSampler } | undefined;

	constructor(input: {
		readonly spec: ResolvedJobSpec;
		readonly plan: TrainingPlan;
		readonly data: SiteData;
		readonly trainer: Trainer;
	}) {
		const { spec, plan } = input;
		this.#spec = spec;
		this.#plan = plan;
		this.#data = input.data;
		this.#trainer = input.trainer;
		this.#parameterShare = plan.parameterSigma > 0 ? tableGaussian(plan.parameterSigma) : undefined;
		this.#metricShare =
			plan.metricSigma === plan.parameterSigma
				? this.#parameterShare
				: plan.metricSigma > 0
					? tableGaussian(plan.metricSigma)
					: undefined;
		if (spec.privacy.mechanism === "site_gaussian") {
			const grid = siteGrid(spec.privacy.clippingNorm, spec.training.localBatch, plan);
			this.#siteNoise = {
				grid,
				sampler: tableGaussian(
					sigmaFor({ noiseMultiplier: plan.noiseMultiplier, sensitivity: grid.sensitivity }),
				),
			};
		}
	}

	/** Upper bound on the total-variation distance per value of the noise to its exact law; charged to delta. */
	get samplerDistance(): number {
		return Math.max(
			this.#parameterShare?.totalVariationDistance ?? 0,
			this.#metricShare?.totalVariationDistance ?? 0,
			this.#siteNoise?.sampler.totalVariationDistance ?? 0,
		);
	}

	/**
	 * The vector mod 2^modulusBits for one round.
	 * @throws AlthingError `job.batch_too_small` when this site samples more records than the
	 *   job's public expected batch allows for, `learning.*`
	 */
	async contribute(round: number, state: CommonState): Promise<Uint32Array> {
		const plan = this.#plan;
		const values = new Float64Array(plan.length);
		const weight = await this.#fillUpdate(values.subarray(0, plan.parameterCount), state);
		if (round % this.#spec.training.evaluateEveryRounds === 0) {
			const { lossSum, correct, examples } = await this.#trainer.evaluate(
				state.parameters,
				this.#data.heldOut,
				plan.lossBound,
			);
			values[plan.parameterCount] = (lossSum / plan.lossBound) * plan.metricUnit;
			values[plan.parameterCount + 1] = correct * plan.metricUnit;
			values[plan.parameterCount + 2] = examples * plan.metricUnit;
		}
		values[plan.parameterCount + 3] = weight;
		const ring = new Uint32Array(plan.length);
		const put = (from: number, to: number, noise: GaussianSampler | "none" = "none") =>
			encodeToRing(values.subarray(from, to), plan.encoding, noise, ring.subarray(from, to));
		// With this site's share of the noise, before anything is masked.
		put(0, plan.parameterCount, this.#parameterShare);
		put(plan.parameterCount, plan.parameterCount + 3, this.#metricShare);
		put(plan.parameterCount + 3, plan.length);
		return ring;
	}

	/** Writes the parameters' part and returns the weight's real value. */
	async #fillUpdate(target: Float64Array, state: CommonState): Promise<number> {
		const { privacy, training: settings, aggregation } = this.#spec;
		const training = this.#data.train;
		const trainer = this.#trainer;
		const bound = aggregation.updateNormBound;
		if (privacy.mechanism === "distributed_gaussian") {
			requireRoom(training.rows * privacy.samplingRate, settings.expectedBatch ?? 0);
			const batch = gather(training, poissonSample(training.rows, privacy.samplingRate));
			const { sum } = await trainer.clippedGradientSum(state.parameters, batch, {
				mode: "flat",
				norm: privacy.clippingNorm,
			});
			target.set(sum);
			return 0;
		}
		if (privacy.mechanism === "site_gaussian") {
			requireRoom(training.rows * privacy.samplingRate, settings.localBatch);
			const { delta } = await trainLocallyInPrivate(trainer, state.parameters, training, {
				steps: this.#plan.localSteps,
				clippingNorm: privacy.clippingNorm,
				expectedBatchSize: settings.localBatch,
				learningRate: settings.localLearningRate,
				sampleRows: () => Uint32Array.from(poissonSample(training.rows, privacy.samplingRate)),
				addNoise: (sum) => this.#addSiteNoise(sum),
			});
			// Equal weights: a site's record count stays its own.
			target.set(bounded(delta, bound, -1));
			return 0;
		}
		if (training.rows === 0) return 0;
		const share = Math.min(training.rows, WEIGHT_CAP) / WEIGHT_CAP;
		if (settings.algorithm === "fedavg") {
			const { delta } = await trainLocally(trainer, state.parameters, training, {
				epochs: settings.localEpochs,
				batchSize: settings.localBatch,
				learningRate: settings.localLearningRate,
			});
			target.set(bounded(delta, bound, -share));
		} else {
			const { sum, examples } = await trainer.gradientSum(state.parameters, training);
			target.set(bounded(sum, bound, share, examples));
		}
		return share * bound;
	}

	/** Noise of one private local step, added on an integer grid and scaled back. */
	#addSiteNoise(sum: Float64Array): void {
		if (this.#siteNoise === undefined)
			throw new AlthingError("privacy.misuse", "site noise belongs to site_gaussian");
		addNoiseOnGrid(sum, this.#siteNoise.grid, this.#siteNoise.sampler);
	}
}

function siteGrid(clippingNorm: number, expectedBatch: number, plan: TrainingPlan): EncodingPlan {
	return planEncoding({
		length: plan.parameterCount,
		clippingNorm: clippingNorm * (1 + SUMMATION_ERROR * largestSample(expectedBatch)),
		maximumContributors: 1,
		perSiteBound: Math.max(16, expectedBatch),
		largestNoiseMultiplier: largestSiteNoise(plan.noiseMultiplier, plan.parameterCount),
		modulusBits: 32,
	});
}

/** `factor` times the vector (divided by `divisor`) after scaling it down to an L2 norm of at most `bound`. */
function bounded(vector: Float64Array, bound: number, factor: number, divisor = 1): Float64Array {
	let squares = 0;
	for (const value of vector) squares += (value / divisor) ** 2;
	const scale = Math.min(1, bound / Math.sqrt(squares)) / divisor;
	return vector.map((value) => value * scale * factor);
}

/** Sampling more than the public expected batch foresees would break the bound on summation errors. */
function requireRoom(expectedHere: number, expectedBatch: number): void {
	if (expectedHere <= expectedBatch) return;
	throw new AlthingError(
		"job.batch_too_small",
		"training.expectedBatch is smaller than what this site alone samples; the job must be submitted with a larger one",
		{ expectedBatch },
	);
}
