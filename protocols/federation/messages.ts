/** Wire messages of the membership protocol: canonical CBOR, checked by schema on arrival. */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { ballotSchema, deadCertificateSchema } from "../certificate/index.ts";
import { decodeMessageOf, hashBytes, peerId } from "../wire.ts";
import { chainLinkSchema } from "./chain.ts";
import { changeRequestSchema, verdictSchema } from "./changeRequest.ts";
import { MAX_CHAIN_LINKS, MAX_MESSAGE_BYTES, MAX_PENDING, MAX_PROPOSALS } from "./constants.ts";
import { federationIdText } from "./declaration.ts";
import { proposalSchema } from "./proposal.ts";
import { MAX_MEMBERS } from "./rules.ts";

export const federationMessageSchema = z.discriminatedUnion("kind", [
	/** A change asked for; from its author or forwarded by a member. */
	z.strictObject({ kind: z.literal("request"), request: changeRequestSchema }),
	/** A member's opinion on a request, forwarded by anybody. */
	z.strictObject({ kind: z.literal("verdict"), verdict: verdictSchema }),
	/** Tells a candidate why its request cannot be taken; a hint, not proof. */
	z.strictObject({
		kind: z.literal("refusal"),
		requestId: federationIdText,
		code: z.string().max(64),
		reason: z.string().max(512),
	}),
	z.strictObject({ kind: z.literal("proposal"), proposal: proposalSchema }),
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema }),
	/** No version can win this attempt any more: the next one begins. */
	z.strictObject({ kind: z.literal("dead"), certificate: deadCertificateSchema }),
	/** "This is what I have": answered with what the sender lacks. */
	z.strictObject({
		kind: z.literal("status"),
		version: z.int().min(0),
		attempt: z.int().min(0).max(1_000_000),
		requests: z
			.array(z.strictObject({ id: federationIdText, approvals: z.array(peerId).max(MAX_MEMBERS) }))
			.max(MAX_PENDING),
		proposals: z.array(hashBytes).max(MAX_PROPOSALS),
		voters: z.array(peerId).max(MAX_MEMBERS),
		/** Whether the receiver, should it lack something, may ask back with its own status. */
		asks: z.boolean(),
	}),
	/** Asks for the chain's links from a version on. */
	z.strictObject({ kind: z.literal("chain_request"), fromVersion: z.int().min(1) }),
	/** Consecutive links of the chain. */
	z.strictObject({ kind: z.literal("chain"), links: z.array(chainLinkSchema).min(1).max(MAX_CHAIN_LINKS) }),
]);

export type FederationMessage = z.infer<typeof federationMessageSchema>;
export type StatusMessage = Extract<FederationMessage, { kind: "status" }>;

export function encodeFederationMessage(message: FederationMessage): Uint8Array {
	return encodeCanonical(message as never);
}

/** @throws AlthingError `federation.malformed` when the bytes are no message of this protocol. */
export function decodeFederationMessage(encoded: Uint8Array): FederationMessage {
	return decodeMessageOf("federation", federationMessageSchema, encoded, MAX_MESSAGE_BYTES);
}
