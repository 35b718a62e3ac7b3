/** What a member writes durably about a proposed job before it says it. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { ballotSchema, quorumCertificateSchema } from "../certificate/index.ts";
import { bytes } from "../wire.ts";
import { abortSchema, type JobProposal, proposalSchema, responseSchema, startSchema } from "./messages.ts";

const promiseSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("proposal"), proposal: proposalSchema }),
	z.strictObject({ kind: z.literal("response"), response: responseSchema, nonce: bytes(32) }),
	/** Our one ballot in an attempt, with the start that it votes for. */
	z.strictObject({ kind: z.literal("ballot"), ballot: ballotSchema, start: startSchema.optional() }),
	z.strictObject({ kind: z.literal("start"), start: startSchema, certificate: quorumCertificateSchema }),
	z.strictObject({ kind: z.literal("abort"), abort: abortSchema }),
]);
export type AgreementPromise = z.infer<typeof promiseSchema>;

export function encodePromise(promise: AgreementPromise): Uint8Array {
	return encodeCanonical(promise as never);
}

/** @throws AlthingError `agreement.bad_record`: going on without a record could contradict it. */
export function decodePromise(record: Uint8Array): AgreementPromise {
	const parsed = promiseSchema.safeParse(decodeCanonical(record));
	if (parsed.success) return parsed.data;
	throw new AlthingError("agreement.bad_record", "a journal record of a proposed job cannot be read", {
		issue: parsed.error.issues[0]?.message,
	});
}

/**
 * The proposal among a job's journal records, needed to construct its JobAgreement again.
 * @throws AlthingError `agreement.bad_record`
 */
export function proposalAmong(promises: readonly Uint8Array[]): JobProposal | undefined {
	for (const record of promises) {
		const promise = decodePromise(record);
		if (promise.kind === "proposal") return promise.proposal;
	}
	return undefined;
}
