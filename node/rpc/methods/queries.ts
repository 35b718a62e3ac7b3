/** Methods about queries of this organization's own records; a federation's query is a job. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { jsonObject, localAnswer, shortName } from "../schemas.ts";

export const queryMethods = [
	defineMethod({
		name: "query.ask",
		summary: "Ask this organization's own records; charged to the data set's budget, answered with noise",
		roles: ["data_scientist"],
		params: z.strictObject({ dataset: shortName, query: jsonObject }),
		result: localAnswer,
		errors: ["data.not_found", "query.invalid", "budget.exceeded"],
		handler: (context, params) => context.services.queries.ask(params, context),
	}),
] as const;
