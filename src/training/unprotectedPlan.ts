/** The plan of a job without differential privacy: masks alone, and a grid fine enough for small updates. */
import { planEncoding } from "../privacy/fixedPoint.ts";
import type { Participation, PlanOutline, TrainingPlan } from "./plan.ts";

/**
 * Where the parameters carry no shares of noise the grid is made this much finer (as far as the
 * modulus permits), so that small updates are not rounded away. It is also the number of held-out
 * records a site can report before its evaluation is clamped.
 */
export const FINE_GRID = 2 ** 14;

export function planWithoutNoise(
	outline: PlanOutline,
	updateNormBound: number,
	who: Participation,
): TrainingPlan {
	const encoding = planEncoding({
		length: outline.length,
		clippingNorm: updateNormBound / FINE_GRID,
		maximumContributors: who.participants,
		perSiteBound: FINE_GRID,
		modulusBits: 32,
	});
	const noise = {
		noiseMultiplier: 0,
		evaluationMultiplier: 0,
		parameterSigma: 0,
		metricSigma: 0,
		metricUnit: updateNormBound / FINE_GRID,
	};
	return { ...outline, encoding, noise: [noise], noiseMultiplier: 0, withinUnit: 0, localSteps: 0 };
}
