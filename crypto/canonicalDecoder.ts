/**
 * Reads canonical CBOR (RFC 8949 section 4.2.1) and refuses every other form as it goes: lengths, integers
 * and floats that could be shorter, keys that are not text or not in order, indefinite lengths, tags,
 * undefined, NaN and infinities, text that is not UTF-8, bytes behind the end.
 */
import { MAX_DEPTH } from "./canonicalEncoder.ts";
import { halfValue, shortestFloat } from "./cborFloat.ts";

const NOT_SHORTEST = "a length or an integer could be shorter";
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @throws Error saying what is not canonical */
export function readCanonical(bytes: Uint8Array): unknown {
	const reader = new Reader(bytes);
	const value = reader.value(0);
	reader.end();
	return value;
}

class Reader {
	readonly #bytes: Buffer;
	#at = 0;

	constructor(bytes: Uint8Array) {
		this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
	}

	end(): void {
		if (this.#at !== this.#bytes.length) throw new Error("bytes follow its end");
	}

	value(depth: number): unknown {
		const first = this.#byte();
		const major = first >>> 5;
		switch (major) {
			case 0:
				return this.#integer(first, false);
			case 1:
				return this.#integer(first, true);
			case 2: {
				const from = this.#take(this.#argument(first));
				// A copy: what was read must not change, or stay, with the message.
				return new Uint8Array(this.#bytes.subarray(from, this.#at));
			}
			case 3:
				return this.#text(this.#argument(first));
			case 4:
				return this.#array(this.#argument(first), depth);
			case 5:
				return this.#map(this.#argument(first), depth);
			case 7:
				return this.#simple(first);
			default:
				throw new Error("it has a tag");
		}
	}

	#byte(): number {
		const byte = this.#bytes[this.#at];
		if (byte === undefined) throw new Error("it ends too early");
		this.#at++;
		return byte;
	}

	/** Passes over `size` bytes. @returns where they begin */
	#take(size: number): number {
		const from = this.#at;
		if (size > this.#bytes.length - from) throw new Error("it ends too early");
		this.#at = from + size;
		return from;
	}

	/** The argument of a head, a length or count. */
	#argument(first: number): number {
		const argument = this.#wideArgument(first);
		if (typeof argument === "bigint") throw new Error("it ends too early");
		return argument;
	}

	/** The argument of a head; a bigint where it is no safe integer. */
	#wideArgument(first: number): number | bigint {
		const additional = first & 31;
		if (additional < 24) return additional;
		if (additional === 24) return atLeast(this.#byte(), 24);
		if (additional === 25) return atLeast(this.#bytes.readUInt16BE(this.#take(2)), 2 ** 8);
		if (additional === 26) return atLeast(this.#bytes.readUInt32BE(this.#take(4)), 2 ** 16);
		if (additional !== 27) throw new Error("it has an indefinite or reserved length");
		const from = this.#take(8);
		const high = atLeast(this.#bytes.readUInt32BE(from), 1);
		if (high >= 2 ** 21) return this.#bytes.readBigUInt64BE(from);
		return high * 2 ** 32 + this.#bytes.readUInt32BE(from + 4);
	}

	#integer(first: number, negative: boolean): number | bigint {
		const argument = this.#wideArgument(first);
		if (typeof argument === "bigint") return negative ? -1n - argument : argument;
		if (!negative) return argument;
		// The one that is not safe: -2^53.
		return argument === Number.MAX_SAFE_INTEGER ? -1n - BigInt(argument) : -1 - argument;
	}

	#text(size: number): string {
		const from = this.#take(size);
		const { length } = this.#bytes;
		let i = from;
		while (i < this.#at && i < length && (this.#bytes[i] as number) < 0x80) i++;
		if (i === this.#at) return this.#bytes.toString("latin1", from, this.#at);
		return strictUtf8.decode(this.#bytes.subarray(from, this.#at));
	}

	#array(count: number, depth: number): unknown[] {
		this.#enter(count, depth);
		const values: unknown[] = [];
		for (let i = 0; i < count; i++) values.push(this.value(depth + 1));
		return values;
	}

	#map(count: number, depth: number): object {
		this.#enter(2 * count, depth);
		const values: Record<string, unknown> = {};
		let previousFrom = 0;
		let previousTo = 0;
		for (let i = 0; i < count; i++) {
			const from = this.#at;
			const first = this.#byte();
			if (first >>> 5 !== 3) throw new Error("a key is not text");
			const key = this.#text(this.#argument(first));
			if (i > 0 && !this.#precedes(previousFrom, previousTo, from))
				throw new Error("its keys are not in order, or one repeats");
			previousFrom = from;
			previousTo = this.#at;
			const value = this.value(depth + 1);
			if (key === "__proto__")
				Object.defineProperty(values, key, { value, enumerable: true, configurable: true, writable: true });
			else values[key] = value;
		}
		return values;
	}

	/** Whether the key at `from` to `to` comes before the one that begins at `next` and ends here. */
	#precedes(from: number, to: number, next: number): boolean {
		const bytes = this.#bytes;
		for (let i = 0; from + i < to && next + i < this.#at; i++) {
			const difference = (bytes[from + i] as number) - (bytes[next + i] as number);
			if (difference !== 0) return difference < 0;
		}
		return false;
	}

	#enter(leastBytes: number, depth: number): void {
		if (depth === MAX_DEPTH) throw new Error(`it is nested deeper than ${MAX_DEPTH} levels`);
		if (leastBytes > this.#bytes.length - this.#at) throw new Error("it ends too early");
	}

	#simple(first: number): boolean | null | number {
		if (first === 0xf4) return false;
		if (first === 0xf5) return true;
		if (first === 0xf6) return null;
		const from = this.#at - 1;
		let value: number;
		if (first === 0xf9) value = halfValue(this.#bytes.readUInt16BE(this.#take(2)));
		else if (first === 0xfa) value = this.#bytes.readFloatBE(this.#take(4));
		else if (first === 0xfb) value = this.#bytes.readDoubleBE(this.#take(8));
		else throw new Error("it has a simple value other than false, true and null");
		if (!Number.isFinite(value)) throw new Error("it has a number that is not finite");
		if (Number.isSafeInteger(value) || shortestFloat(value).length !== this.#at - from)
			throw new Error("a number could be shorter");
		return value;
	}
}

function atLeast(argument: number, least: number): number {
	if (argument < least) throw new Error(NOT_SHORTEST);
	return argument;
}
