/** Writes canonical CBOR (RFC 8949 section 4.2.1), in one pass into a buffer that grows. */
import { shortestFloat } from "./cborFloat.ts";
import type { Encodable } from "./encoding.ts";

/** Deepest nesting of arrays and maps; far above every message, far below the stack's limit. */
export const MAX_DEPTH = 32;

const MAJOR = { unsigned: 0, negative: 1, bytes: 2, text: 3, array: 4, map: 5 } as const;
const SIMPLE = { false: 0xf4, true: 0xf5, null: 0xf6 } as const;
const LARGEST_INTEGER = 2n ** 64n - 1n;

/** What is kept for the next value; a larger one has its own. */
const KEPT_BYTES = 2 ** 20;
let written = Buffer.alloc(64 * 1024);
let at = 0;

/** @throws Error saying what has no encoding */
export function writeCanonical(value: Encodable): Uint8Array {
	try {
		write(value, 0);
		return new Uint8Array(written.subarray(0, at));
	} finally {
		// The next value is written over it, but this one may have held a secret.
		written.fill(0, 0, at);
		at = 0;
		if (written.length > KEPT_BYTES) written = Buffer.alloc(KEPT_BYTES);
	}
}

function write(value: unknown, depth: number): void {
	if (typeof value === "string") writeText(value);
	else if (typeof value === "number") writeNumber(value);
	else if (typeof value === "bigint") writeBigint(value);
	else if (typeof value === "boolean") writeByte(value ? SIMPLE.true : SIMPLE.false);
	else if (value === null) writeByte(SIMPLE.null);
	else if (typeof value !== "object") throw new Error(`a value of type ${typeof value} has no encoding`);
	else if (value instanceof Uint8Array) writeBytes(value);
	else if (depth === MAX_DEPTH) throw new Error(`it is nested deeper than ${MAX_DEPTH} levels`);
	else if (Array.isArray(value)) {
		writeHead(MAJOR.array, value.length);
		for (let i = 0; i < value.length; i++) write(value[i], depth + 1);
	} else writeMap(value, depth);
}

function writeMap(value: object, depth: number): void {
	if (ArrayBuffer.isView(value) || Symbol.iterator in value || value instanceof Date)
		throw new Error(`a ${value.constructor.name} has no encoding`);
	const entries: [Key, unknown][] = [];
	for (const name of Object.keys(value)) {
		const inner = (value as Record<string, unknown>)[name];
		if (inner !== undefined) entries.push([keyOf(name), inner]);
	}
	entries.sort(([a], [b]) => (a.order < b.order ? -1 : 1));
	writeHead(MAJOR.map, entries.length);
	for (const [{ encoded }, inner] of entries) {
		reserve(encoded.length);
		written.set(encoded, at);
		at += encoded.length;
		write(inner, depth + 1);
	}
}

interface Key {
	readonly encoded: Uint8Array;
	/** The encoded bytes as characters: comparing them compares the bytes. */
	readonly order: string;
}

/** Names of fields are few; names that are data fill the rest and no more. */
const keys = new Map<string, Key>();
const KNOWN_KEYS = 1024;

function keyOf(name: string): Key {
	const known = keys.get(name);
	if (known !== undefined) return known;
	const from = at;
	writeText(name);
	const encoded = new Uint8Array(written.subarray(from, at));
	const key = { encoded, order: written.toString("latin1", from, at) };
	at = from;
	if (keys.size < KNOWN_KEYS) keys.set(name, key);
	return key;
}

function writeText(text: string): void {
	const size = Buffer.byteLength(text);
	writeHead(MAJOR.text, size);
	reserve(size);
	at += written.write(text, at);
}

function writeBytes(bytes: Uint8Array): void {
	writeHead(MAJOR.bytes, bytes.length);
	reserve(bytes.length);
	written.set(bytes, at);
	at += bytes.length;
}

function writeNumber(value: number): void {
	if (Number.isSafeInteger(value)) {
		if (value >= 0) writeHead(MAJOR.unsigned, value);
		else writeHead(MAJOR.negative, -1 - value);
		return;
	}
	if (!Number.isFinite(value)) throw new Error(`${value} is not a finite number`);
	const encoded = shortestFloat(value);
	reserve(encoded.length);
	written.set(encoded, at);
	at += encoded.length;
}

function writeBigint(value: bigint): void {
	const magnitude = value >= 0n ? value : -1n - value;
	if (magnitude > LARGEST_INTEGER) throw new Error(`${value} has more than 64 bits`);
	const major = value >= 0n ? MAJOR.unsigned : MAJOR.negative;
	if (magnitude <= BigInt(Number.MAX_SAFE_INTEGER)) {
		writeHead(major, Number(magnitude));
		return;
	}
	writeByte((major << 5) | 27);
	reserve(8);
	at = written.writeBigUInt64BE(magnitude, at);
}

/** A major type and its argument, a safe integer, in the fewest bytes. */
function writeHead(major: number, argument: number): void {
	reserve(9);
	const first = major << 5;
	if (argument < 24) written[at++] = first | argument;
	else if (argument < 2 ** 8) {
		written[at] = first | 24;
		written[at + 1] = argument;
		at += 2;
	} else if (argument < 2 ** 16) {
		written[at] = first | 25;
		at = written.writeUInt16BE(argument, at + 1);
	} else if (argument < 2 ** 32) {
		written[at] = first | 26;
		at = written.writeUInt32BE(argument, at + 1);
	} else {
		written[at] = first | 27;
		written.writeUInt32BE(Math.floor(argument / 2 ** 32), at + 1);
		at = written.writeUInt32BE(argument % 2 ** 32, at + 5);
	}
}

function writeByte(byte: number): void {
	reserve(1);
	written[at++] = byte;
}

function reserve(size: number): void {
	if (at + size <= written.length) return;
	const larger = Buffer.alloc(Math.max(2 * written.length, at + size));
	larger.set(written.subarray(0, at));
	written.fill(0, 0, at);
	written = larger;
}
