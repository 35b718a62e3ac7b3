/** Schema pieces that every protocol's messages are built of; applied to decoded canonical CBOR. */
import { z } from "zod";
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
