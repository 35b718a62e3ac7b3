/** What every protocol's messages are built of and read with: canonical CBOR checked against a schema. */
import { z } from "zod";
import { decodeCanonical } from "../crypto/encoding.ts";
import { AlthingError } from "../crypto/error.ts";
import { isPeerId, type PeerId } from "../crypto/identity.ts";

/** A byte string of exactly `length` bytes. */
export function bytes(length: number): z.ZodType<Uint8Array> {
	return z.custom<Uint8Array>(
		(value) => value instanceof Uint8Array && value.length === length,
		`must be ${length} bytes`,
	);
}

/** A byte string of at most `maximum` bytes. */
export function bytesUpTo(maximum: number): z.ZodType<Uint8Array> {
	return z.custom<Uint8Array>(
		(value) => value instanceof Uint8Array && value.length <= maximum,
		`must be at most ${maximum} bytes`,
	);
}

export const hashBytes = bytes(32);
export const signatureBytes = bytes(64);
export const peerId: z.ZodType<PeerId> = z.string().max(64).refine(isPeerId, "must be an Ed25519 peer id");

/**
 * Reads a message of a peer: size, canonical encoding, shape and ranges.
 * @param protocol names the protocol in the error, e.g. `training`
 * @throws AlthingError `<protocol>.malformed` saying what is wrong and where
 */
export function decodeMessageOf<T>(
	protocol: string,
	schema: z.ZodType<T>,
	encoded: Uint8Array,
	maximumBytes: number,
): T {
	const refuse = (why: string, cause?: unknown): never => {
		throw new AlthingError(`${protocol}.malformed`, `The ${protocol} message ${why}.`, {}, { cause });
	};
	let value: unknown;
	try {
		value = decodeCanonical(encoded, maximumBytes);
	} catch (error) {
		return refuse(`cannot be decoded: ${error instanceof Error ? error.message : error}`, error);
	}
	const parsed = schema.safeParse(value);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	return refuse(`is malformed at ${issue?.path.join(".") || "its top"}: ${issue?.message ?? "unknown"}`);
}
