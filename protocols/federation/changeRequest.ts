/**
 * Requests to change the charter and members' verdicts on them, signed by their authors so
 * that they can be stored and forwarded by anybody.
 */
import { z } from "zod";
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import { type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { peerId, signatureBytes } from "../wire.ts";
import { declarationSchema, federationIdText, organizationName } from "./declaration.ts";
import { rulesSchema } from "./rules.ts";
import { ticketSchema } from "./ticket.ts";

/** A membership is named by peer and joining version, so that a request never applies to a later one. */
const joinedVersion = z.int().min(1);

export const changeSchema = z.discriminatedUnion("kind", [
	/** The author asks to be admitted. */
	z.strictObject({ kind: z.literal("join"), ticket: ticketSchema, declaration: declarationSchema }),
	/** The author leaves; needs nobody's approval. */
	z.strictObject({ kind: z.literal("leave"), joinedVersion }),
	z.strictObject({
		kind: z.literal("expel"),
		peer: peerId,
		joinedVersion,
		reason: organizationName.max(512),
	}),
	z.strictObject({ kind: z.literal("rules"), rules: rulesSchema }),
]);

export const changeRequestSchema = z.strictObject({
	federationId: federationIdText,
	author: peerId,
	requestedAt: z.iso.datetime(),
	change: changeSchema,
	signature: signatureBytes,
});

export type Change = z.infer<typeof changeSchema>;
export type ChangeRequest = z.infer<typeof changeRequestSchema>;

/** Signs a request as its author. */
export function signChangeRequest(
	key: SigningKey,
	federationId: string,
	requestedAt: string,
	change: Change,
): ChangeRequest {
	const unsigned = { federationId, author: key.peer, requestedAt, change };
	return { ...unsigned, signature: key.sign(requestBytes(unsigned)) };
}

export function verifyChangeRequest(request: ChangeRequest): boolean {
	const { signature, ...unsigned } = request;
	return verifySignature(request.author, requestBytes(unsigned), signature);
}

/** Hex SHA-256 of what the author signed. */
export function requestIdOf(request: ChangeRequest): string {
	const { signature: _, ...unsigned } = request;
	return toHex(sha256(requestBytes(unsigned)));
}

export const verdictSchema = z.strictObject({
	federationId: federationIdText,
	requestId: federationIdText,
	member: peerId,
	approve: z.boolean(),
	signature: signatureBytes,
});

/** A member's opinion on a request; it is the vote on the next charter version that binds. */
export type Verdict = z.infer<typeof verdictSchema>;

export function signVerdict(
	key: SigningKey,
	federationId: string,
	requestId: string,
	approve: boolean,
): Verdict {
	const unsigned = { federationId, requestId, member: key.peer, approve };
	return { ...unsigned, signature: key.sign(verdictBytes(unsigned)) };
}

export function verifyVerdict(verdict: Verdict): boolean {
	const { signature, ...unsigned } = verdict;
	return verifySignature(verdict.member, verdictBytes(unsigned), signature);
}

function requestBytes(unsigned: Omit<ChangeRequest, "signature">): Uint8Array {
	return encodeCanonical(["althing/change/1", unsigned as never]);
}

function verdictBytes(unsigned: Omit<Verdict, "signature">): Uint8Array {
	return encodeCanonical(["althing/verdict/1", unsigned]);
}
