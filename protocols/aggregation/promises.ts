/**
 * What a node must remember across a restart before it sends anything that follows from
 * it: that it shared, sent an input, voted or abstained, and which kind of share it opened.
 */
import { z } from "zod";
import { decodeCanonical, type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { type Ballot, ballotSchema } from "../certificate/index.ts";

const hash = z.custom<Uint8Array>(
	(value) => value instanceof Uint8Array && value.length === 32,
	"must be 32 bytes",
);

const promiseSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("shared"), sid: hash }),
	z.strictObject({ kind: z.literal("input"), sid: hash, shareSetHash: hash, inputHash: hash }),
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema as z.ZodType<Ballot> }),
	z.strictObject({
		kind: z.literal("revealed"),
		sid: hash,
		target: z.string(),
		part: z.enum(["seed", "maskKey"]),
	}),
]);

export type SessionPromise = z.infer<typeof promiseSchema>;

export function encodePromise(promise: SessionPromise): Uint8Array {
	return encodeCanonical(promise as Encodable);
}

/** @throws AlthingError `aggregation.bad_promise`: continuing without it could contradict it */
export function decodePromise(record: Uint8Array): SessionPromise {
	const parsed = promiseSchema.safeParse(decodeCanonical(record));
	if (parsed.success) return parsed.data;
	throw new AlthingError(
		"aggregation.bad_promise",
		"A stored promise of this aggregation session is unreadable; the node must sit this round out.",
	);
}
