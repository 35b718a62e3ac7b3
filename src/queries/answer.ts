/** From the noisy sum to an answer: post-processing only, so nothing here costs privacy. */
import { AlthingError } from "../../crypto/error.ts";
import { type Estimate, normalEstimate } from "./estimate.ts";
import type { QueryPlan } from "./plan.ts";
import { sumScale } from "./siteVector.ts";
import type { QuerySpec } from "./spec.ts";

export type QueryAnswer =
	| { readonly kind: "count"; readonly count: Estimate }
	| { readonly kind: "sum"; readonly sum: Estimate };

/**
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
	const sigma = (plan.sigmaLocal * Math.sqrt(survivors)) / plan.unitsPerRecord;
	const values = Float64Array.from(sum, (value) => value / plan.unitsPerRecord);
	switch (spec.kind) {
		case "count":
			return { kind: "count", count: normalEstimate(values[0]!, sigma, 0, 0) };
		case "sum": {
			const scale = sumScale(spec);
			const rounding = (survivors / (2 * plan.unitsPerRecord)) * scale;
			return { kind: "sum", sum: normalEstimate(values[0]! * scale, sigma * scale, rounding) };
		}
		default:
			throw new AlthingError("query.unsupported", `No answer to "${spec.kind}" yet.`);
	}
}
