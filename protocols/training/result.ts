/** What a quorum certifies at the end of a round. */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { participantRecordSchema } from "../../src/selection/history.ts";
import type { Slot } from "../certificate/index.ts";
import { hashBytes, peerId } from "../wire.ts";

export const roundResultSchema = z.strictObject({
	jobId: z.string().max(128),
	round: z.int().min(0),
	/** `void`: the survivors were fixed but their sum was lost; the model stays, the budget is spent. */
	outcome: z.enum(["released", "void"]),
	/** Attempt whose survivor set was opened. */
	attempt: z.int().min(0),
	/** Whose contributions are in the sum: a liveness view that a quorum signed. */
	survivors: z.array(peerId).max(1024),
	/** SHA-256 of the common state (parameters and optimizer) after the round. */
	stateHash: hashBytes,
	/** Public randomness of the round: seeds the next epoch's election. */
	beacon: hashBytes,
	/** Aggregated, noised evaluation of the model the round started from; canonical numbers by name. */
	metrics: z.record(z.string().max(32), z.number()),
	/** Hash of the previous round's result; of the job's start for round 0. */
	previous: hashBytes,
	/** What ranks the coordinators of the next round's epoch: carried along inside an epoch. */
	election: z.strictObject({ seed: hashBytes, survivors: z.array(peerId).max(1024) }),
	/** Where inputs are screened: whoever was proven to have sent a bad one so far, sorted; out of the job's sums for good. */
	excluded: z.array(peerId).max(1024).optional(),
	/**
	 * Whose vectors count for nothing in this round: survivors, in their order, with robustness in the clear;
	 * by reputation, sorted, those that were kept out of the sum.
	 */
	leftOut: z.array(peerId).max(1024).optional(),
	/** Of a job with a selection or buffered rounds: each participant's past, in their order, for rounds to come. */
	history: z.array(participantRecordSchema).max(1024).optional(),
});

export type RoundResult = z.infer<typeof roundResultSchema>;

/** The value that is voted for in the round's result slot. */
export function resultHash(content: RoundResult): Uint8Array {
	return hashFields("althing/round-result/1", encodeCanonical(content as never));
}

export function resultSlot(federationId: string, jobId: string, round: number): Slot {
	return { scope: federationId, subject: "result", instance: `${jobId}/${round}`, attempt: 0 };
}
