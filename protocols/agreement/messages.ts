/** Wire messages by which a federation agrees to run a job. */
import { z } from "zod";
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { characteristicsSchema } from "../../src/selection/selectionChoice.ts";
import { ballotSchema, deadCertificateSchema, quorumCertificateSchema } from "../certificate/index.ts";
import { bytes, bytesUpTo, decodeMessageOf, hashBytes, peerId, signatureBytes } from "../wire.ts";

/** Largest encoded message; the network refuses larger ones too. */
const MAX_MESSAGE_BYTES = 1024 * 1024;

/** A resolved job specification is text and small numbers; larger ones are refused. */
export const MAX_SPEC_BYTES = 64 * 1024;

const jobId = z.string().regex(/^[0-9a-f]{32}$/);

export const proposalSchema = z.strictObject({
	federationId: z.string().max(128),
	charterHash: hashBytes,
	/** Canonical encoding of the resolved specification. */
	spec: bytesUpTo(MAX_SPEC_BYTES),
	submitter: peerId,
	/** ISO 8601, for people. */
	createdAt: z.string().max(40),
	/** Tells two submissions of one specification apart. */
	nonce: bytes(16),
	signature: signatureBytes,
});
/** A job put before the federation, signed by the organization that submits it. */
export type JobProposal = z.infer<typeof proposalSchema>;

export const responseSchema = z.strictObject({
	jobId,
	peer: peerId,
	accept: z.boolean(),
	/** Hash of the nonce that this member will reveal: its part of the job's beacon. */
	commitment: hashBytes,
	reason: z.string().max(500),
	/** What the job's selection asks organizations to declare about themselves; for who accepts. */
	characteristics: characteristicsSchema.optional(),
	signature: signatureBytes,
});
export type JobResponse = z.infer<typeof responseSchema>;

export const revealSchema = z.strictObject({
	jobId,
	peer: peerId,
	nonce: bytes(32),
	signature: signatureBytes,
});
export type NonceReveal = z.infer<typeof revealSchema>;

export const startSchema = z.strictObject({
	jobId,
	charterHash: hashBytes,
	/** Sorted by peer; acceptance and reveal of each participant. */
	participants: z.array(z.strictObject({ response: responseSchema, reveal: revealSchema })).max(1024),
});
/** Who takes part, with the beacon's contributions: what the members certify. */
export type JobStart = z.infer<typeof startSchema>;

export const abortSchema = z.strictObject({
	jobId,
	by: peerId,
	reason: z.string().max(500),
	signature: signatureBytes,
});
export type JobAbort = z.infer<typeof abortSchema>;

export const agreementMessageSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("proposal"), proposal: proposalSchema }),
	z.strictObject({ kind: z.literal("response"), response: responseSchema }),
	z.strictObject({ kind: z.literal("reveal"), reveal: revealSchema }),
	z.strictObject({
		kind: z.literal("start_proposal"),
		start: startSchema,
		attempt: z.int().min(0).max(1_000_000),
		/** One certificate for each attempt before this one, in order. */
		dead: z.array(deadCertificateSchema).max(64),
		/** The leader's own vote for the start: shows that it is the leader's, whoever passes it on. */
		ballot: ballotSchema,
	}),
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema }),
	z.strictObject({ kind: z.literal("start"), start: startSchema, certificate: quorumCertificateSchema }),
	z.strictObject({ kind: z.literal("abort"), abort: abortSchema }),
]);
export type AgreementMessage = z.infer<typeof agreementMessageSchema>;

/** Canonical CBOR of a message. */
export function encodeAgreementMessage(message: AgreementMessage): Uint8Array {
	return encodeCanonical(message as never);
}

/** @throws AlthingError `agreement.malformed` when the bytes are no message of this protocol. */
export function decodeAgreementMessage(encoded: Uint8Array): AgreementMessage {
	return decodeMessageOf("agreement", agreementMessageSchema, encoded, MAX_MESSAGE_BYTES);
}

/** A job's id: 32 hex digits of the hash of everything its submitter signed. */
export function jobIdOf(proposal: Omit<JobProposal, "signature">): string {
	return toHex(hashFields("althing/job-id/1", proposalBytes(proposal))).slice(0, 32);
}

function proposalBytes(proposal: Omit<JobProposal, "signature">): Uint8Array {
	const { federationId, charterHash, spec, submitter, createdAt, nonce } = proposal;
	return encodeCanonical([
		"althing/job-proposal/1",
		federationId,
		charterHash,
		spec,
		submitter,
		createdAt,
		nonce,
	]);
}

/** Puts a job before the federation, signed by its submitter. */
export function signProposal(
	key: SigningKey,
	proposal: Omit<JobProposal, "signature" | "submitter">,
): JobProposal {
	const unsigned = { ...proposal, submitter: key.peer };
	return { ...unsigned, signature: key.sign(proposalBytes(unsigned)) };
}

/** True when the proposal is its submitter's own. */
export function verifyProposal(proposal: JobProposal): boolean {
	return verifySignature(proposal.submitter, proposalBytes(proposal), proposal.signature);
}

type Scope = { readonly federationId: string };

function responseBytes(scope: Scope, r: Omit<JobResponse, "signature">): Uint8Array {
	return encodeCanonical([
		"althing/job-response/1",
		scope.federationId,
		r.jobId,
		r.peer,
		r.accept,
		r.commitment,
		r.reason,
		...(r.characteristics === undefined ? [] : [{ ...r.characteristics }]),
	]);
}

function revealBytes(scope: Scope, r: Omit<NonceReveal, "signature">): Uint8Array {
	return encodeCanonical(["althing/job-reveal/1", scope.federationId, r.jobId, r.peer, r.nonce]);
}

function abortBytes(scope: Scope, a: Omit<JobAbort, "signature">): Uint8Array {
	return encodeCanonical(["althing/job-abort/1", scope.federationId, a.jobId, a.by, a.reason]);
}

/** A member's signed answer. */
export function signResponse(
	scope: Scope,
	key: SigningKey,
	response: Omit<JobResponse, "signature" | "peer">,
): JobResponse {
	const unsigned = { ...response, peer: key.peer };
	return { ...unsigned, signature: key.sign(responseBytes(scope, unsigned)) };
}

/** True when the response is its author's own, in this federation. */
export function verifyResponse(scope: Scope, response: JobResponse): boolean {
	return verifySignature(response.peer, responseBytes(scope, response), response.signature);
}

/** Opens this member's commitment. */
export function signReveal(
	scope: Scope,
	key: SigningKey,
	reveal: Omit<NonceReveal, "signature" | "peer">,
): NonceReveal {
	const unsigned = { ...reveal, peer: key.peer };
	return { ...unsigned, signature: key.sign(revealBytes(scope, unsigned)) };
}

/** True when the reveal is its author's own; whether it opens a commitment is another question. */
export function verifyReveal(scope: Scope, reveal: NonceReveal): boolean {
	return verifySignature(reveal.peer, revealBytes(scope, reveal), reveal.signature);
}

/** The submitter's abort. */
export function signAbort(
	scope: Scope,
	key: SigningKey,
	abort: Omit<JobAbort, "signature" | "by">,
): JobAbort {
	const unsigned = { ...abort, by: key.peer };
	return { ...unsigned, signature: key.sign(abortBytes(scope, unsigned)) };
}

/** True when the abort is signed by whom it names. */
export function verifyAbort(scope: Scope, abort: JobAbort): boolean {
	return verifySignature(abort.by, abortBytes(scope, abort), abort.signature);
}

/** The commitment to a nonce. */
export function commitmentTo(jobId: string, peer: PeerId, nonce: Uint8Array): Uint8Array {
	return hashFields("althing/job-nonce/1", jobId, peer, nonce);
}

/** What members vote for. */
export function startHash(start: JobStart): Uint8Array {
	return hashFields("althing/job-start-content/1", encodeCanonical(start as never));
}

/** The job's beacon: nobody knew it before every participant had committed to its part. */
export function startBeacon(start: JobStart): Uint8Array {
	return hashFields(
		"althing/job-beacon/1",
		start.jobId,
		...start.participants.map(({ reveal }) => reveal.nonce),
	);
}
