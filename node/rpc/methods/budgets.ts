/** Methods about privacy budgets. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { budget, budgetLimits, shortName } from "../schemas.ts";

export const budgetMethods = [
	defineMethod({
		name: "budget.show",
		summary: "Show the privacy budget of one data set or of all: limits, spent, charges",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: z.strictObject({ dataset: shortName.optional() }),
		result: z.object({ budgets: z.array(budget) }),
		errors: ["budget.not_found"],
		handler: async (context, params) => ({ budgets: await context.services.budgets.show(params, context) }),
	}),
	defineMethod({
		name: "budget.set",
		summary: "Set a data set's limits on epsilon and delta",
		roles: ["privacy_officer"],
		params: budgetLimits,
		result: budget,
		errors: ["data.not_found", "budget.below_spent"],
		handler: (context, params) => context.services.budgets.set(params, context),
	}),
] as const;
