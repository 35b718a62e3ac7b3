/** The one round of a query job: a site's noised integers, and the answer that their sum gives. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { fromRing, toRing } from "../privacy/fixedPoint.ts";
import { tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import { type QueryAnswer, releaseQuery } from "../queries/answer.ts";
import type { QueryPlan } from "../queries/plan.ts";
import { type Queried, querySiteVector } from "../queries/siteVector.ts";
import type { QuerySpec } from "../queries/spec.ts";

const stateSchema = z.strictObject({ answer: z.string().nullable() });

/** The common state of a query job before its round. */
export const UNANSWERED = encodeCanonical({ answer: null });

/**
 * A site's contribution mod 2^modulusBits: exact integers plus this site's share of the noise.
 * The un-noised integers exist nowhere else.
 * @throws AlthingError `query.*` when the records do not have the columns asked for
 */
export function contributeToQuery(
	records: Queried,
	spec: QuerySpec,
	plan: QueryPlan,
): { readonly vector: Uint32Array; readonly samplerDistance: number } {
	const sampler = tableGaussian(plan.sigmaLocal);
	const values = querySiteVector(records, spec, plan);
	const noise = new Int32Array(values.length);
	sampler.fill(noise);
	for (let i = 0; i < values.length; i++) values[i]! += noise[i]!;
	return {
		vector: toRing(values, plan.encoding.modulusBits),
		samplerDistance: sampler.totalVariationDistance,
	};
}

/** The state after the round: the answer, which every participant computes bit for bit alike. */
export function answerState(
	spec: QuerySpec,
	plan: QueryPlan,
	sum: Uint32Array,
	survivors: number,
): Uint8Array {
	const answer = releaseQuery(spec, plan, fromRing(sum, plan.encoding.modulusBits), survivors);
	return encodeCanonical({ answer: JSON.stringify(answer) });
}

/**
 * The answer in a state; undefined before the round.
 * @throws AlthingError `query.bad_state` for bytes that are no such state
 */
export function answerIn(state: Uint8Array): QueryAnswer | undefined {
	try {
		const { answer } = stateSchema.parse(decodeCanonical(state));
		return answer === null ? undefined : (JSON.parse(answer) as QueryAnswer);
	} catch (cause) {
		throw new AlthingError(
			"query.bad_state",
			"the stored answer is damaged; fetch it again from a peer",
			{},
			{ cause },
		);
	}
}
