/**
 * exp(-rate k) for whole k, as integer bounds of any wanted precision: the only way probabilities
 * enter a selection here, so that no rounded logarithm or exponential decides an outcome
 * (Ilvento 2020 shows what goes wrong with doubles).
 */
import { fixedPointExp } from "../samplers/fixedPointExp.ts";
import type { Rational } from "../samplers/rational.ts";

/** low <= 2^bits exp(-rate k) <= high */
export interface Bounds {
	readonly low: bigint;
	readonly high: bigint;
}

/** k is taken apart into digits of this base: a multiplication a digit instead of a series for every k. */
const BASE = 1024;

export class ExponentialWeights {
	readonly #rate: Rational;
	readonly #bits: bigint;
	/** By position of the digit, by digit; filled as they are met. */
	readonly #tables: (Bounds | undefined)[][] = [];

	/** @param rate >= 0 */
	constructor(rate: Rational, bits: number) {
		this.#rate = rate;
		this.#bits = BigInt(bits);
	}

	/** @param k a safe integer >= 0 */
	at(k: number): Bounds {
		let product: Bounds | undefined;
		let rest = k;
		for (let position = 0; rest > 0; position++) {
			const digit = rest % BASE;
			rest = Math.floor(rest / BASE);
			if (digit === 0) continue;
			const factor = this.#entry(position, digit);
			product = product === undefined ? factor : this.#times(product, factor);
		}
		return product ?? this.#entry(0, 0);
	}

	#times(one: Bounds, other: Bounds): Bounds {
		return { low: (one.low * other.low) >> this.#bits, high: ((one.high * other.high) >> this.#bits) + 1n };
	}

	#entry(position: number, digit: number): Bounds {
		this.#tables[position] ??= [];
		const table = this.#tables[position];
		const known = table[digit];
		if (known !== undefined) return known;
		const { numerator, denominator } = this.#rate;
		const bounds = exponentialBounds(
			numerator * BigInt(digit) * BigInt(BASE) ** BigInt(position),
			denominator,
			this.#bits,
		);
		table[digit] = bounds;
		return bounds;
	}
}

/** Bounds of 2^bits exp(-numerator / denominator), at most 2 apart: a unit on each side covers what `fixedPointExp` errs by. */
export function exponentialBounds(numerator: bigint, denominator: bigint, bits: bigint): Bounds {
	// exp(-x) < 2^-bits.
	if (numerator >= bits * denominator) return { low: 0n, high: 1n };
	const rounded = fixedPointExp(numerator, denominator, bits);
	return { low: rounded > 0n ? rounded - 1n : 0n, high: rounded + 1n };
}
