/** A query answered by one site on its own records, with noise that nobody else must be trusted for. */
import { type PrivacyEvent, selfComposed } from "../privacy/accounting/events.ts";
import { latticeSlack } from "../privacy/integerNoise.ts";
import { fillDiscreteLaplace } from "../privacy/samplers/discreteLaplace.ts";
import { sampleExactGaussian } from "../privacy/samplers/exactGaussian.ts";
import { RandomWords } from "../privacy/samplers/randomWords.ts";
import { answerFrom, type QueryAnswer, releaseQuery } from "./answer.ts";
import { laplaceLaw } from "./estimate.ts";
import { layoutOf, planQuery } from "./plan.ts";
import { type Queried, querySiteVector } from "./siteVector.ts";
import type { QuerySpec } from "./spec.ts";

/** What an answer by one site costs and how it will be made; public, and known before a record is read. */
export interface LocalPlan {
	readonly mechanism: "discrete Laplace" | "discrete Gaussian";
	readonly event: PrivacyEvent;
	/**
	 * Of the noise to the law the event charges: with an epsilon from the event, (1 + e^epsilon)
	 * times it is charged to delta beside it.
	 */
	readonly totalVariationDistance: number;
	/** Charge the event before this is called. @throws AlthingError `query.*`, of columns alone */
	answer(records: Queried, words?: RandomWords): QueryAnswer;
}

/** Who takes part when a site answers alone. */
const ALONE = { participants: 1, corruption: 0, minimumSurvivors: 1 };
/** Units for a value that need not be whole: its rounding is below 2^-10 of what a record can add. */
const VALUE_UNITS = 2 ** 10;

/**
 * Pure epsilon (no delta): discrete Laplace noise of scale touched / epsilon records on every
 * coordinate, charged as the `touched` discrete Laplace mechanisms a record takes part in. With a
 * delta or a noise multiplier: the plan of a federation of one, Gaussian noise, exactly sampled.
 * @throws AlthingError `privacy.no_headroom`, `privacy.unreachable_target`
 */
export function planLocally(spec: QuerySpec): LocalPlan {
	const { privacy } = spec;
	if ("noiseMultiplier" in privacy || privacy.delta !== undefined) return gaussianPlan(spec);
	return laplacePlan(spec, privacy.epsilon);
}

function gaussianPlan(spec: QuerySpec): LocalPlan {
	const plan = planQuery(spec, ALONE);
	return {
		mechanism: "discrete Gaussian",
		event: plan.event,
		totalVariationDistance: latticeSlack({ length: plan.length }),
		answer: (records, words = new RandomWords()) => {
			const sum = querySiteVector(records, spec, plan);
			for (let i = 0; i < sum.length; i++) sum[i]! += sampleExactGaussian(plan.sigmaLocal, words);
			return releaseQuery(spec, plan, sum, 1);
		},
	};
}

function laplacePlan(spec: QuerySpec, epsilon: number): LocalPlan {
	const { length, touched } = layoutOf(spec);
	const counts = spec.kind !== "sum" && spec.kind !== "mean" && spec.kind !== "variance";
	// Half of the 32-bit range for the records, half for the noise.
	const room = 2 ** Math.floor(Math.log2(2 ** 30 / spec.maximumRecordsPerSite));
	const units = counts ? 1 : Math.min(VALUE_UNITS, room);
	// Upwards over the rounding of the quotient.
	const scale = ((units * touched) / epsilon) * (1 + 2 ** -51);
	const single: PrivacyEvent = { kind: "discreteLaplace", scale, sensitivity: units };
	return {
		mechanism: "discrete Laplace",
		event: touched === 1 ? single : selfComposed(single, touched),
		totalVariationDistance: 0,
		answer: (records, words = new RandomWords()) => {
			const noise = new Float64Array(length);
			fillDiscreteLaplace(noise, scale, words);
			const encoding = { coordinateBound: units * spec.maximumRecordsPerSite };
			const vector = querySiteVector(records, spec, { length, unitsPerRecord: units, encoding });
			const values = noise.map((drawn, i) => (vector[i]! + drawn) / units);
			return answerFrom(spec, laplaceLaw(scale, units, counts ? 0 : 1 / (2 * units)), values);
		},
	};
}
