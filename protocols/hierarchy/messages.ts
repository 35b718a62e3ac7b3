/** Wire messages between members of a hierarchy: canonical CBOR, every field bounded. */
import { z } from "zod";
import { type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { PROJECTIONS } from "../../crypto/ringProjection.ts";
import {
	ballotSchema,
	MAX_ELECTORATE,
	type QuorumCertificate,
	quorumCertificateSchema,
} from "../certificate/index.ts";
import { bytesUpTo, decodeMessageOf, hashBytes } from "../wire.ts";
import { FAN_IN } from "./combination.ts";

/** Cohorts of one hierarchy: their certificates go to everybody in one message. */
export const MAX_COHORTS = 64;
const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Levels of a tree of so many cohorts. */
const MAX_LEVELS = 2;

const cohort = z
	.int()
	.min(0)
	.max(MAX_COHORTS - 1);
const survivors = z
	.int()
	.min(1)
	.max(MAX_COHORTS * MAX_ELECTORATE);
const name = z.strictObject({ sumHash: hashBytes, survivors });
const projection = bytesUpTo(4 * PROJECTIONS);
const addition = z.strictObject({
	parts: z.array(name).min(1).max(FAN_IN),
	total: name,
	partProjections: z.array(projection).max(FAN_IN),
	totalProjection: projection,
});
const certificate: z.ZodType<QuorumCertificate> = quorumCertificateSchema;
const packedCertificate = z.strictObject({
	value: hashBytes,
	voters: bytesUpTo(MAX_ELECTORATE / 8),
	signatures: bytesUpTo(64 * MAX_ELECTORATE),
});

export const hierarchyMessageSchema = z.discriminatedUnion("kind", [
	/** A message of a cohort's aggregation session; its payload travels with it. */
	z.strictObject({ kind: z.literal("session"), cohort, body: bytesUpTo(MAX_MESSAGE_BYTES) }),
	/** To the cohort's coordinator: the author has verified the cohort's sum. */
	z.strictObject({ kind: z.literal("cohortVote"), ballot: ballotSchema }),
	/** To the combiner: a certified sum, which is the payload. */
	z.strictObject({ kind: z.literal("cohortSum"), cohort, survivors, certificate }),
	/** To the combiner: this cohort will have no sum. */
	z.strictObject({ kind: z.literal("absent"), cohort }),
	/** Down to an included cohort: its way to the root; the payload is the totals, one after the other. */
	z.strictObject({
		kind: z.literal("path"),
		included: z.array(cohort).min(1).max(MAX_COHORTS),
		additions: z.array(addition).min(1).max(MAX_LEVELS),
	}),
	/** To the cohort's coordinator: the author has checked the way to the root. */
	z.strictObject({ kind: z.literal("rootVote"), ballot: ballotSchema }),
	z.strictObject({ kind: z.literal("rootCertificate"), cohort, certificate: packedCertificate }),
	/** Down to everybody: a quorum of each included cohort has. */
	z.strictObject({
		kind: z.literal("complete"),
		certificates: z.array(z.strictObject({ cohort, certificate: packedCertificate })).max(MAX_COHORTS),
	}),
]);

export type HierarchyMessage = z.infer<typeof hierarchyMessageSchema>;
export type HierarchyMessageOf<K extends HierarchyMessage["kind"]> = Extract<HierarchyMessage, { kind: K }>;

export function encodeHierarchyMessage(message: HierarchyMessage): Uint8Array {
	return encodeCanonical(message as Encodable);
}

/** @throws AlthingError `hierarchy.malformed` when the bytes are no message of this protocol. */
export function decodeHierarchyMessage(encoded: Uint8Array): HierarchyMessage {
	return decodeMessageOf("hierarchy", hierarchyMessageSchema, encoded, MAX_MESSAGE_BYTES);
}
