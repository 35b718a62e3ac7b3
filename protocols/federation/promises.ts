/** What a member writes down before it speaks, so that a restart never contradicts it. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { ballotSchema, deadCertificateSchema } from "../certificate/index.ts";
import { changeRequestSchema, verdictSchema } from "./changeRequest.ts";
import { proposalSchema } from "./proposal.ts";

export const promiseSchema = z.discriminatedUnion("kind", [
	/** A vote, with what was voted for: the proposal may be needed by others. */
	z.strictObject({ kind: z.literal("vote"), ballot: ballotSchema, proposal: proposalSchema }),
	/** An attempt proven dead: without it the next attempt could not be resumed. */
	z.strictObject({ kind: z.literal("dead"), certificate: deadCertificateSchema }),
	/** A request seen, so that it outlives a restart of everybody. */
	z.strictObject({ kind: z.literal("request"), request: changeRequestSchema }),
	/** An opinion of this node's organization. */
	z.strictObject({ kind: z.literal("verdict"), verdict: verdictSchema }),
	/** This node's own request to join, repeated until it is a member. */
	z.strictObject({ kind: z.literal("joining"), request: changeRequestSchema }),
]);

export type FederationPromise = z.infer<typeof promiseSchema>;

export function encodePromise(promise: FederationPromise): Uint8Array {
	return encodeCanonical(promise as never);
}

/** @throws AlthingError `federation.corrupt_promise`: a node that lost its promises must not vote. */
export function decodePromise(bytes: Uint8Array): FederationPromise {
	try {
		return promiseSchema.parse(decodeCanonical(bytes, 4 * 1024 * 1024));
	} catch (cause) {
		throw new AlthingError(
			"federation.corrupt_promise",
			"A stored promise of the federation protocol cannot be read; restore the journal from a backup.",
			{},
			{ cause },
		);
	}
}
