/**
 * Masks: the AES-256-CTR keystream (NIST SP 800-38A, counter block from zero) read as
 * little-endian 32-bit words and added to, or taken from, a vector mod 2^32. A smaller
 * modulus 2^m is the low m bits of the same words, or up to 16 bits of their halves:
 * reduction commutes with addition.
 *
 * Each key must mask one vector only; callers derive it per session and pair.
 */
import { createCipheriv } from "node:crypto";
import { AlthingError } from "./error.ts";

const KEY_BYTES = 32;
const ZERO_COUNTER = new Uint8Array(16);
const CHUNK_WORDS = 16 * 1024;
const zeros = new Uint8Array(CHUNK_WORDS * 4);
const littleEndianHost = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * accumulator[i] += word i of the keystream, mod 2^32, in place.
 * @param key32 32 bytes
 * @throws AlthingError `crypto.bad_key`
 */
export function addMask(accumulator: Uint32Array, key32: Uint8Array): void {
	forEachChunk(accumulator.length, key32, (offset, words) => {
		for (let i = 0; i < words.length; i++) {
			accumulator[offset + i] = (accumulator[offset + i] as number) + (words[i] as number);
		}
	});
}

/** accumulator[i] -= word i of the keystream, mod 2^32, in place; undoes {@link addMask}. */
export function subtractMask(accumulator: Uint32Array, key32: Uint8Array): void {
	forEachChunk(accumulator.length, key32, (offset, words) => {
		for (let i = 0; i < words.length; i++) {
			accumulator[offset + i] = (accumulator[offset + i] as number) - (words[i] as number);
		}
	});
}

/**
 * values[i] += each mask of `add` - each mask of `subtract`, mod 2^modulusBits, in place. Up to 16 bits two
 * coordinates share one keystream word (coordinate 2i its low half, 2i + 1 its high half), which halves
 * the work; above, a coordinate has a word of its own. Only the low `modulusBits` bits are meant.
 * @param add keys of 32 bytes
 * @throws AlthingError `crypto.bad_key`
 */
export function applyMasks(
	values: Uint32Array,
	modulusBits: number,
	add: Iterable<Uint8Array>,
	subtract: Iterable<Uint8Array>,
): void {
	if (modulusBits > 16) {
		for (const key of add) addMask(values, key);
		for (const key of subtract) subtractMask(values, key);
		return;
	}
	const lanes = new Uint32Array(Math.ceil(values.length / 2));
	for (let i = 0, at = 0; i < lanes.length; i++, at += 2) {
		lanes[i] = ((values[at] as number) & 0xffff) | ((values[at + 1] ?? 0) << 16);
	}
	for (const key of add) forEachChunk(lanes.length, key, (offset, words) => addLanes(lanes, offset, words));
	for (const key of subtract)
		forEachChunk(lanes.length, key, (offset, words) => subtractLanes(lanes, offset, words));
	for (let i = 0; i < values.length; i++) {
		const word = lanes[i >> 1] as number;
		values[i] = i & 1 ? word >>> 16 : word & 0xffff;
	}
	lanes.fill(0);
}

/** Adds both 16-bit halves of each word without a carry between them. */
function addLanes(lanes: Uint32Array, offset: number, words: Uint32Array): void {
	for (let i = 0; i < words.length; i++) {
		const a = lanes[offset + i] as number;
		const b = words[i] as number;
		lanes[offset + i] = ((a & 0x7fff7fff) + (b & 0x7fff7fff)) ^ ((a ^ b) & 0x80008000);
	}
}

function subtractLanes(lanes: Uint32Array, offset: number, words: Uint32Array): void {
	for (let i = 0; i < words.length; i++) {
		const a = lanes[offset + i] as number;
		const b = words[i] as number;
		lanes[offset + i] = ((a | 0x80008000) - (b & 0x7fff7fff)) ^ ((a ^ ~b) & 0x80008000);
	}
}

/** Calls `use` with consecutive pieces of the first `length` keystream words of a 32-byte key. */
export function forEachChunk(
	length: number,
	key32: Uint8Array,
	use: (offset: number, words: Uint32Array) => void,
): void {
	if (key32.length !== KEY_BYTES) {
		throw new AlthingError("crypto.bad_key", `A mask key has ${KEY_BYTES} bytes, not ${key32.length}.`);
	}
	const cipher = createCipheriv("aes-256-ctr", key32, ZERO_COUNTER);
	for (let offset = 0; offset < length; offset += CHUNK_WORDS) {
		const count = Math.min(CHUNK_WORDS, length - offset);
		const stream = cipher.update(zeros.subarray(0, count * 4));
		if (!littleEndianHost) stream.swap32();
		const aligned = stream.byteOffset % 4 === 0 ? stream : Uint8Array.from(stream);
		use(offset, new Uint32Array(aligned.buffer, aligned.byteOffset, count));
	}
}
