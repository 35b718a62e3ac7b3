/** Wire messages between neighbours, and what a released model is signed over. */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { hashFields, sha256 } from "../../crypto/hash.ts";
import { type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { decodeMessageOf, hashBytes, signatureBytes } from "../wire.ts";

const MAX_MESSAGE_BYTES = 1024;
const round = z.int().min(0).max(1_000_000);

export const gossipMessageSchema = z.discriminatedUnion("kind", [
	/** A round's released model, which travels as the blob. */
	z.strictObject({ kind: z.literal("model"), round, hash: hashBytes, signature: signatureBytes }),
	/** The round the sender is in; its number of rounds when it is done. */
	z.strictObject({ kind: z.literal("position"), round }),
	/** Asks for the model of a round that has not come; answered with it, or with the position. */
	z.strictObject({ kind: z.literal("want"), round }),
]);

export type GossipMessage = z.infer<typeof gossipMessageSchema>;
export type ModelMessage = Extract<GossipMessage, { kind: "model" }>;

/** Canonical CBOR of a message. */
export function encodeGossipMessage(message: GossipMessage): Uint8Array {
	return encodeCanonical(message as never);
}

/** @throws AlthingError `gossip.malformed` when the bytes are no message of this protocol. */
export function decodeGossipMessage(encoded: Uint8Array): GossipMessage {
	return decodeMessageOf("gossip", gossipMessageSchema, encoded, MAX_MESSAGE_BYTES);
}

/** What a signature is bound to beside round and model. */
export interface GossipSession {
	readonly federationId: string;
	readonly jobId: string;
	readonly configHash: Uint8Array;
}

function signedBytes(
	{ federationId, jobId, configHash }: GossipSession,
	at: number,
	hash: Uint8Array,
): Uint8Array {
	return hashFields("althing/gossip-model/1", federationId, jobId, configHash, at, hash);
}

export function signModel(
	self: SigningKey,
	session: GossipSession,
	at: number,
	model: Uint8Array,
): ModelMessage {
	const hash = sha256(model);
	return { kind: "model", round: at, hash, signature: self.sign(signedBytes(session, at, hash)) };
}

/** Whether the peer signed this hash for this round; the blob is checked against the hash by whoever takes it. */
export function verifyModel(peer: PeerId, session: GossipSession, message: ModelMessage): boolean {
	return verifySignature(peer, signedBytes(session, message.round, message.hash), message.signature);
}
