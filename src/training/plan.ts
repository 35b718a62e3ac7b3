/**
 * Everything that follows from a job's specification and its participants: the model, the
 * layout and encoding of the aggregated vector, the noise of each share, and the privacy
 * events that a round is charged as. A pure function, so every organization derives the same
 * plan and nobody can be told a different one (its hash is part of every session id).
 *
 * Vector layout: [ parameters (d) | loss, correct, count of held-out records | weight ].
 */
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import {
	linearRegression,
	logisticRegression,
	type Model,
	multilayerPerceptron,
	parameterCount,
	softmaxRegression,
} from "../learning/model.ts";
import { calibrateNoiseMultiplier, roundEvent } from "../privacy/accounting/calibration.ts";
import { gaussian, type PrivacyEvent, selfComposed } from "../privacy/accounting/events.ts";
import { type EncodingPlan, planEncoding } from "../privacy/fixedPoint.ts";
import { sigmaFor } from "../privacy/integerNoise.ts";
import { largestNoiseMultiplier, planNoiseShares } from "../privacy/noiseShares.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";

export interface Participation {
	/** n: sites that may contribute to one sum. */
	readonly participants: number;
	/** f: how many of them may collude or leave out their noise. */
	readonly corruption: number;
	readonly minimumSurvivors: number;
}

export interface TrainingPlan {
	readonly model: Model;
	readonly parameterCount: number;
	/** Coordinates of the aggregated vector. */
	readonly length: number;
	readonly encoding: EncodingPlan;
	/** Standard deviation of each site's share on parameter coordinates, integer units; 0 without shares. */
	readonly parameterSigma: number;
	/** The same on the evaluation's coordinates. */
	readonly metricSigma: number;
	/** Real value of one held-out record in each evaluation coordinate. */
	readonly metricUnit: number;
	/** Each example's loss counts at most this in the evaluation. */
	readonly lossBound: number;
	/** z, the noise multiplier that records of the training part are charged with; 0 without privacy. */
	readonly noiseMultiplier: number;
	/** Private local steps a round (site_gaussian); otherwise 0. */
	readonly localSteps: number;
	/** What one round costs a record of the training part; undefined when nothing is charged. */
	readonly trainingEvent: PrivacyEvent | undefined;
	/** What one evaluation costs a record of the held-out part. */
	readonly evaluationEvent: PrivacyEvent | undefined;
	/** Evaluations over the whole job. */
	readonly evaluations: number;
}

const METRICS = 3;
/** Coordinates after the parameters. */
export const EXTRA_COORDINATES = METRICS + 1;
const LOSS_BOUND = 8;
/** Part of delta kept for what is charged beside the accountant: samplers, shares, summation tails. */
const DELTA_RESERVE = 0.01;
/**
 * Where the parameters carry no shares of noise the grid is made this much finer (as far as the
 * modulus permits), so that small updates are not rounded away. It is also the number of held-out
 * records a site can report before its evaluation is clamped.
 */
const FINE_GRID = 2 ** 14;
/** float32: half a unit in the last place, times the rows of one chunk, bounds the relative error of a chunk's sum. */
export const SUMMATION_ERROR = 2 * 512 * 2 ** -24;

/** The model that a specification describes, for records of its data description. @throws AlthingError `job.model_mismatch` */
export function modelOf(spec: ResolvedJobSpec): Model {
	const { description } = spec.data;
	const inputs = description.features.count;
	const classes = description.label.kind === "class" ? description.label.classes.length : 0;
	const refuse = (why: string): never => {
		throw new AlthingError(
			"job.model_mismatch",
			`model ${spec.model.kind} does not fit data set ${spec.data.set}: ${why}`,
		);
	};
	switch (spec.model.kind) {
		case "linear_regression":
			if (classes > 0) refuse("its labels are classes; use logistic_regression or softmax_regression");
			return linearRegression(inputs);
		case "logistic_regression":
			if (classes !== 2) refuse(`it needs 2 classes, the data has ${classes}`);
			return logisticRegression(inputs);
		case "softmax_regression":
			if (classes < 2) refuse("its labels are numbers; use linear_regression");
			return softmaxRegression(inputs, classes);
		case "multilayer_perceptron": {
			const { hidden, activation } = spec.model;
			if (classes === 0) return multilayerPerceptron(inputs, hidden, 1, activation, "regression");
			return multilayerPerceptron(inputs, hidden, classes, activation, "multiclass");
		}
	}
}

/**
 * @throws AlthingError `job.model_mismatch`, `privacy.no_headroom`, `privacy.no_honest_noise`,
 *   `privacy.unreachable_target`: the specification cannot be run with these participants.
 */
export function planTraining(spec: ResolvedJobSpec, who: Participation): TrainingPlan {
	const model = modelOf(spec);
	const parameters = parameterCount(model);
	const length = parameters + EXTRA_COORDINATES;
	const { privacy, training } = spec;
	const evaluations = Math.ceil(training.rounds / training.evaluateEveryRounds);
	const common = { model, parameterCount: parameters, length, lossBound: LOSS_BOUND, evaluations };

	if (privacy.mechanism === "none") {
		const bound = spec.aggregation.updateNormBound;
		const encoding = planEncoding({
			length,
			clippingNorm: bound / FINE_GRID,
			maximumContributors: who.participants,
			perSiteBound: FINE_GRID,
			modulusBits: 32,
		});
		return {
			...common,
			encoding,
			parameterSigma: 0,
			metricSigma: 0,
			metricUnit: bound / FINE_GRID,
			noiseMultiplier: 0,
			localSteps: 0,
			trainingEvent: undefined,
			evaluationEvent: undefined,
		};
	}

	const delta = privacy.delta * (1 - DELTA_RESERVE);
	const localSteps =
		privacy.mechanism === "site_gaussian"
			? Math.max(1, Math.round(training.localEpochs / privacy.samplingRate))
			: 0;
	const steps = training.rounds * Math.max(1, localSteps);
	const noiseMultiplier = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta,
		samplingProbability: privacy.samplingRate,
		steps,
	});
	// Held-out records are disjoint from training records, so their own budget runs in parallel.
	const evaluationMultiplier = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta,
		samplingProbability: 1,
		steps: evaluations,
	});
	const step = roundEvent(privacy.samplingRate, noiseMultiplier);
	const events = {
		trainingEvent: localSteps > 0 ? selfComposed(step, localSteps) : step,
		evaluationEvent: gaussian(evaluationMultiplier),
	};

	if (privacy.mechanism === "distributed_gaussian") {
		const batch = training.expectedBatch ?? 1;
		const shares = {
			noiseMultiplier,
			minimumSurvivors: who.minimumSurvivors,
			corrupted: who.corruption,
			maximumContributors: who.participants,
		};
		const encoding = planEncoding({
			length,
			clippingNorm: privacy.clippingNorm * (1 + SUMMATION_ERROR * largestSample(batch)),
			maximumContributors: who.participants,
			perSiteBound: Math.max(16, batch / 2),
			largestNoiseMultiplier: largestNoiseMultiplier({ ...shares, length }),
		});
		const { sigmaLocal } = planNoiseShares({ ...shares, sensitivity: encoding.sensitivity });
		return {
			...common,
			...events,
			encoding,
			parameterSigma: sigmaLocal,
			metricSigma: sigmaLocal,
			metricUnit: unitOfEvaluation(encoding, Math.min(1, noiseMultiplier / evaluationMultiplier)),
			noiseMultiplier,
			localSteps: 0,
		};
	}

	const bound = spec.aggregation.updateNormBound;
	const encoding = planEncoding({
		length,
		clippingNorm: bound / FINE_GRID,
		maximumContributors: who.participants,
		perSiteBound: FINE_GRID,
		largestNoiseMultiplier:
			largestSiteNoise(evaluationMultiplier * Math.sqrt(METRICS), length) * Math.sqrt(who.participants),
		modulusBits: 32,
	});
	const metricUnit = bound / FINE_GRID;
	return {
		...common,
		...events,
		encoding,
		parameterSigma: 0,
		metricSigma: sigmaFor({
			noiseMultiplier: evaluationMultiplier,
			sensitivity: metricUnit * encoding.scale * Math.sqrt(METRICS) + Math.sqrt(METRICS),
		}),
		metricUnit,
		noiseMultiplier,
		localSteps,
	};
}

/**
 * Real value of one held-out record per evaluation coordinate, such that the parameters' noise
 * is enough for it: the record moves the three coordinates by at most s u sqrt(3) + sqrt(3)
 * integer units (rounding included), which must stay within `share` of the sensitivity, where
 * share = z / z_e as the evaluation is not sampled and needs the multiplier z_e instead of z.
 */
function unitOfEvaluation(encoding: EncodingPlan, share: number): number {
	const unit = ((encoding.sensitivity * share) / Math.sqrt(METRICS) - 1) / encoding.scale;
	if (unit > 0) return unit;
	throw new AlthingError(
		"privacy.no_headroom",
		"the noise of this job is too small to cover its evaluations; evaluate less often (training.evaluateEveryRounds)",
	);
}

/** The headroom of an encoding whose noise one site adds all by itself: sigma over the sensitivity, at most. */
export function largestSiteNoise(noiseMultiplier: number, length: number): number {
	return largestNoiseMultiplier({
		noiseMultiplier,
		length,
		minimumSurvivors: 1,
		corrupted: 0,
		maximumContributors: 1,
	});
}

/** Records a site's Poisson sample exceeds with probability below 1e-13 (Chernoff), all of them at one site. */
export function largestSample(expected: number): number {
	return expected + 8 * Math.sqrt(expected) + 60;
}

/** Hash of all that participants must agree on beyond the model state: part of every session id. */
export function planHash(specHash: Uint8Array, plan: TrainingPlan, who: Participation): Uint8Array {
	const { length, encoding, parameterSigma, metricSigma, metricUnit, noiseMultiplier, localSteps } = plan;
	return hashFields(
		"althing/training-plan/1",
		specHash,
		encodeCanonical({
			...who,
			length,
			encoding: { ...encoding },
			parameterSigma,
			metricSigma,
			metricUnit,
			noiseMultiplier,
			localSteps,
		}),
	);
}
