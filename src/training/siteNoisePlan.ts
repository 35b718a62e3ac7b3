/** The plan of a job whose sites add all their noise themselves, in private local steps. */
import { AlthingError } from "../../crypto/error.ts";
import { calibrateNoiseMultiplier } from "../privacy/accounting/calibration.ts";
import { type EncodingPlan, planEncoding } from "../privacy/fixedPoint.ts";
import { sigmaFor } from "../privacy/integerNoise.ts";
import { largestNoiseMultiplier } from "../privacy/noiseShares.ts";
import { accountedDelta } from "../privacy/slack.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { METRICS, type Participation, type PlanOutline, type TrainingPlan } from "./plan.ts";
import type { PrivacyChoice } from "./privacyChoice.ts";
import { reachOfRecord } from "./recordReach.ts";
import { FINE_GRID, withSiteEncoding } from "./unprotectedPlan.ts";

/** A round that takes longer than this is none. */
const LARGEST_LOCAL_STEPS = 100_000;

type SiteNoise = Extract<PrivacyChoice, { mechanism: "site_gaussian" }>;

/** Updates are private when they leave the local steps; the evaluation's noise is each site's own, too. */
export function planSiteNoise(
	outline: PlanOutline,
	privacy: SiteNoise,
	spec: ResolvedJobSpec,
	who: Participation,
): TrainingPlan {
	const { training, aggregation } = spec;
	const delta = accountedDelta(privacy.delta);
	const { epsilon, samplingRate } = privacy;
	const localSteps = Math.max(1, Math.round(training.localEpochs / samplingRate));
	if (localSteps > LARGEST_LOCAL_STEPS) {
		throw new AlthingError(
			"job.invalid",
			`training.localEpochs / privacy.samplingRate is ${localSteps} steps in each round, more than ${LARGEST_LOCAL_STEPS}`,
			{ localSteps },
		);
	}
	const noiseMultiplier = calibrateNoiseMultiplier({
		epsilon,
		delta,
		samplingProbability: samplingRate,
		steps: training.rounds * localSteps,
	});
	// Held-out records are disjoint from training records, so their own budget runs in parallel.
	const evaluationMultiplier = calibrateNoiseMultiplier({
		epsilon,
		delta,
		samplingProbability: 1,
		steps: outline.evaluations,
	});
	const fineGrid = (length: number): EncodingPlan =>
		planEncoding({
			length,
			clippingNorm: aggregation.updateNormBound / FINE_GRID,
			maximumContributors: who.participants,
			perSiteBound: FINE_GRID,
			largestNoiseMultiplier:
				largestSiteNoise(evaluationMultiplier * Math.sqrt(METRICS), length) * Math.sqrt(who.participants),
			modulusBits: 32,
			finest: true,
		});
	const plan = withSiteEncoding(outline, spec, who, fineGrid);
	const grid = plan.figures.kind === "limbs" ? plan.figures.encoding : plan.encoding;
	const metricUnit = aggregation.updateNormBound / FINE_GRID;
	const noise = {
		noiseMultiplier,
		evaluationMultiplier,
		parameterSigma: 0,
		metricSigma: sigmaFor({
			noiseMultiplier: evaluationMultiplier,
			sensitivity: metricUnit * grid.scale * Math.sqrt(METRICS) + Math.sqrt(METRICS),
		}),
		metricUnit,
	};
	return { ...plan, noise: [noise], noiseMultiplier, withinUnit: 0, localSteps };
}

/** The integer grid on which a site adds the noise of one private local step, and its sigma. */
export function localStepNoise(
	plan: TrainingPlan,
	clippingNorm: number,
	expectedBatch: number,
): { readonly grid: EncodingPlan; readonly sigma: number } {
	const { noiseMultiplier, parameterCount } = plan;
	const grid = planEncoding({
		length: parameterCount,
		clippingNorm: reachOfRecord(clippingNorm, expectedBatch),
		maximumContributors: 1,
		perSiteBound: Math.max(16, expectedBatch),
		largestNoiseMultiplier: largestSiteNoise(noiseMultiplier, parameterCount),
		modulusBits: 32,
	});
	return { grid, sigma: sigmaFor({ noiseMultiplier, sensitivity: grid.sensitivity }) };
}

/** The headroom of an encoding whose noise one site adds all by itself: sigma over the sensitivity, at most. */
function largestSiteNoise(noiseMultiplier: number, length: number): number {
	return largestNoiseMultiplier({
		noiseMultiplier,
		length,
		minimumSurvivors: 1,
		corrupted: 0,
		maximumContributors: 1,
	});
}
