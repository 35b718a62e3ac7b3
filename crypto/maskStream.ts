/**
 * Masks: the AES-256-CTR keystream (NIST SP 800-38A, counter block from zero) read as
 * little-endian 32-bit words and added to, or taken from, a vector mod 2^32. A smaller
 * modulus 2^m is the low m bits of the same words: reduction commutes with addition.
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
