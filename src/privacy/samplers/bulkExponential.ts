/** e^-x of a fraction in fixed point, for tables and decisions that must not rest on floating point. */

/** Fractional bits of the results. */
export const EXPONENTIAL_BITS = 256n;

const GUARD_BITS = 64n;
const BITS = EXPONENTIAL_BITS + GUARD_BITS;
const ONE = 1n << BITS;

/**
 * exp(-numerator / denominator) in units of 2^-256, within 2^-240: range reduction and Taylor series.
 * @param numerator >= 0
 * @param denominator > 0
 */
export function fixedPointExp(numerator: bigint, denominator: bigint): bigint {
	let argument = (numerator << BITS) / denominator;
	let halvings = 0;
	while (argument > ONE >> 4n) {
		argument >>= 1n;
		halvings++;
	}
	let term = ONE;
	let sum = ONE;
	for (let i = 1n; term !== 0n && term !== -1n; i++) {
		term = -((term * argument) >> BITS) / i;
		sum += term;
	}
	for (let i = 0; i < halvings; i++) sum = (sum * sum) >> BITS;
	return sum >> GUARD_BITS;
}
