/** Vectors over Z/2^m as little-endian bytes: m/8 bytes a value for m = 16, 24, 32. */
import { AlthingError } from "./error.ts";

export type ModulusBits = 16 | 24 | 32;

/** The low `modulusBits` bits of each value, packed; `values.length * modulusBits / 8` bytes. */
export function packRing(values: Uint32Array, modulusBits: ModulusBits): Uint8Array {
	const width = modulusBits / 8;
	const bytes = new Uint8Array(values.length * width);
	for (let i = 0, at = 0; i < values.length; i++, at += width) {
		const value = values[i] as number;
		bytes[at] = value;
		bytes[at + 1] = value >>> 8;
		if (width > 2) bytes[at + 2] = value >>> 16;
		if (width > 3) bytes[at + 3] = value >>> 24;
	}
	return bytes;
}

/**
 * Undoes {@link packRing}; every value is below 2^modulusBits by construction.
 * @throws AlthingError `crypto.bad_length` when `bytes` is not exactly `length` values
 */
export function unpackRing(bytes: Uint8Array, modulusBits: ModulusBits, length: number): Uint32Array {
	const width = modulusBits / 8;
	if (bytes.length !== length * width) {
		throw new AlthingError(
			"crypto.bad_length",
			`A vector of ${length} values of ${modulusBits} bits has ${length * width} bytes, not ${bytes.length}.`,
			{ expectedBytes: length * width, sizeBytes: bytes.length },
		);
	}
	const values = new Uint32Array(length);
	for (let i = 0, at = 0; i < length; i++, at += width) {
		let value = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
		if (width > 2) value |= (bytes[at + 2] as number) << 16;
		if (width > 3) value |= (bytes[at + 3] as number) << 24;
		values[i] = value;
	}
	return values;
}
