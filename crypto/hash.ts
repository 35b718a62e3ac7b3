/** SHA-256 (FIPS 180-4), plain and over a list of fields that cannot be confused with another list. */
import { createHash } from "node:crypto";
import { AlthingError } from "./error.ts";

/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
	const hash = createHash("sha256");
	for (const part of parts) hash.update(part);
	return Uint8Array.from(hash.digest());
}

const TYPE = { domain: 0, bytes: 1, text: 2, integer: 3 } as const;

/**
 * SHA-256 over a domain and fields, each prefixed by its type (1 byte) and its length
 * (8 bytes, big-endian): injective, so no two different lists hash alike by shifting
 * bytes between neighbours, and hashes of different purposes never collide.
 * Text is UTF-8; numbers are integers, 8 bytes two's complement.
 * @throws AlthingError `crypto.bad_field` for a number that is not a safe integer
 */
export function hashFields(domain: string, ...fields: (Uint8Array | string | number)[]): Uint8Array {
	const hash = createHash("sha256");
	const add = (type: number, value: Uint8Array): void => {
		const prefix = new DataView(new ArrayBuffer(9));
		prefix.setUint8(0, type);
		prefix.setBigUint64(1, BigInt(value.length));
		hash.update(prefix);
		hash.update(value);
	};
	add(TYPE.domain, utf8.encode(domain));
	for (const field of fields) {
		if (typeof field === "string") add(TYPE.text, utf8.encode(field));
		else if (typeof field === "number") add(TYPE.integer, int64(field));
		else add(TYPE.bytes, field);
	}
	return Uint8Array.from(hash.digest());
}

const utf8 = new TextEncoder();

function int64(value: number): Uint8Array {
	if (!Number.isSafeInteger(value)) {
		throw new AlthingError("crypto.bad_field", `Only safe integers can be hashed as a field, not ${value}.`);
	}
	const bytes = new Uint8Array(8);
	new DataView(bytes.buffer).setBigInt64(0, BigInt(value));
	return bytes;
}
