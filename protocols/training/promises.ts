/** What a participant writes durably before it says it: its ballots, and the rounds it has seen certified. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { ballotSchema, deadCertificateSchema, quorumCertificateSchema } from "../certificate/index.ts";
import { bytesUpTo, peerId } from "../wire.ts";
import { roundResultSchema } from "./result.ts";

const promiseSchema = z.discriminatedUnion("kind", [
	/** Our one ballot in a slot (a term; a round's result, then with the content voted for). */
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema, content: roundResultSchema.optional() }),
	/** A promise of an aggregation session. */
	z.strictObject({
		kind: z.literal("session"),
		round: z.int(),
		attempt: z.int(),
		record: bytesUpTo(1024 * 1024),
	}),
	/** Proof that an attempt is over and released nothing: the next one may be joined. */
	z.strictObject({ kind: z.literal("dead"), round: z.int(), certificate: deadCertificateSchema }),
	/** A certified term. */
	z.strictObject({
		kind: z.literal("term"),
		term: z.int(),
		coordinator: peerId,
		certificate: quorumCertificateSchema,
	}),
	/** A certified round: the checkpoint that training resumes from. */
	z.strictObject({
		kind: z.literal("result"),
		certificate: quorumCertificateSchema,
		content: roundResultSchema,
	}),
]);

export type TrainingPromise = z.infer<typeof promiseSchema>;

export function encodePromise(promise: TrainingPromise): PersistedStep {
	return { record: encodeCanonical(promise as never) };
}

/** A record for the journal; `state` must be stored under its hash before the record is written. */
export interface PersistedStep {
	readonly record: Uint8Array;
	readonly state?: Uint8Array | undefined;
}

/** @throws AlthingError `training.bad_record` when a journal record is not one of this protocol's. */
export function decodePromise(record: Uint8Array): TrainingPromise {
	const parsed = promiseSchema.safeParse(decodeCanonical(record));
	if (!parsed.success) {
		throw new AlthingError("training.bad_record", "a journal record of a training job cannot be read", {
			issue: parsed.error.issues[0]?.message,
		});
	}
	return parsed.data;
}
