/** Methods about tuning a job's settings on this organization's own records. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { jsonObject, tuningView } from "../schemas.ts";

export const tuningMethods = [
	defineMethod({
		name: "tuning.start",
		summary:
			"Try settings of a job on this organization's own records, a secret number of times; charged whole before the first trial",
		roles: ["data_scientist"],
		params: z.strictObject({ spec: jsonObject, tuning: jsonObject }),
		result: tuningView,
		errors: [
			"job.invalid",
			"tuning.unsupported",
			"tuning.unreachable_target",
			"data.not_found",
			"budget.exceeded",
		],
		handler: (context, params) => context.services.tuning.start(params, context),
	}),
	defineMethod({
		name: "tuning.show",
		summary: "How a tuning stands, and the settings it chose",
		roles: ["data_scientist"],
		params: z.strictObject({ tuning: z.string() }),
		result: tuningView,
		errors: ["tuning.not_found"],
		handler: (context, params) => context.services.tuning.show(params),
	}),
] as const;
