/**
 * Everything that follows from a job's specification and its participants: the model, the
 * layout and encoding of the aggregated vector, and the noise of each share. A pure function, so
 * every organization derives the same plan and nobody can be told a different one (its hash is part
 * of every session id). What a round is charged follows from the plan (charges.ts).
 */
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { type Model, parameterCount } from "../learning/model.ts";
import {
	type CorrelationStrategy,
	correlationStrategy,
	participationReach,
} from "../privacy/correlatedNoise/strategy.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import { type AllocationState, levelIn, type NoiseAllocation } from "./adaptiveNoise.ts";
import { boundedWeightOf } from "./boundedWeight.ts";
import { requireBuckets } from "./bucketedUpdate.ts";
import { publicValuesOf } from "./clearUpdate.ts";
import {
	type CompressionPlan,
	coordinatesOfFigure,
	type FigurePlan,
	hashedCompression,
	planCompression,
} from "./compressionPlan.ts";
import { jobSpecHash, type ResolvedJobSpec } from "./jobSpec.ts";
import { planReports, type ReportPlan } from "./lossReports.ts";
import { modelFor } from "./modelChoice.ts";
import { levelOf } from "./noiseSchedule.ts";
import type { SharedNoise } from "./privacyChoice.ts";
import { requireReputable } from "./reputationUpdate.ts";
import { isScreened, requireScreenable, requireSelectable, SCREENED_ROOM } from "./robustUpdate.ts";
import { planSharedNoise } from "./sharedNoisePlan.ts";
import { type SharedParameters, sharedParametersOf } from "./sharedParameters.ts";
import { planSiteNoise } from "./siteNoisePlan.ts";
import { planWithoutNoise } from "./unprotectedPlan.ts";
import { type UpdateLayout, updateLayoutOf } from "./updateLayout.ts";

export interface Participation {
	/** n: sites that may contribute to one sum. */
	readonly participants: number;
	/** f: how many of those in one opened sum may collude or leave out their noise. */
	readonly corruption: number;
	/** Fewest in one opened sum. */
	readonly minimumSurvivors: number;
	/** Rounds over a tree: cohorts whose sums are opened, each by itself; corruption and survivors are of one cohort. */
	readonly cohorts?: number | undefined;
}

/**
 * The aggregated vector: [ update, or what compression makes of it | gradients within the clipping norm
 * (adaptive clipping alone) | loss, correct, count of held-out records | weights ].
 */
interface VectorLayout {
	/** Coordinates from 0 on that carry the update and, with adaptive clipping, the count, or a bounded weight. */
	readonly update: number;
	/** First of the coordinates of the evaluation: of each of its three figures as the plan says. */
	readonly metrics: number;
	/** First of the coordinates of the weights. */
	readonly weight: number;
}

/** The noise of a round. */
export interface RoundNoise {
	/**
	 * z of what the round, or with correlated noise a cycle, tells about whom the job's unit protects
	 * through the update; 0 without privacy.
	 */
	readonly noiseMultiplier: number;
	/** z of what an evaluation tells. */
	readonly evaluationMultiplier: number;
	/** Standard deviation of each site's share on the update's coordinates, integer units; 0 without shares. */
	readonly parameterSigma: number;
	/** The same on the evaluation's coordinates. */
	readonly metricSigma: number;
	/** Real value of one held-out record, or with unit client of one site, in each coordinate of the evaluation. */
	readonly metricUnit: number;
}

export interface TrainingPlan {
	readonly model: Model;
	/** Of one model; the common state holds one vector of them for each common model. */
	readonly parameterCount: number;
	/** Those that are aggregated. */
	readonly shared: SharedParameters;
	/** Sites that may contribute to one sum. */
	readonly participants: number;
	/** A site's update before compression. */
	readonly whole: UpdateLayout;
	readonly layout: VectorLayout;
	/** Robustness in the clear: numbers that every site shows, beside the vector; the vector has no update then. */
	readonly publicValues?: number | undefined;
	/** Coordinates of the aggregated vector. */
	readonly length: number;
	readonly figures: FigurePlan;
	/** Undefined where updates are sent as they are. */
	readonly compression: CompressionPlan | undefined;
	readonly encoding: EncodingPlan;
	/** By level of the noise schedule; each is for an equal part of the rounds, unless there is an allocation. */
	readonly noise: readonly RoundNoise[];
	/** z of the first round. */
	readonly noiseMultiplier: number;
	/** Each example's loss counts at most this in the evaluation. */
	readonly lossBound: number;
	/**
	 * Adaptive clipping: half of it, up or down, is what an example adds to the count's coordinate; the
	 * update is then in units of the clipping norm. Otherwise 0.
	 */
	readonly withinUnit: number;
	readonly correlation: CorrelationStrategy | undefined;
	/** Adaptive noise: what the levels cost, for deciding between them. */
	readonly allocation?: NoiseAllocation;
	/** Private local steps a round (site_gaussian); otherwise 0. */
	readonly localSteps: number;
	/** Evaluations over the whole job. */
	readonly evaluations: number;
	/** Losses that sites report in public; undefined where they report none. */
	readonly report?: ReportPlan | undefined;
}

/** What the plans of all mechanisms have in common. */
export interface PlanOutline
	extends Pick<
		TrainingPlan,
		| "model"
		| "parameterCount"
		| "shared"
		| "participants"
		| "whole"
		| "compression"
		| "publicValues"
		| "lossBound"
		| "correlation"
		| "evaluations"
		| "report"
	> {
	/** Coordinates that carry the update and, with adaptive clipping, the count. */
	readonly update: number;
}

/** The part of a plan that follows from how the figures are coordinates. */
export function laidOut(
	{ update, ...outline }: PlanOutline,
	figures: FigurePlan,
): Omit<PlanOutline, "update"> & Pick<TrainingPlan, "layout" | "length" | "figures"> {
	const each = coordinatesOfFigure(figures);
	const weight = update + METRICS * each;
	const length = weight + outline.whole.weights * (figures.kind === "limbs" ? each : 1);
	return { ...outline, layout: { update, metrics: update, weight }, length, figures };
}

/** Figures as one coordinate each. */
export const PLAIN_FIGURES: FigurePlan = { kind: "copies", copies: 1 };

export const METRICS = 3;
const LOSS_BOUND = 8;

/** The model that a specification describes, for records of its data description. @throws AlthingError `job.model_mismatch` */
export function modelOf(spec: ResolvedJobSpec): Model {
	return modelFor(spec.model, spec.data.description, spec.data.set);
}

/**
 * @throws AlthingError `job.invalid`, `job.model_mismatch`, `privacy.no_headroom`, `privacy.no_honest_noise`,
 *   `privacy.unreachable_target`: the specification cannot be run with these participants.
 */
export function planTraining(spec: ResolvedJobSpec, who: Participation): TrainingPlan {
	const key = `${toHex(jobSpecHash(spec))}/${who.participants}/${who.corruption}/${who.minimumSurvivors}/${who.cohorts ?? 1}`;
	const known = recentPlans.get(key);
	if (known !== undefined) return known;
	const plan = newPlan(spec, who);
	if (recentPlans.size >= RECENT_PLANS) recentPlans.delete(recentPlans.keys().next().value!);
	recentPlans.set(key, plan);
	return plan;
}

/** Sizing noise can take a second, and a job's plan is asked for again when it is accepted, started, opened. */
const RECENT_PLANS = 16;
const recentPlans = new Map<string, TrainingPlan>();

function newPlan(spec: ResolvedJobSpec, who: Participation): TrainingPlan {
	const model = modelOf(spec);
	const { privacy, training } = spec;
	const shared = sharedParametersOf(model, spec.personalization);
	const whole = updateLayoutOf(spec, shared.count);
	const compression =
		spec.compression === undefined ? undefined : planCompression(spec.compression, whole.length);
	const count = "clipping" in privacy && privacy.clipping === "adaptive" ? 1 : 0;
	const publicValues = publicValuesOf(spec, whole.length, who);
	const weight = boundedWeightOf(spec) === undefined ? 0 : 1;
	const update = publicValues === undefined ? (compression?.values ?? whole.length) + count + weight : 0;
	const outline: PlanOutline = {
		model,
		parameterCount: parameterCount(model),
		shared,
		participants: who.participants,
		whole,
		update,
		compression,
		publicValues,
		lossBound: LOSS_BOUND,
		correlation: privacy.mechanism === "distributed_gaussian" ? correlationOf(privacy, update) : undefined,
		evaluations: Math.ceil(training.rounds / training.evaluateEveryRounds),
		report: planReports(spec),
	};
	requireScreenable(spec, who);
	requireSelectable(spec, who);
	requireReputable(spec, who);
	requireBuckets(spec, who);
	const room = isScreened(spec) ? { ...who, participants: Math.max(who.participants, SCREENED_ROOM) } : who;
	switch (privacy.mechanism) {
		case "none":
			return planWithoutNoise(outline, spec, room);
		case "site_gaussian":
			return planSiteNoise(outline, privacy, spec, room);
		case "distributed_gaussian":
			return planSharedNoise(outline, privacy, spec, who);
	}
}

/** What the past vectors of correlated noise may take, in the certified state and once more at each site. */
const LARGEST_PAST_BYTES = 2 ** 28;

function correlationOf(privacy: SharedNoise, length: number): CorrelationStrategy | undefined {
	const { correlation: kind, minimumSeparation, bands } = privacy;
	if (kind === "none" || minimumSeparation === undefined) return undefined;
	const strategy = correlationStrategy({ kind, minimumSeparation, bands });
	const bytes = Float64Array.BYTES_PER_ELEMENT * length * participationReach(strategy).releases;
	if (bytes > LARGEST_PAST_BYTES) {
		throw new AlthingError(
			"job.invalid",
			`correlated noise keeps ${Math.ceil(bytes / 2 ** 20)} MiB of past sums for this model, more than ${LARGEST_PAST_BYTES / 2 ** 20}: ask for fewer privacy.bands, for correlation tree, or for a smaller model`,
			{ bytes },
		);
	}
	return strategy;
}

/**
 * Which of the plan's levels of noise a round runs at: fixed in the plan, or with adaptive noise as
 * the state says that the round starts from.
 * @param rounds of the whole job
 */
export function noiseLevelOf(
	plan: Pick<TrainingPlan, "noise" | "allocation">,
	round: number,
	rounds: number,
	state: { readonly allocation?: AllocationState },
): number {
	if (plan.allocation === undefined) return levelOf(round, rounds, plan.noise.length);
	if (state.allocation === undefined) {
		throw new AlthingError(
			"training.bad_state",
			"the state of a job with adaptive noise does not say which noise is next; fetch it again from a peer",
		);
	}
	return levelIn(state.allocation, round);
}

/** Parameters in the common state: of all common models together. */
export function commonParameterCount({
	parameterCount,
	whole,
}: Pick<TrainingPlan, "parameterCount" | "whole">): number {
	return whole.clusters * parameterCount;
}

/** Hash of all that participants must agree on beyond the model state: part of every session id. */
export function planHash(specHash: Uint8Array, plan: TrainingPlan, who: Participation): Uint8Array {
	const { length, layout, whole, shared, noise, withinUnit, localSteps } = plan;
	const { allocation, compression, figures, report, publicValues } = plan;
	// Without the probability of a wrap: it comes of an exponential, whose last bit processors may differ in.
	const { wrapProbability: _, ...encoding } = plan.encoding;
	return hashFields(
		"althing/training-plan/4",
		specHash,
		encodeCanonical({
			...who,
			length,
			layout: { ...layout },
			whole: { ...whole },
			shared: shared.ranges.map((range) => [...range]),
			...(compression === undefined ? {} : hashedCompression(compression, figures)),
			...(publicValues === undefined ? {} : { publicValues }),
			encoding,
			noise: noise.map((level) => ({ ...level })),
			withinUnit,
			localSteps,
			...(report === undefined ? {} : { report: { ...report } }),
			...(allocation === undefined ? {} : { prices: [...allocation.prices] }),
		}),
	);
}
