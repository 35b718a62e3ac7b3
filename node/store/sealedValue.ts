/**
 * One stored value: canonical CBOR, sealed by AES-256-GCM with its collection and key as
 * associated data, so that a value moved to another key does not open.
 *
 *     nonce 12 | ciphertext of CBOR { sequence, value } and tag
 */
import type { z } from "zod";
import { open, seal } from "../../crypto/aead.ts";
import { decodeCanonical, type Encodable, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";

const NONCE_BYTES = 12;
const MAX_VALUE_BYTES = 16 * 1024 * 1024;

/** `sequence` is the journal record a value comes from, 0 for values kept in the index alone. */
export interface Versioned {
	readonly sequence: number;
	readonly value: unknown;
}

export function sealValue(key: Uint8Array, collection: string, name: string, stored: Versioned): Uint8Array {
	const plaintext = encodeCanonical({ sequence: stored.sequence, value: stored.value as Encodable });
	const nonce = randomBytes(NONCE_BYTES);
	return Buffer.concat([nonce, seal(key, nonce, plaintext, associatedData(collection, name))]);
}

/** Throws `store.corrupt_record` naming collection and key when the value was damaged, moved or forged. */
export function openValue(key: Uint8Array, collection: string, name: string, sealed: Uint8Array): Versioned {
	try {
		const plaintext = open(
			key,
			sealed.subarray(0, NONCE_BYTES),
			sealed.subarray(NONCE_BYTES),
			associatedData(collection, name),
		);
		return decodeCanonical(plaintext, MAX_VALUE_BYTES) as Versioned;
	} catch (cause) {
		throw corruptRecord(collection, name, "it is damaged or was moved here from another key", cause);
	}
}

/** Checks a decoded value against its collection's schema; throws `store.corrupt_record`. */
export function parseValue<T>(schema: z.ZodType<T>, collection: string, name: string, value: unknown): T {
	const parsed = schema.safeParse(value);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	throw corruptRecord(
		collection,
		name,
		`it does not fit the collection's schema at ${issue?.path.join(".") || "its root"}: ${issue?.message}`,
		parsed.error,
	);
}

function corruptRecord(collection: string, name: string, what: string, cause: unknown): AlthingError {
	return new AlthingError(
		"store.corrupt_record",
		`The record ${name} in ${collection} cannot be used: ${what}. Restore the data directory from a backup, or delete this record if it can be made again.`,
		{ collection, record: name },
		{ cause },
	);
}

function associatedData(collection: string, name: string): Uint8Array {
	return encodeCanonical(["althing/store/value/v1", collection, name]);
}
