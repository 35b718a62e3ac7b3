/**
 * Canonical CBOR (RFC 8949 section 4.2.1, keys sorted by their encoded bytes): one value,
 * one byte string, so that hashes and signatures over encodings are unambiguous.
 */
import { timingSafeEqual } from "node:crypto";
import { decode, encode, rfc8949EncodeOptions } from "cborg";
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

/** Deepest nesting of arrays and maps; far above every message, far below the stack's limit. */
const MAX_DEPTH = 32;

const encodeOptions = {
	...rfc8949EncodeOptions,
	ignoreUndefinedProperties: true,
	typeEncoders: {
		...rfc8949EncodeOptions.typeEncoders,
		number: (value: number) => {
			if (!Number.isFinite(value)) throw new Error(`${value} is not a finite number`);
			return null;
		},
		undefined: () => {
			throw new Error("undefined has no encoding");
		},
	},
};

/**
 * Encodes a value canonically. Map entries whose value is undefined are left out.
 * @throws AlthingError `encoding.unsupported` for values outside {@link Encodable}
 *   (NaN, infinities, undefined in an array, functions, integers beyond 64 bits)
 */
export function encodeCanonical(value: Encodable): Uint8Array {
	try {
		return plain(encode(value, encodeOptions));
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
 * Decodes canonical CBOR and refuses every other form of it: the decoded value is encoded
 * again and compared, so two different byte strings never stand for one signed value.
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
	let value: unknown;
	let again: Uint8Array;
	try {
		value = decode(plain(bytes), {
			strict: true,
			allowIndefinite: false,
			allowUndefined: false,
			allowInfinity: false,
			allowNaN: false,
			rejectDuplicateMapKeys: true,
		});
		refuseDeep(value, MAX_DEPTH);
		again = encode(value, encodeOptions);
	} catch (cause) {
		// Hostile nesting ends in a RangeError (stack), which is as good a refusal as any.
		throw notCanonical(reason(cause), cause);
	}
	if (Buffer.compare(again, bytes) !== 0) throw notCanonical("its canonical form differs");
	return value;
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

function plain(bytes: Uint8Array): Uint8Array {
	return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

function refuseDeep(value: unknown, depth: number): void {
	if (typeof value !== "object" || value === null || value instanceof Uint8Array) return;
	if (depth === 0) throw new Error(`it is nested deeper than ${MAX_DEPTH} levels`);
	for (const inner of Object.values(value)) refuseDeep(inner, depth - 1);
}

function notCanonical(why: string, cause?: unknown): AlthingError {
	return new AlthingError("encoding.not_canonical", `This is not canonical CBOR: ${why}.`, {}, { cause });
}

function reason(cause: unknown): string {
	return cause instanceof Error ? cause.message : String(cause);
}
