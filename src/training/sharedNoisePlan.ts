/** The plan of a job whose noise is added in shares under the masks: for records, for organizations, or correlated. */
import { AlthingError } from "../../crypto/error.ts";
import { ROUNDING_TAIL } from "../compression/stochasticRounding.ts";
import { calibrate, calibrateNoiseMultiplier, roundEvent } from "../privacy/accounting/calibration.ts";
import { composed, selfComposed } from "../privacy/accounting/events.ts";
import { cycleOf, participationReach } from "../privacy/correlatedNoise/strategy.ts";
import { type EncodingPlan, type EncodingRequest, planEncoding } from "../privacy/fixedPoint.ts";
import { largestNoiseMultiplier, planNoiseShares } from "../privacy/noiseShares.ts";
import { accountedDelta, DELTA_RESERVE } from "../privacy/slack.ts";
import { planAllocation } from "./adaptiveNoise.ts";
import { rangeOfCoordinates } from "./compressionPlan.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { SHARED_EVALUATION } from "./lossReports.ts";
import { type ScheduledLevel, scheduledLevels } from "./noiseSchedule.ts";
import { laidOut, type Participation, type PlanOutline, type RoundNoise, type TrainingPlan } from "./plan.ts";
import type { SharedNoise } from "./privacyChoice.ts";
import { reachOfRecord, SAMPLE_TAIL } from "./recordReach.ts";

/** z of an evaluation over z of the round's update, with unit client: both tell about the same organization. */
const CLIENT_EVALUATION_RATIO = 2;

/** Records whose gradients a site's encoded sum has room for, however small the batch. */
const LEAST_SITE_BATCH = 16;

/** A level of the schedule, with what the accountant asks for it. */
type Level = Pick<RoundNoise, "noiseMultiplier" | "evaluationMultiplier">;

export function planSharedNoise(
	outline: PlanOutline,
	privacy: SharedNoise,
	{ training }: ResolvedJobSpec,
	who: Participation,
): TrainingPlan {
	const { noiseSchedule: kind, noiseRatio: ratio = 1 } = privacy;
	const allocation = kind === "adaptive" ? planAllocation(privacy, training.rounds) : undefined;
	const levels =
		kind === "adaptive"
			? allocatedLevels(privacy, allocation!.multipliers, outline)
			: scheduledNoise(privacy, scheduledLevels({ kind, ratio }, training.rounds), outline, training);
	const multipliers = levels.map(({ noiseMultiplier }) => noiseMultiplier);
	const batch = privacy.unit === "client" ? who.participants : (training.expectedBatch ?? 1);
	const withinUnit = privacy.clipping === "adaptive" ? unitOfCount(Math.min(...multipliers), batch) : 0;
	if (outline.compression !== undefined) requireRoomInDelta(privacy.delta, training.rounds);
	const reach = reachOf(privacy, outline, batch, withinUnit);
	const counts = {
		minimumSurvivors: who.minimumSurvivors,
		corrupted: who.corruption,
		maximumContributors: who.participants,
	};
	const encodingFor = (length: number, perSiteBound: number): EncodingPlan =>
		planEncoding({
			length,
			...reach,
			perSiteBound,
			rounding: outline.compression === undefined ? "nearest" : "random",
			maximumContributors: who.participants,
			largestNoiseMultiplier: largestNoiseMultiplier({
				...counts,
				noiseMultiplier: Math.max(...multipliers),
				length,
			}),
		});
	const bounds = {
		figures: reach.perSiteBound,
		update: updateBound(outline, reach.perSiteBound, batch / who.minimumSurvivors),
	};
	const { encoding, ...plan } = smallestVector(outline, bounds, encodingFor);
	const noise = levels.map((level): RoundNoise => {
		const { noiseMultiplier, evaluationMultiplier } = level;
		const { sigmaLocal } = planNoiseShares({ ...counts, noiseMultiplier, sensitivity: encoding.sensitivity });
		const share = Math.min(1, noiseMultiplier / evaluationMultiplier);
		return {
			...level,
			parameterSigma: sigmaLocal,
			metricSigma: sigmaLocal,
			metricUnit: unitOfEvaluation(encoding, share, plan.layout.weight - plan.layout.metrics),
		};
	});
	return {
		...plan,
		encoding,
		noise,
		noiseMultiplier: noise[0]!.noiseMultiplier,
		withinUnit,
		localSteps: 0,
		...(allocation === undefined ? {} : { allocation: { prices: allocation.prices } }),
	};
}

/** What rounding at random, and tails of samples, are charged must fit what is set aside of delta. */
function requireRoomInDelta(delta: number, rounds: number): void {
	const most = Math.floor((DELTA_RESERVE * delta) / (SAMPLE_TAIL + ROUNDING_TAIL));
	if (rounds <= most) return;
	throw new AlthingError(
		"job.invalid",
		`compression at privacy.delta ${delta} is for at most ${most} training.rounds, not ${rounds}: each is charged the probability that rounding at random moves a vector too far; allow a larger delta, or leave compression out`,
		{ rounds, most },
	);
}

/** Most copies of a figure that are tried. */
const MOST_COPIES = 4096;

/**
 * The layout and encoding of the fewest bits. Without compression one coordinate a figure. A rotated
 * update needs a small range of its coordinates; the figures are then split into as many copies as pay.
 * @param bounds largest |coordinate| of a site's vector, in clipping norms: of one copy of a figure, of the update
 */
function smallestVector(
	outline: PlanOutline,
	bounds: { readonly figures: number; readonly update: number },
	encodingFor: (length: number, perSiteBound: number) => EncodingPlan,
): ReturnType<typeof laidOut> & Pick<TrainingPlan, "encoding"> {
	let best: (ReturnType<typeof laidOut> & Pick<TrainingPlan, "encoding">) | undefined;
	for (let copies = 1; copies <= MOST_COPIES; copies *= 4) {
		const plan = laidOut(outline, { kind: "copies", copies });
		const figures = bounds.figures / Math.sqrt(copies);
		const bound = Math.max(bounds.update, figures);
		const encoding = encodingFor(plan.length, bound);
		const size = encoding.modulusBits * plan.length;
		if (best === undefined || size < best.encoding.modulusBits * best.length) best = { ...plan, encoding };
		if (figures <= bounds.update) break;
	}
	return best!;
}

/**
 * Largest |coordinate| of an update, in clipping norms. Of a rotated one seven standard deviations, for a
 * site with twice its even share of a batch whose gradients all point the same way; a site with more,
 * or with gradients less alike, keeps fewer of them.
 * @param share of a batch, in records, that each site has on average where as few as may take part
 */
function updateBound({ compression }: PlanOutline, perSiteBound: number, share: number): number {
	if (compression === undefined || !compression.rotated) return perSiteBound;
	const norm = Math.min(perSiteBound, Math.max(LEAST_SITE_BATCH, 2 * share));
	return norm * rangeOfCoordinates(compression);
}

function scheduledNoise(
	privacy: SharedNoise,
	schedule: readonly ScheduledLevel[],
	outline: PlanOutline,
	{ rounds, evaluateEveryRounds }: ResolvedJobSpec["training"],
): Level[] {
	return privacy.unit === "client"
		? clientLevels(privacy, schedule, evaluateEveryRounds)
		: recordLevels(privacy, schedule, outline, rounds);
}

/** Adaptive noise: evaluations tell about other records, at a multiplier that stays the same. */
function allocatedLevels(
	{ epsilon, delta }: SharedNoise,
	multipliers: readonly number[],
	{ evaluations }: PlanOutline,
): Level[] {
	const evaluationMultiplier = calibrateNoiseMultiplier({
		epsilon,
		delta: accountedDelta(delta),
		samplingProbability: 1,
		steps: evaluations,
	});
	return multipliers.map((noiseMultiplier) => ({ noiseMultiplier, evaluationMultiplier }));
}

/**
 * Unit record: training and held-out records are disjoint, so each part has the whole epsilon.
 * With correlated noise the update's multiplier is that of a cycle: one participation of a record.
 */
function recordLevels(
	privacy: SharedNoise,
	schedule: readonly ScheduledLevel[],
	{ correlation, evaluations, report }: PlanOutline,
	rounds: number,
): Level[] {
	const target = { epsilon: privacy.epsilon, delta: accountedDelta(privacy.delta) };
	const alone = calibrateNoiseMultiplier({ ...target, samplingProbability: 1, steps: evaluations });
	const evaluationMultiplier = report === undefined ? alone : alone * SHARED_EVALUATION;
	if (correlation !== undefined) {
		const steps = cycleOf(correlation, rounds - 1) + 1;
		const noiseMultiplier = calibrateNoiseMultiplier({ ...target, samplingProbability: 1, steps });
		return [{ noiseMultiplier, evaluationMultiplier }];
	}
	const q = privacy.samplingRate ?? 1;
	const first = calibrate({
		...target,
		eventOf: (noiseMultiplier) =>
			composed(
				...schedule.map((level) =>
					selfComposed(roundEvent(q, noiseMultiplier * level.weight), level.rounds.length),
				),
			),
	});
	return schedule.map(({ weight }) => ({ noiseMultiplier: first * weight, evaluationMultiplier }));
}

/**
 * Unit client: updates and evaluations tell about the same organization and compose. Nobody is
 * sampled, so Gaussians compose to one whose 1 / z^2 is the sum of theirs.
 */
function clientLevels(
	privacy: SharedNoise,
	schedule: readonly ScheduledLevel[],
	evaluateEveryRounds: number,
): Level[] {
	const whole = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta: accountedDelta(privacy.delta),
		samplingProbability: 1,
		steps: 1,
	});
	let cost = 0;
	for (const { weight, rounds } of schedule) {
		const evaluations = rounds.filter((round) => round % evaluateEveryRounds === 0).length;
		cost += (rounds.length + evaluations / CLIENT_EVALUATION_RATIO ** 2) / (weight * weight);
	}
	// The last factor covers floating-point rounding, upwards.
	const first = whole * Math.sqrt(cost) * (1 + 2 ** -40);
	return schedule.map(({ weight }) => ({
		noiseMultiplier: first * weight,
		evaluationMultiplier: first * weight * CLIENT_EVALUATION_RATIO,
	}));
}

/** What one record, or organization, adds to the encoded vectors, and how large they get. */
function reachOf(
	privacy: SharedNoise,
	{ correlation, compression }: Pick<PlanOutline, "correlation" | "compression">,
	batch: number,
	withinUnit: number,
): Pick<EncodingRequest, "clippingNorm" | "perSiteBound" | "roundings"> {
	// Adaptive clipping: the update is in units of the norm, and half a count comes with it.
	const norm =
		privacy.clipping === "adaptive" ? Math.sqrt(1 + (withinUnit * withinUnit) / 4) : privacy.clippingNorm;
	// A whole update is clipped in double precision: its norm is off by less than a float32's rounding.
	if (privacy.unit === "client") return { clippingNorm: norm * (1 + 2 ** -24), perSiteBound: 1 };
	const perSiteBound = Math.max(LEAST_SITE_BATCH, batch / 2);
	const clippingNorm = reachOfRecord(norm, batch, compression?.rotated === true);
	if (correlation === undefined) return { clippingNorm, perSiteBound };
	const { columnNorm, rowSum, releases } = participationReach(correlation);
	return {
		clippingNorm: clippingNorm * columnNorm,
		perSiteBound: (perSiteBound * rowSum) / columnNorm,
		roundings: releases,
	};
}

/**
 * Value of an example in the count of gradients within the clipping norm, in clipping norms. The
 * count's noise is then a twentieth of the batch, as Andrew et al. 2021 recommend, and the pair of
 * update and count, one vector of sensitivity sqrt(1 + unit^2 / 4), costs one z.
 */
function unitOfCount(noiseMultiplier: number, batch: number): number {
	return Math.min(1, (20 * noiseMultiplier) / batch);
}

/**
 * Real value of one held-out record per evaluation coordinate, such that the update's noise is
 * enough for it: the record moves the three coordinates, or with copies more of them, k, by at most
 * s u sqrt(k) + sqrt(k) integer units (rounding included), which must stay within `share` of the
 * sensitivity, where share = z / z_e as the evaluation needs the multiplier z_e instead of z.
 */
function unitOfEvaluation(encoding: EncodingPlan, share: number, coordinates: number): number {
	const unit = ((encoding.sensitivity * share) / Math.sqrt(coordinates) - 1) / encoding.scale;
	if (unit > 0) return unit;
	throw new AlthingError(
		"privacy.no_headroom",
		"the noise of this job is too small to cover its evaluations; evaluate less often (training.evaluateEveryRounds)",
	);
}
