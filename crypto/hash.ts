/** SHA-256 (FIPS 180-4), plain and over a list of fields that cannot be confused with another list. */
import { hash } from "node:crypto";
import { AlthingError } from "./error.ts";

/** SHA-256 of the concatenation of `parts`: 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array {
	return digest(parts.length === 1 ? (parts[0] as Uint8Array) : concatenated(parts));
}

function digest(data: Uint8Array): Uint8Array {
	return Uint8Array.from(hash("sha256", data, "buffer"));
}

/** One call on joined bytes is several times as fast as one for each short field. */
function concatenated(parts: readonly Uint8Array[]): Uint8Array {
	let size = 0;
	for (const part of parts) size += part.length;
	const joined = new Uint8Array(size);
	let at = 0;
	for (const part of parts) {
		joined.set(part, at);
		at += part.length;
	}
	return joined;
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
	const parts: Uint8Array[] = [];
	const add = (type: number, value: Uint8Array): void => {
		const prefix = new Uint8Array(9);
		prefix[0] = type;
		// Lengths are below 2^32 in memory; the upper half of the eight bytes stays zero.
		new DataView(prefix.buffer).setUint32(5, value.length);
		parts.push(prefix, value);
	};
	add(TYPE.domain, utf8.encode(domain));
	for (const field of fields) {
		if (typeof field === "string") add(TYPE.text, utf8.encode(field));
		else if (typeof field === "number") add(TYPE.integer, int64(field));
		else add(TYPE.bytes, field);
	}
	return digest(concatenated(parts));
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
