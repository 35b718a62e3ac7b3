/**
 * exp(-rate k) for whole k, as integer bounds of any wanted precision: the only way probabilities
 * enter a selection here, so that no rounded logarithm or exponential decides an outcome
 * (Ilvento 2020 shows what goes wrong with doubles).
 */
import type { Rational } from "../samplers/rational.ts";

/** low <= 2^bits exp(-rate k) <= high */
export interface Bounds {
	readonly low: bigint;
	readonly high: bigint;
}

/** k is taken apart into digits of this base: a multiplication a digit instead of a series for every k. */
const BASE = 1024;
const GUARD_BITS = 64n;

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

/**
 * Bounds of 2^bits exp(-numerator / denominator), at most 2 apart.
 *
 * With B = bits + 64: the argument x is halved h times to at most 1/16 and truncated, an error of
 * at most 2 units of 2^-B; the series has fewer than 2^8 terms (for bits up to 2048) and truncates
 * each by at most 2 units; every squaring of a number in [0, 1] doubles the error and adds a unit.
 * As x < bits, 2^h < 32 bits <= 2^16, so the total is below 2^16 * 2^11 units of 2^-B, far less
 * than one unit of the result.
 */
export function exponentialBounds(numerator: bigint, denominator: bigint, bits: bigint): Bounds {
	// exp(-x) < 2^-bits.
	if (numerator >= bits * denominator) return { low: 0n, high: 1n };
	const precision = bits + GUARD_BITS;
	const one = 1n << precision;
	let argument = (numerator << precision) / denominator;
	let halvings = 0;
	while (argument > one >> 4n) {
		argument >>= 1n;
		halvings++;
	}
	let term = one;
	let sum = one;
	for (let i = 1n; term !== 0n && term !== -1n; i++) {
		term = -((term * argument) >> precision) / i;
		sum += term;
	}
	for (let i = 0; i < halvings; i++) sum = (sum * sum) >> precision;
	const rounded = sum >> GUARD_BITS;
	return { low: rounded > 0n ? rounded - 1n : 0n, high: rounded + 1n };
}
