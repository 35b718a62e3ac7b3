/**
 * Sparse vectors of small integers as few bytes, where no mask hides them: sets of coordinates in the
 * common state, and quantized vectors that travel in the clear. Zeros cost a fraction of a bit each.
 */

import { equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { BinaryRangeDecoder, BinaryRangeEncoder, freshContexts } from "./binaryRangeCoder.ts";

/** Bits of the largest |value|. */
const MOST_BITS = 31;

/** What is expected of a value: whether it is zero, by how many of the two before it were; its sign; its size. */
class ValueModel {
	readonly zero = freshContexts(3);
	readonly sign = freshContexts(1);
	readonly sizeBits = freshContexts(MOST_BITS + 1);
	/** The bits below the leading one, by how many bits there are and which of them. */
	readonly rest = freshContexts((MOST_BITS + 1) * (MOST_BITS + 1));
	#before = 0;
	#last = 0;

	get zeroContext(): number {
		return this.#before + this.#last;
	}

	saw(value: number): void {
		this.#before = this.#last;
		this.#last = value === 0 ? 0 : 1;
	}
}

/**
 * The one encoding of a vector; its length is not in it.
 * @param values each with an absolute value below 2^31
 */
export function encodeSparse(values: Int32Array): Uint8Array {
	const encoder = new BinaryRangeEncoder();
	const model = new ValueModel();
	for (const value of values) {
		encoder.bit(model.zero, model.zeroContext, value === 0 ? 0 : 1);
		model.saw(value);
		if (value === 0) continue;
		encoder.bit(model.sign, 0, value < 0 ? 1 : 0);
		const size = Math.abs(value);
		const bits = 32 - Math.clz32(size);
		for (let i = 1; i < bits; i++) encoder.bit(model.sizeBits, i, 1);
		if (bits < MOST_BITS) encoder.bit(model.sizeBits, bits, 0);
		for (let i = bits - 2; i >= 0; i--) encoder.bit(model.rest, bits * (MOST_BITS + 1) + i, (size >>> i) & 1);
	}
	return encoder.finish();
}

/**
 * Undoes {@link encodeSparse}. Takes time and memory for `length` values, whatever the bytes are.
 * @param expected number of values, and the largest absolute value that is taken
 * @throws AlthingError `compression.malformed` for bytes that no such vector has
 */
export function decodeSparse(
	bytes: Uint8Array,
	expected: { readonly length: number; readonly largest: number },
): Int32Array {
	const decoder = new BinaryRangeDecoder(bytes);
	const model = new ValueModel();
	const values = new Int32Array(expected.length);
	for (let at = 0; at < values.length; at++) {
		if (decoder.bit(model.zero, model.zeroContext) === 0) {
			model.saw(0);
			continue;
		}
		const negative = decoder.bit(model.sign, 0) === 1;
		let bits = 1;
		while (bits < MOST_BITS && decoder.bit(model.sizeBits, bits) === 1) bits++;
		let size = 1;
		for (let i = bits - 2; i >= 0; i--) size = 2 * size + decoder.bit(model.rest, bits * (MOST_BITS + 1) + i);
		if (size > expected.largest) {
			throw new AlthingError(
				"compression.malformed",
				`Value ${at} of the coded vector is ${size}, more than ${expected.largest}.`,
			);
		}
		values[at] = negative ? -size : size;
		model.saw(size);
	}
	// Other bytes may decode to the same vector; whatever is hashed or signed has one encoding.
	if (!equalBytes(encodeSparse(values), bytes)) {
		throw new AlthingError("compression.malformed", "The bytes are not the encoding of a vector.");
	}
	return values;
}

/** A set of coordinates below `length`, ascending, as bytes. */
export function encodeCoordinates(coordinates: Uint32Array, length: number): Uint8Array {
	const marks = new Int32Array(length);
	for (const coordinate of coordinates) marks[coordinate] = 1;
	return encodeSparse(marks);
}

/** @throws AlthingError `compression.malformed` */
export function decodeCoordinates(bytes: Uint8Array, length: number): Uint32Array {
	const marks = decodeSparse(bytes, { length, largest: 1 });
	const coordinates: number[] = [];
	for (let i = 0; i < length; i++) {
		if (marks[i] === 1) coordinates.push(i);
		else if (marks[i] !== 0)
			throw new AlthingError("compression.malformed", `Mark ${i} of a set is negative.`);
	}
	return Uint32Array.from(coordinates);
}
