/**
 * What a member of a hierarchy writes before it says it, and reads back after a restart: what its session
 * promised, the sum of its cohort that it verified, and its one vote in each slot.
 */
import { z } from "zod";
import { decodeCanonical, type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { ballotSchema, MAX_ELECTORATE } from "../certificate/index.ts";
import { bytesUpTo, hashBytes } from "../wire.ts";

const promiseSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("session"), record: bytesUpTo(1024 * 1024) }),
	z.strictObject({
		kind: z.literal("sum"),
		packed: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
		survivors: bytesUpTo(MAX_ELECTORATE / 8),
		beacon: hashBytes,
	}),
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema }),
]);

export type HierarchyPromise = z.infer<typeof promiseSchema>;

export function encodePromise(promise: HierarchyPromise): Uint8Array {
	return encodeCanonical(promise as Encodable);
}

/** @throws AlthingError `hierarchy.bad_promise`: continuing without it could contradict it */
export function decodePromise(record: Uint8Array): HierarchyPromise {
	const parsed = promiseSchema.safeParse(decodeCanonical(record, record.length));
	if (parsed.success) return parsed.data;
	throw new AlthingError(
		"hierarchy.bad_promise",
		"A stored promise of this hierarchy is unreadable; the node must sit this round out.",
	);
}
