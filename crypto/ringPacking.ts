/**
 * Vectors over Z/2^m as bytes, m bits a value: value i takes the bits from i m on, least significant
 * bit first, as in one long little-endian number. The last byte is filled up with zeros, so a vector
 * has one encoding. For m = 16, 24 and 32 these are the values' little-endian bytes.
 */
import { AlthingError } from "./error.ts";

/** m: an integer from {@link LEAST_MODULUS_BITS} to {@link LARGEST_MODULUS_BITS}. */
export type ModulusBits = number;

export const LEAST_MODULUS_BITS = 8;
export const LARGEST_MODULUS_BITS = 32;

export function isModulusBits(bits: number): bits is ModulusBits {
	return Number.isInteger(bits) && bits >= LEAST_MODULUS_BITS && bits <= LARGEST_MODULUS_BITS;
}

/** Bytes of a packed vector. */
export function packedSize(length: number, modulusBits: ModulusBits): number {
	return Math.ceil((length * modulusBits) / 8);
}

/** True for the one encoding of some vector: the right size, and zeros behind the last value. */
export function isPacked(bytes: Uint8Array, modulusBits: ModulusBits, length: number): boolean {
	if (bytes.length !== packedSize(length, modulusBits)) return false;
	const used = (length * modulusBits) % 8;
	return used === 0 || (bytes[bytes.length - 1] as number) >>> used === 0;
}

/** The low `modulusBits` bits of each value, packed into {@link packedSize} bytes. */
export function packRing(values: Uint32Array, modulusBits: ModulusBits): Uint8Array {
	if (modulusBits === 16 && littleEndianHost) return new Uint8Array(new Uint16Array(values).buffer);
	const bytes = new Uint8Array(packedSize(values.length, modulusBits));
	const mask = lowBits(modulusBits);
	let at = 0;
	let waiting = 0;
	let waitingBits = 0;
	for (let i = 0; i < values.length; i++) {
		const value = (values[i] as number) & mask;
		waiting |= value << waitingBits;
		let bits = waitingBits + modulusBits;
		if (bits > 32) {
			bytes[at] = waiting;
			bytes[at + 1] = waiting >>> 8;
			bytes[at + 2] = waiting >>> 16;
			bytes[at + 3] = waiting >>> 24;
			at += 4;
			waiting = value >>> (32 - waitingBits);
			bits -= 32;
		}
		for (; bits >= 8; bits -= 8) {
			bytes[at++] = waiting;
			waiting >>>= 8;
		}
		waitingBits = bits;
	}
	if (waitingBits > 0) bytes[at] = waiting;
	return bytes;
}

/**
 * Undoes {@link packRing}; every value is below 2^modulusBits by construction.
 * @throws AlthingError `crypto.bad_length` when `bytes` is not the encoding of `length` values
 */
export function unpackRing(bytes: Uint8Array, modulusBits: ModulusBits, length: number): Uint32Array {
	if (!isPacked(bytes, modulusBits, length)) {
		const expectedBytes = packedSize(length, modulusBits);
		throw new AlthingError(
			"crypto.bad_length",
			`A vector of ${length} values of ${modulusBits} bits has ${expectedBytes} bytes with zeros behind the last value; these ${bytes.length} bytes are none.`,
			{ expectedBytes, sizeBytes: bytes.length },
		);
	}
	if (modulusBits === 16 && littleEndianHost)
		return new Uint32Array(new Uint16Array(new Uint8Array(bytes).buffer));
	const values = new Uint32Array(length);
	const mask = lowBits(modulusBits);
	let at = 0;
	let waiting = 0;
	let waitingBits = 0;
	for (let i = 0; i < length; i++) {
		let byte = 0;
		for (; waitingBits < modulusBits; waitingBits += 8) {
			byte = bytes[at++] as number;
			// Of the last byte only what fits into 32 bits; the rest is kept below.
			waiting |= byte << waitingBits;
		}
		values[i] = waiting & mask;
		waitingBits -= modulusBits;
		waiting = waitingBits === 0 ? 0 : byte >>> (8 - waitingBits);
	}
	return values;
}

/** Where 16-bit values lie in memory as they are packed, which is the usual modulus. */
const littleEndianHost = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function lowBits(modulusBits: ModulusBits): number {
	return modulusBits === 32 ? -1 : (1 << modulusBits) - 1;
}
