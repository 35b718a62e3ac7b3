/**
 * Masks: the AES-256-CTR keystream (NIST SP 800-38A, counter block from zero) read as
 * little-endian 32-bit words and added to, or taken from, a vector mod 2^32. A smaller
 * modulus 2^m is the low m bits of the same words, or up to 16 bits of their halves:
 * reduction commutes with addition.
 *
 * Each key must mask one vector only; callers derive it per session and pair.
 */
import { type Cipheriv, createCipheriv, createSecretKey } from "node:crypto";
import { AlthingError } from "./error.ts";
import { maskAddition } from "./maskAddition.ts";

const KEY_BYTES = 32;
const ZERO_COUNTER = new Uint8Array(16);
const CHUNK_WORDS = 16 * 1024;
const zeros = new Uint8Array(CHUNK_WORDS * 4);
const littleEndianHost = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
/** Masks that are added chunk by chunk side by side, so that the sum of a chunk stays in the cache. */
const KEYS_AT_ONCE = 64;

/**
 * accumulator[i] += word i of the keystream, mod 2^32, in place.
 * @param key32 32 bytes
 * @throws AlthingError `crypto.bad_key`
 */
export function addMask(accumulator: Uint32Array, key32: Uint8Array): void {
	addStreams(accumulator, "add32", [key32]);
}

/** accumulator[i] -= word i of the keystream, mod 2^32, in place; undoes {@link addMask}. */
export function subtractMask(accumulator: Uint32Array, key32: Uint8Array): void {
	addStreams(accumulator, "subtract32", [key32]);
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
		addStreams(values, "add32", add);
		addStreams(values, "subtract32", subtract);
		return;
	}
	const lanes = new Uint32Array(Math.ceil(values.length / 2));
	for (let i = 0, at = 0; i < lanes.length; i++, at += 2) {
		lanes[i] = ((values[at] as number) & 0xffff) | ((values[at + 1] ?? 0) << 16);
	}
	addStreams(lanes, "add16", add);
	addStreams(lanes, "subtract16", subtract);
	for (let i = 0; i < values.length; i++) {
		const word = lanes[i >> 1] as number;
		values[i] = i & 1 ? word >>> 16 : word & 0xffff;
	}
	lanes.fill(0);
}

/** Adds the keystreams of all keys to the words, in lanes of 16 or 32 bits, or takes them away. */
function addStreams(
	words: Uint32Array,
	operation: "add16" | "subtract16" | "add32" | "subtract32",
	keys: Iterable<Uint8Array>,
): void {
	let some: Cipheriv[] = [];
	for (const key of keys) {
		some.push(keystream(key));
		if (some.length < KEYS_AT_ONCE) continue;
		addSome(words, operation, some);
		some = [];
	}
	if (some.length > 0) addSome(words, operation, some);
}

function addSome(
	words: Uint32Array,
	operation: "add16" | "subtract16" | "add32" | "subtract32",
	streams: readonly Cipheriv[],
): void {
	const block = maskAddition();
	const total = new Uint32Array(block.total.buffer, block.total.byteOffset, CHUNK_WORDS);
	for (let offset = 0; offset < words.length; offset += CHUNK_WORDS) {
		const some = words.subarray(offset, offset + CHUNK_WORDS);
		const wanted = zeros.subarray(0, some.length * 4);
		total.set(some);
		if (!littleEndianHost) Buffer.from(total.buffer, total.byteOffset, wanted.length).swap32();
		for (const stream of streams) {
			const piece = stream.update(wanted);
			block.stream.set(piece);
			free(piece);
			block[operation](wanted.length);
		}
		if (!littleEndianHost) Buffer.from(total.buffer, total.byteOffset, wanted.length).swap32();
		some.set(total.subarray(0, some.length));
	}
	block.wipe();
}

/**
 * Gives memory back at once. Left to the garbage collector, each 64 MiB of keystream would have it go through the
 * whole heap: a third of the time of masking.
 */
function free(piece: Buffer): void {
	if (piece.buffer instanceof ArrayBuffer && piece.byteLength === piece.buffer.byteLength)
		piece.buffer.transfer(0);
}

/** Calls `use` with consecutive pieces, its only while it runs, of the first `length` keystream words of a 32-byte key. */
export function forEachChunk(
	length: number,
	key32: Uint8Array,
	use: (offset: number, words: Uint32Array) => void,
): void {
	const cipher = keystream(key32);
	for (let offset = 0; offset < length; offset += CHUNK_WORDS) {
		const count = Math.min(CHUNK_WORDS, length - offset);
		const stream = cipher.update(zeros.subarray(0, count * 4));
		if (!littleEndianHost) stream.swap32();
		const aligned = stream.byteOffset % 4 === 0 ? stream : Uint8Array.from(stream);
		use(offset, new Uint32Array(aligned.buffer, aligned.byteOffset, count));
		free(stream);
	}
}

function keystream(key32: Uint8Array): Cipheriv {
	if (key32.length !== KEY_BYTES) {
		throw new AlthingError("crypto.bad_key", `A mask key has ${KEY_BYTES} bytes, not ${key32.length}.`);
	}
	return createCipheriv("aes-256-ctr", createSecretKey(key32), ZERO_COUNTER);
}
