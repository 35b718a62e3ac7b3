/**
 * An adaptive binary range coder: each bit costs about what its context made it expected to cost
 * (Martin 1979; in this form, with carries kept back in a counter, the coder of LZMA). Integers alone,
 * so that all nodes write the same bytes.
 */
import { AlthingError } from "../../crypto/error.ts";

/** Probabilities are in units of 2^-11 and move by 2^-5 of the way to each bit seen. */
const PROBABILITY_BITS = 11;
const ADAPTATION_SHIFT = 5;
const LEAST_RANGE = 2 ** 24;

/** What is expected of a kind of bit: the probability of 0, for each context. */
export function freshContexts(count: number): Uint16Array {
	return new Uint16Array(count).fill(2 ** (PROBABILITY_BITS - 1));
}

function boundOf(range: number, probability: number): number {
	return (range >>> PROBABILITY_BITS) * probability;
}

function adapt(contexts: Uint16Array, context: number, bit: number): void {
	const probability = contexts[context]!;
	contexts[context] =
		bit === 0
			? probability + ((2 ** PROBABILITY_BITS - probability) >> ADAPTATION_SHIFT)
			: probability - (probability >> ADAPTATION_SHIFT);
}

export class BinaryRangeEncoder {
	#bytes = new Uint8Array(1024);
	#size = 0;
	/** Below 2^33: bit 32 is a carry. */
	#low = 0;
	#range = 0xffffffff;
	/** The last byte that a carry may still change, and how many 255s wait behind it. */
	#held = 0;
	#waiting = 0;
	#begun = false;

	bit(contexts: Uint16Array, context: number, bit: number): void {
		const bound = boundOf(this.#range, contexts[context]!);
		if (bit === 0) this.#range = bound;
		else {
			this.#low += bound;
			this.#range -= bound;
		}
		adapt(contexts, context, bit);
		while (this.#range < LEAST_RANGE) {
			this.#range = (this.#range * 256) >>> 0;
			this.#shift();
		}
	}

	/** All bytes; nothing may follow. */
	finish(): Uint8Array {
		for (let i = 0; i < 5; i++) this.#shift();
		return this.#bytes.slice(0, this.#size);
	}

	#shift(): void {
		const carry = this.#low >= 2 ** 32 ? 1 : 0;
		if (carry === 1 || this.#low < 0xff000000) {
			if (this.#begun) this.#put(this.#held + carry);
			for (; this.#waiting > 0; this.#waiting--) this.#put(0xff + carry);
			this.#held = Math.floor(this.#low / 2 ** 24) & 0xff;
			this.#begun = true;
		} else this.#waiting++;
		this.#low = (this.#low % 2 ** 24) * 256;
	}

	#put(byte: number): void {
		if (this.#size === this.#bytes.length) {
			const larger = new Uint8Array(2 * this.#size);
			larger.set(this.#bytes);
			this.#bytes = larger;
		}
		this.#bytes[this.#size++] = byte;
	}
}

export class BinaryRangeDecoder {
	readonly #bytes: Uint8Array;
	#at = 0;
	#code = 0;
	#range = 0xffffffff;

	/** @throws AlthingError `compression.malformed` when the bytes end too soon, here and at any bit */
	constructor(bytes: Uint8Array) {
		this.#bytes = bytes;
		for (let i = 0; i < 4; i++) this.#code = (this.#code * 256 + this.#next()) >>> 0;
	}

	bit(contexts: Uint16Array, context: number): 0 | 1 {
		const bound = boundOf(this.#range, contexts[context]!);
		const bit = this.#code < bound ? 0 : 1;
		if (bit === 0) this.#range = bound;
		else {
			this.#code -= bound;
			this.#range -= bound;
		}
		adapt(contexts, context, bit);
		while (this.#range < LEAST_RANGE) {
			this.#range = (this.#range * 256) >>> 0;
			this.#code = (this.#code * 256 + this.#next()) >>> 0;
		}
		return bit;
	}

	#next(): number {
		const byte = this.#bytes[this.#at++];
		if (byte === undefined) {
			throw new AlthingError(
				"compression.malformed",
				`The coded vector ends after ${this.#bytes.length} bytes, before its last value.`,
			);
		}
		return byte;
	}
}
