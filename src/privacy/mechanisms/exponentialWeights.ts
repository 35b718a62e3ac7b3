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

/** k = PAGE i + j: one multiplication instead of a series for every k. */
const PAGE = 1024;
const GUARD_BITS = 64n;

export class ExponentialWeights {
	readonly #rate: Rational;
	readonly #bits: bigint;
	readonly #fine: (Bounds | undefined)[] = [];
	readonly #coarse: (Bounds | undefined)[] = [];

	/** @param rate >= 0 */
	constructor(rate: Rational, bits: number) {
		this.#rate = rate;
		this.#bits = BigInt(bits);
	}

	/** @param k a safe integer >= 0 */
	at(k: number): Bounds {
		const page = Math.floor(k / PAGE);
		const fine = this.#entry(this.#fine, k - page * PAGE, 1);
		if (page === 0) return fine;
		// Beyond 2^-bits the page is only needed as "almost nothing": do not fill a table of it.
		const coarse = this.#negligible(page) ? { low: 0n, high: 1n } : this.#entry(this.#coarse, page, PAGE);
		return {
			low: (fine.low * coarse.low) >> this.#bits,
			high: ((fine.high * coarse.high) >> this.#bits) + 1n,
		};
	}

	#negligible(page: number): boolean {
		const { numerator, denominator } = this.#rate;
		return numerator * BigInt(page) * BigInt(PAGE) > this.#bits * denominator;
	}

	#entry(table: (Bounds | undefined)[], index: number, step: number): Bounds {
		let bounds = table[index];
		if (bounds === undefined) {
			const { numerator, denominator } = this.#rate;
			bounds = exponentialBounds(numerator * BigInt(index) * BigInt(step), denominator, this.#bits);
			table[index] = bounds;
		}
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
