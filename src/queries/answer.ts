/** From the noisy sum to an answer: post-processing only, so nothing here costs privacy. */
import { AlthingError } from "../../crypto/error.ts";
import { countEstimate, type Estimate, gaussianLaw, linearEstimate, type NoiseLaw } from "./estimate.ts";
import { type MomentAnswer, meanAnswer, varianceAnswer } from "./moments.ts";
import type { QueryPlan } from "./plan.ts";
import { type QuantilesAnswer, quantilesAnswer } from "./quantiles.ts";
import { sumScale } from "./siteVector.ts";
import type { QuerySpec } from "./spec.ts";
import {
	type ContingencyAnswer,
	contingencyAnswer,
	type HistogramAnswer,
	histogramAnswer,
	type TopKAnswer,
	topKAnswer,
} from "./tables.ts";

export type QueryAnswer =
	| { readonly kind: "count"; readonly count: Estimate }
	| { readonly kind: "sum"; readonly sum: Estimate }
	| MomentAnswer<"mean">
	| MomentAnswer<"variance">
	| HistogramAnswer
	| ContingencyAnswer
	| QuantilesAnswer
	| TopKAnswer;

/**
 * The answer to a query across sites.
 * @param sum of the survivors' noised vectors, decoded to signed integers
 * @param survivors how many sites' shares of noise it carries
 * @throws AlthingError `query.wrong_length`
 */
export function releaseQuery(
	spec: QuerySpec,
	plan: QueryPlan,
	sum: Int32Array,
	survivors: number,
): QueryAnswer {
	if (sum.length !== plan.length) {
		throw new AlthingError(
			"query.wrong_length",
			`The sum has ${sum.length} coordinates, the query's plan ${plan.length}.`,
		);
	}
	const units = plan.unitsPerRecord;
	const law = gaussianLaw((plan.sigmaLocal * Math.sqrt(survivors)) / units, survivors / (2 * units));
	return answerFrom(
		spec,
		law,
		Float64Array.from(sum, (value) => value / units),
	);
}

/** @param values the noisy vector in records: what one record can add to a coordinate is 1 */
export function answerFrom(spec: QuerySpec, law: NoiseLaw, values: Float64Array): QueryAnswer {
	switch (spec.kind) {
		case "count":
			return { kind: "count", count: countEstimate(law, values[0]!) };
		case "sum": {
			const scale = sumScale(spec);
			const estimate = linearEstimate(law, {
				value: values[0]! * scale,
				standardError: law.standardDeviation * scale,
				rounding: law.rounding * scale,
			});
			return { kind: "sum", sum: estimate };
		}
		case "mean":
			return meanAnswer(spec, law, [values[0]!, values[1]!]);
		case "variance":
			return varianceAnswer(spec, law, [values[0]!, values[1]!, values[2]!]);
		case "histogram":
			return histogramAnswer(spec, law, values);
		case "contingencyTable":
			return contingencyAnswer(spec, law, values);
		case "topK":
			return topKAnswer(spec, law, values);
		case "quantiles":
			return quantilesAnswer(spec, law, values);
	}
}
