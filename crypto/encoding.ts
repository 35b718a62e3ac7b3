/**
 * Canonical CBOR (RFC 8949 section 4.2.1, keys sorted by their encoded bytes): one value,
 * one byte string, so that hashes and signatures over encodings are unambiguous.
 */
import { timingSafeEqual } from "node:crypto";
import { readCanonical } from "./canonicalDecoder.ts";
import { writeCanonical } from "./canonicalEncoder.ts";
import { AlthingError } from "./error.ts";

export type Encodable =
	| null
	| boolean
	| number
	| bigint
	| string
	| Uint8Array
	| readonly Encodable[]
	| { readonly [key: string]: Encodable | undefined };

/** Largest input {@link decodeCanonical} takes unless the caller says otherwise: one network message. */
const DEFAULT_MAX_BYTES = 1024 * 1024;

/**
 * Encodes a value canonically. Map entries whose value is undefined are left out.
 * @throws AlthingError `encoding.unsupported` for values outside {@link Encodable}
 *   (NaN, infinities, undefined in an array, functions, integers beyond 64 bits)
 */
export function encodeCanonical(value: Encodable): Uint8Array {
	try {
		return writeCanonical(value);
	} catch (cause) {
		throw new AlthingError(
			"encoding.unsupported",
			`This value has no canonical encoding: ${reason(cause)}.`,
			{},
			{ cause },
		);
	}
}

/**
 * Decodes canonical CBOR and refuses every other form of it (canonicalDecoder.ts), so two different byte
 * strings never stand for one signed value.
 * Integers beyond 2^53 come back as bigint. Byte strings are copies.
 * @param maxBytes refuses longer input before looking at it (default 1 MiB)
 * @throws AlthingError `encoding.not_canonical` | `encoding.too_large`
 */
export function decodeCanonical(bytes: Uint8Array, maxBytes: number = DEFAULT_MAX_BYTES): unknown {
	if (bytes.length > maxBytes) {
		throw new AlthingError(
			"encoding.too_large",
			`The encoding has ${bytes.length} bytes; at most ${maxBytes} are accepted here.`,
			{ sizeBytes: bytes.length, maxBytes },
		);
	}
	try {
		return readCanonical(bytes);
	} catch (cause) {
		throw new AlthingError(
			"encoding.not_canonical",
			`This is not canonical CBOR: ${reason(cause)}.`,
			{},
			{ cause },
		);
	}
}

/** Lower-case hexadecimal text. */
export function toHex(bytes: Uint8Array): string {
	return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex");
}

/**
 * The bytes of hexadecimal text, upper or lower case.
 * @throws AlthingError `encoding.not_hex`
 */
export function fromHex(text: string): Uint8Array {
	if (text.length % 2 !== 0 || !/^[0-9a-f]*$/i.test(text)) {
		throw new AlthingError("encoding.not_hex", "Expected an even number of hexadecimal digits.", {
			length: text.length,
		});
	}
	return Uint8Array.from(Buffer.from(text, "hex"));
}

/** True when both have the same bytes; constant time in the contents (the lengths are public). */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
	return a.length === b.length && timingSafeEqual(a, b);
}

function reason(cause: unknown): string {
	return cause instanceof Error ? cause.message : String(cause);
}
