/** Wire messages between members of a hierarchy: canonical CBOR, every field bounded. */
import { z } from "zod";
import { type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { PROJECTIONS } from "../../crypto/ringProjection.ts";
import { ballotSchema, MAX_ELECTORATE } from "../certificate/index.ts";
import { bytesUpTo, decodeMessageOf, hashBytes } from "../wire.ts";
import { FAN_IN } from "./combination.ts";

/** Cohorts of one hierarchy: their certificates go to everybody in one message. */
export const MAX_COHORTS = 64;
/** The certificates of some 20,000 members. */
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
const memberBits = bytesUpTo(MAX_ELECTORATE / 8);
const statement = z.strictObject({ cohort, survivors: memberBits, beacon: hashBytes });
const included = z.array(statement).min(1).max(MAX_COHORTS);
const projection = bytesUpTo(4 * PROJECTIONS);
const addition = z.strictObject({
	parts: z.array(name).min(1).max(FAN_IN),
	total: name,
	partProjections: z.array(projection).max(FAN_IN),
	totalProjection: projection,
});
const certificate = z.strictObject({
	value: hashBytes,
	voters: memberBits,
	signatures: bytesUpTo(64 * MAX_ELECTORATE),
});
const certificates = z.array(z.strictObject({ cohort, certificate })).max(MAX_COHORTS);

/** Everything above the cohorts' own sessions. */
const treeMessages = [
	/** To the cohort's coordinator: the author has verified the cohort's sum, and may know of a root already. */
	z.strictObject({ kind: z.literal("cohortVote"), ballot: ballotSchema, knowsRoot: z.boolean() }),
	/** To the combiner: a certified sum, which is the payload. */
	z.strictObject({ kind: z.literal("cohortSum"), statement, certificate }),
	/** To the combiner: this cohort will have no sum. */
	z.strictObject({ kind: z.literal("absent"), cohort }),
	/** Down to an included cohort: its way to the root; the payload is the totals, one after the other. */
	z.strictObject({
		kind: z.literal("path"),
		included,
		additions: z.array(addition).min(1).max(MAX_LEVELS),
	}),
	/** To the cohort's coordinator: the author has checked the way to the root. */
	z.strictObject({ kind: z.literal("rootVote"), ballot: ballotSchema }),
	z.strictObject({ kind: z.literal("rootCertificate"), cohort, certificate }),
	/** A root that a quorum of every included cohort has checked. */
	z.strictObject({ kind: z.literal("attested"), root: name, included, certificates }),
	/** To the cohort's coordinator: the author's one vote for the round's root. */
	z.strictObject({ kind: z.literal("decisionVote"), ballot: ballotSchema }),
	z.strictObject({ kind: z.literal("decisionCertificate"), cohort, certificate }),
	/** Whoever combines in place of a silent one asks the cohorts' coordinators for all they have. */
	z.strictObject({ kind: z.literal("call") }),
	/** Down to everybody: quorums of more than half of the cohorts decided on a root. */
	z.strictObject({ kind: z.literal("decided"), certificates }),
] as const;

export const treeMessageSchema = z.discriminatedUnion("kind", treeMessages);
export const hierarchyMessageSchema = z.discriminatedUnion("kind", [
	/** A message of a cohort's aggregation session; its payload travels with it. */
	z.strictObject({ kind: z.literal("session"), cohort, body: bytesUpTo(MAX_MESSAGE_BYTES) }),
	...treeMessages,
]);

export type TreeMessage = z.infer<typeof treeMessageSchema>;
export type TreeMessageOf<K extends TreeMessage["kind"]> = Extract<TreeMessage, { kind: K }>;
export type HierarchyMessage = z.infer<typeof hierarchyMessageSchema>;

export function encodeHierarchyMessage(message: HierarchyMessage): Uint8Array {
	return encodeCanonical(message as Encodable);
}

/** @throws AlthingError `hierarchy.malformed` when the bytes are no message of this protocol. */
export function decodeHierarchyMessage(encoded: Uint8Array): HierarchyMessage {
	return decodeMessageOf("hierarchy", hierarchyMessageSchema, encoded, MAX_MESSAGE_BYTES);
}

/** @throws AlthingError `hierarchy.malformed` when the bytes are none of what is above the cohorts' sessions. */
export function decodeTreeMessage(encoded: Uint8Array): TreeMessage {
	return decodeMessageOf("hierarchy", treeMessageSchema, encoded, MAX_MESSAGE_BYTES);
}
