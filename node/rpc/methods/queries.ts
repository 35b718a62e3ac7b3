/** Methods about queries of this organization's own records; a federation's query is a job. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { jsonObject, localAnswer, localRelease, shortName } from "../schemas.ts";

export const queryMethods = [
	defineMethod({
		name: "query.ask",
		summary: "Ask this organization's own records; charged to the data set's budget, answered with noise",
		roles: ["data_scientist"],
		params: z.strictObject({ dataset: shortName, query: jsonObject }),
		result: localAnswer,
		errors: [
			"data.not_found",
			"query.invalid",
			"query.unknown_column",
			"query.not_numeric",
			"query.not_categorical",
			"query.delta_too_small",
			"budget.exceeded",
		],
		handler: (context, params) => context.services.queries.ask(params, context),
	}),
	defineMethod({
		name: "query.release",
		summary: "Release answers to several queries of this organization's records by the exponential mechanism",
		roles: ["data_scientist"],
		params: z.strictObject({ dataset: shortName, release: jsonObject }),
		result: localRelease,
		errors: [
			"data.not_found",
			"query.invalid",
			"query.unknown_column",
			"query.not_numeric",
			"query.not_categorical",
			"query.bad_domain",
			"budget.exceeded",
		],
		handler: (context, params) => context.services.queries.release(params, context),
	}),
] as const;
