/**
 * The ledger's events as they stand in the journal: plain values, validated when read back.
 * Journals are durable: a shape that was ever written stays readable here.
 */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import { privacyEventSchema } from "../accounting/events.ts";

const identifier = z.string().min(1).max(256);
const epsilon = z.number().positive();
const delta = z.number().gt(0).lt(1);
const time = z.iso.datetime();

/** Which disjoint part of a data set a charge is for. */
export const partitionSchema = z.enum(["train", "heldOut"]);
/** Both of them: what reads all records of a data set is charged to each, for every record is in one. */
export const PARTITIONS = partitionSchema.options;

/**
 * What an account is for. Data sets are what mechanisms touch; a job's account holds the charges
 * of one job on one data set; the others group what is below them, as deep as wanted.
 */
export const accountKindSchema = z.enum(["federation", "organization", "unit", "dataset", "job"]);

/**
 * How epsilon is proven. `adaptive`: parameters may be chosen from earlier outputs (a filter).
 * `planned`: all parameters were fixed before the data was touched (tighter).
 */
export const compositionSchema = z.enum(["adaptive", "planned"]);

/** How an account composes what is below it: `disjoint` only where no person is in two of its children. */
export const childrenSchema = z.enum(["sequential", "disjoint"]);

/** The only opening there was before accounts formed a tree; written no more. */
const accountSchema = z.strictObject({
	type: z.literal("account"),
	dataset: identifier,
	epsilonLimit: epsilon,
	deltaLimit: delta,
});

const openSchema = z.strictObject({
	type: z.literal("open"),
	/** Of a job's account: the job's id. */
	account: identifier,
	kind: accountKindSchema,
	parent: identifier.optional(),
	epsilonLimit: epsilon,
	deltaLimit: delta,
	composition: compositionSchema,
	children: childrenSchema,
	expiresAt: time.optional(),
	/** Length of a period after which the account is renewed at its next charge. */
	renewEveryDays: z.int().min(1).max(36_525).optional(),
});

const limitsSchema = z.strictObject({
	type: z.literal("limits"),
	account: identifier,
	epsilonLimit: epsilon,
	deltaLimit: delta,
});

const placeSchema = z.strictObject({ type: z.literal("place"), account: identifier, parent: identifier });

/** The parent sets this much of its own limits aside for the account, whose limits it becomes. */
const delegateSchema = z.strictObject({
	type: z.literal("delegate"),
	account: identifier,
	epsilon,
	delta,
});

const transferSchema = z.strictObject({
	type: z.literal("transfer"),
	from: identifier,
	to: identifier,
	epsilon,
	/** 0 leaves the deltas as they are. */
	delta: z.number().gte(0).lt(1),
});

const freezeSchema = z.strictObject({
	type: z.literal("freeze"),
	account: identifier,
	reason: z.string().max(1000),
});

const unfreezeSchema = z.strictObject({ type: z.literal("unfreeze"), account: identifier });

const expireSchema = z.strictObject({ type: z.literal("expire"), account: identifier, expiresAt: time });

const renewSchema = z.strictObject({ type: z.literal("renew"), account: identifier });

const analystSchema = z.strictObject({
	type: z.literal("analyst"),
	account: identifier,
	analyst: identifier,
	/** Absent: the limit is lifted. */
	epsilonLimit: epsilon.optional(),
});

const chargeSchema = z.strictObject({
	type: z.literal("charge"),
	dataset: identifier,
	partition: partitionSchema,
	jobId: identifier,
	round: z.int().gte(0),
	chargeId: identifier,
	attempt: z.int().gte(0),
	event: privacyEventSchema,
	extraDelta: z.number().gte(0).lt(1),
	/** On whose behalf: the job's submitter or the token's name. */
	analyst: identifier.optional(),
});

const refundSchema = z.strictObject({
	type: z.literal("refund"),
	chargeId: identifier,
	attempt: z.int().gte(0),
	proof: z.literal("dead"),
});

const finaliseSchema = z.strictObject({ type: z.literal("finalise"), chargeId: identifier });

const recordSchema = z.discriminatedUnion("type", [
	accountSchema,
	openSchema,
	limitsSchema,
	placeSchema,
	delegateSchema,
	transferSchema,
	freezeSchema,
	unfreezeSchema,
	expireSchema,
	renewSchema,
	analystSchema,
	chargeSchema,
	refundSchema,
	finaliseSchema,
]);

/** A record with when it was made and by whom, as the journal keeps it. */
const entrySchema = z.strictObject({
	at: time,
	/** Entries written before changes had an author have none. */
	by: z.string().max(256).default("unknown"),
	record: recordSchema,
	/** Of a charge: the data set's epsilon, as stated when it was made. For people; never read back as truth. */
	epsilonAfter: z.number().optional(),
});

export type Partition = z.infer<typeof partitionSchema>;
export type AccountKind = z.infer<typeof accountKindSchema>;
export type CompositionRule = z.infer<typeof compositionSchema>;
export type ChildrenRule = z.infer<typeof childrenSchema>;
export type OpenRecord = z.infer<typeof openSchema>;
export type ChargeRecord = z.infer<typeof chargeSchema>;
export type LedgerRecord = z.infer<typeof recordSchema>;
export type LedgerEntry = z.infer<typeof entrySchema>;

/** When and by whom a record is made. */
export type Stamp = Pick<LedgerEntry, "at" | "by">;

/** A record with its stamp, checked. @throws AlthingError `budget.bad_record` naming what is wrong */
export function entryOf(stamp: Stamp, record: unknown): LedgerEntry {
	return parseEntry({ ...stamp, record });
}

/** @throws AlthingError `budget.bad_record` naming what is wrong */
export function parseEntry(input: unknown): LedgerEntry {
	const result = entrySchema.safeParse(input);
	if (result.success) return result.data;
	const issue = result.error.issues[0];
	throw new AlthingError(
		"budget.bad_record",
		`A privacy ledger record is not valid at "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "unknown shape"}.`,
		{},
		{ cause: result.error },
	);
}
