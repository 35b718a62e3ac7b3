/** The shapes of privacy budgets on the admin RPC; see schemas.ts. */
import { z } from "zod";
import {
	accountKindSchema,
	childrenSchema,
	compositionSchema,
	partitionSchema,
} from "../../src/privacy/budget/records.ts";

const time = z.iso.datetime();
const count = z.int().nonnegative();
const epsilon = z.number().positive().finite();
const delta = z.number().gt(0).lt(1);
/** A figure that may be beyond every bound: then it is left out. */
const stated = z.number().nonnegative().optional();

/** A data set's name, a job's id, or a name given when the account was opened. */
export const accountName = z
	.string()
	.regex(
		/^[a-zA-Z0-9][a-zA-Z0-9._/-]{0,199}$/,
		"must be 1-200 of letters, digits and . _ - / and begin with a letter or digit",
	);
export const analystName = z.string().min(1).max(256);

export const budgetAccount = z.object({
	account: z.string(),
	kind: accountKindSchema,
	parent: z.string().optional(),
	/** Limits. */
	epsilon,
	delta,
	composition: compositionSchema,
	children: childrenSchema,
	/** Spent in the present period, as enforced; absent where no finite figure is proven. */
	epsilonSpent: stated,
	/** How it is proven: `rdp-filter` holds whatever was chosen from earlier outputs. */
	method: z.string(),
	epsilonDelegated: z.number().nonnegative(),
	epsilonRemaining: z.number().nonnegative(),
	/** Over all periods: no renewal resets it. */
	epsilonLifetime: stated,
	period: z.object({ number: count, startedAt: time, endsAt: time.optional() }),
	delegated: z.boolean(),
	frozen: z.string().optional(),
	expiresAt: time.optional(),
	analysts: z.array(z.object({ analyst: z.string(), epsilon, epsilonSpent: stated })),
	openedAt: time,
});

export const budget = budgetAccount.extend({
	/** The account's name. */
	dataset: z.string(),
	/** Spent in the period if all its parameters were fixed in advance; absent unless one account was asked for. */
	epsilonPlanned: stated,
	chargeCount: count,
	/** The latest thousand, oldest first; reports cover all. */
	charges: z.array(
		z.object({
			at: time,
			job: z.string(),
			round: count.optional(),
			mechanism: z.string(),
			partition: partitionSchema,
			state: z.enum(["released", "refunded", "held"]),
			analyst: z.string().optional(),
			/** Total spent at the budget's delta once this charge was made. */
			epsilonAfter: stated,
		}),
	),
	/** Decisions about the account, oldest first; absent unless one account was asked for. */
	changes: z.array(z.object({ at: time, by: z.string(), change: z.string() })).optional(),
});

export const budgetLimits = z.strictObject({ dataset: accountName, epsilon, delta });

export const budgetOpening = z.strictObject({
	account: accountName,
	kind: accountKindSchema,
	parent: accountName.optional(),
	epsilon,
	delta,
	composition: compositionSchema.default("adaptive"),
	children: childrenSchema.default("sequential"),
	expiresAt: time.optional(),
	renewEveryDays: z.int().min(1).max(36_525).optional(),
});

export const budgetTransfer = z.strictObject({
	from: accountName,
	to: accountName,
	epsilon,
	delta: z.number().gte(0).lt(1).default(0),
});

export const budgetReportQuery = z.strictObject({
	account: accountName.optional(),
	job: z.string().min(1).max(256).optional(),
	mechanism: z.string().min(1).max(64).optional(),
	since: time.optional(),
	until: time.optional(),
});

export const budgetReport = z.object({
	rows: z.array(
		z.object({
			dataset: z.string(),
			job: z.string(),
			mechanism: z.string(),
			partition: partitionSchema,
			charges: count,
			released: count,
			held: count,
			refunded: count,
			firstAt: time,
			lastAt: time,
			/** Of these charges alone, composed as planned; they do not add up over rows. */
			epsilon: stated,
			method: z.string(),
			/** The delta that epsilon is stated at. */
			delta,
			executions: count,
			/** Summed over the executions. */
			durationMs: z.number().nonnegative(),
			/** Utility metrics of the latest execution. */
			metrics: z.record(z.string(), z.unknown()),
		}),
	),
	/** Of the data sets in the rows, over their whole present period: the guarantee, and what a plan fixed in advance would state. */
	totals: z.array(
		z.object({
			dataset: z.string(),
			epsilonSpent: stated,
			method: z.string(),
			epsilonPlanned: stated,
			delta,
		}),
	),
});

export const budgetAudit = z.object({
	charges: z.object({ total: count, released: count, refunded: count, wasted: count, open: count }),
	releases: count,
	deadAttempts: count,
	executions: count,
	differences: z.array(
		z.object({
			code: z.string(),
			message: z.string(),
			jobId: z.string().optional(),
			round: count.optional(),
			chargeId: z.string().optional(),
		}),
	),
	overdrawn: z.array(z.string()),
});
