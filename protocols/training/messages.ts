/** Wire messages of a training job, between its participants. */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { ballotSchema, quorumCertificateSchema } from "../certificate/index.ts";
import { bytesUpTo, decodeMessageOf, peerId, signatureBytes } from "../wire.ts";
import { roundResultSchema } from "./result.ts";

/** Largest encoded message; the network refuses larger ones too. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** Largest body of one aggregation message carried inside a training message. */
const MAX_SESSION_BYTES = 900 * 1024;
const round = z.int().min(0).max(1_000_000);
const attempt = z.int().min(0).max(1_000_000);
const term = z.int().min(0);

/** Who coordinates, and where a participant stands: of the job, or within one cohort of its tree. */
const coordinationMessages = [
	/** The coordinator lives; tells where it is. */
	z.strictObject({ kind: z.literal("heartbeat"), term, round, attempt }),
	/** "This is where I am": answered with whatever the sender lacks. */
	z.strictObject({ kind: z.literal("status"), term, round, attempt }),
	/** A vote to hand the job to the next in line, with the peers the voter sees alive, signed by the voter. */
	z.strictObject({
		kind: z.literal("term_vote"),
		term,
		coordinator: peerId,
		ballot: ballotSchema,
		alive: z.array(peerId).max(1024),
		signature: signatureBytes,
	}),
	/** A certified term. */
	z.strictObject({
		kind: z.literal("term"),
		term,
		coordinator: peerId,
		certificate: quorumCertificateSchema,
	}),
] as const;

const cohortMessageSchema = z.discriminatedUnion("kind", coordinationMessages);
export type CohortMessage = z.infer<typeof cohortMessageSchema>;

export const trainingMessageSchema = z.discriminatedUnion("kind", [
	/** A message of the aggregation session of one attempt. */
	z.strictObject({
		kind: z.literal("session"),
		round,
		attempt,
		body: bytesUpTo(MAX_SESSION_BYTES),
	}),
	...coordinationMessages,
	/** The same about the coordinator of the cohort that sender and receiver are in. */
	z.strictObject({ kind: z.literal("cohort"), message: cohortMessageSchema }),
	/** What is above the cohorts' sessions (protocols/hierarchy). */
	z.strictObject({ kind: z.literal("tree"), round, body: bytesUpTo(MAX_SESSION_BYTES) }),
	/** A vote for a round's result. */
	z.strictObject({ kind: z.literal("result_ballot"), round, ballot: ballotSchema }),
	/** A certified round. */
	z.strictObject({
		kind: z.literal("result"),
		certificate: quorumCertificateSchema,
		content: roundResultSchema,
	}),
	/** "The round's sum is lost to me": when a quorum says so at one time, the round is voided. Binds nobody. */
	z.strictObject({ kind: z.literal("lost"), round }),
	/** Asks for the content and state of a round that the sender could not compute. */
	z.strictObject({ kind: z.literal("state_request"), round }),
	/** The answer: the blob is the state whose hash the content names. */
	z.strictObject({ kind: z.literal("state"), content: roundResultSchema }),
]);

export type TrainingMessage = z.infer<typeof trainingMessageSchema>;

/** Canonical CBOR of a message. */
export function encodeTrainingMessage(message: TrainingMessage): Uint8Array {
	return encodeCanonical(message as never);
}

/** @throws AlthingError `training.malformed` when the bytes are no message of this protocol. */
export function decodeTrainingMessage(encoded: Uint8Array): TrainingMessage {
	return decodeMessageOf("training", trainingMessageSchema, encoded, MAX_MESSAGE_BYTES);
}
