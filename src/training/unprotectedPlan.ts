/** The plan of a job without differential privacy: masks alone, and a grid fine enough for small updates. */
import { type EncodingPlan, planEncoding } from "../privacy/fixedPoint.ts";
import { planLimbs, planQuantization } from "./compressionPlan.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import {
	laidOut,
	METRICS,
	type Participation,
	PLAIN_FIGURES,
	type PlanOutline,
	type TrainingPlan,
} from "./plan.ts";
import { isScreened } from "./robustUpdate.ts";

/**
 * Where the parameters carry no shares of noise the grid is as fine as the modulus permits, so that
 * updates of small sites, which weigh little, are not rounded away. Figures are in this part of the
 * norm bound: the number of held-out records a site can report before its evaluation is clamped.
 */
export const FINE_GRID = 2 ** 14;

export function planWithoutNoise(
	outline: PlanOutline,
	spec: Pick<ResolvedJobSpec, "aggregation" | "compression" | "robustness">,
	who: Participation,
): TrainingPlan {
	const { updateNormBound } = spec.aggregation;
	const noise = {
		noiseMultiplier: 0,
		evaluationMultiplier: 0,
		parameterSigma: 0,
		metricSigma: 0,
		metricUnit: updateNormBound / FINE_GRID,
	};
	const fineGrid = (length: number): EncodingPlan =>
		planEncoding({
			length,
			clippingNorm: updateNormBound / FINE_GRID,
			maximumContributors: who.participants,
			perSiteBound: FINE_GRID,
			modulusBits: 32,
			finest: true,
		});
	return {
		...withSiteEncoding(outline, spec, who, fineGrid),
		noise: [noise],
		noiseMultiplier: 0,
		withinUnit: 0,
		localSteps: 0,
	};
}

/**
 * Layout and encoding where updates carry no shares of noise: one fine grid for all, or updates
 * quantized to the job's bits, and the figures on the fine grid beside them.
 * @param fineGrid for a number of coordinates, modulo 2^32
 */
export function withSiteEncoding(
	outline: PlanOutline,
	spec: Pick<ResolvedJobSpec, "aggregation" | "compression" | "robustness">,
	{ participants }: Participation,
	fineGrid: (length: number) => EncodingPlan,
): ReturnType<typeof laidOut> & Pick<TrainingPlan, "encoding"> {
	const { aggregation, compression: choice } = spec;
	const { compression } = outline;
	if (compression === undefined || choice?.bits === undefined) {
		const plain = laidOut(outline, PLAIN_FIGURES);
		return { ...plain, encoding: fineGrid(plain.length) };
	}
	const { updateNormBound } = aggregation;
	const screened = isScreened(spec);
	const quantized = planQuantization(compression, choice.bits, updateNormBound, participants, screened);
	const figures = planLimbs(fineGrid(METRICS + outline.whole.weights), quantized.modulusBits, participants);
	const plan = laidOut(outline, figures);
	return { ...plan, encoding: { ...quantized, length: plan.length } };
}
