/** The ledger's events as they stand in the journal: plain values, validated when read back. */
import { z } from "zod";
import { privacyEventSchema } from "../accounting/events.ts";

const identifier = z.string().min(1).max(256);

/** Which disjoint part of a data set a charge is for. */
export const partitionSchema = z.enum(["train", "heldOut"]);

const accountSchema = z.strictObject({
	type: z.literal("account"),
	dataset: identifier,
	epsilonLimit: z.number().positive(),
	deltaLimit: z.number().gt(0).lt(1),
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
});

const refundSchema = z.strictObject({
	type: z.literal("refund"),
	chargeId: identifier,
	attempt: z.int().gte(0),
	proof: z.literal("dead"),
});

const finaliseSchema = z.strictObject({ type: z.literal("finalise"), chargeId: identifier });

export const ledgerRecordSchema = z.discriminatedUnion("type", [
	accountSchema,
	chargeSchema,
	refundSchema,
	finaliseSchema,
]);

export type Partition = z.infer<typeof partitionSchema>;
export type AccountRecord = z.infer<typeof accountSchema>;
export type ChargeRecord = z.infer<typeof chargeSchema>;
export type RefundRecord = z.infer<typeof refundSchema>;
export type FinaliseRecord = z.infer<typeof finaliseSchema>;
export type LedgerRecord = z.infer<typeof ledgerRecordSchema>;
