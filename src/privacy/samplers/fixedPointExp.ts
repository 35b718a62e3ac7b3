/** e^-x of a fraction in fixed point, for tables and decisions that must not rest on floating point. */

/** Fractional bits of the results, unless others are asked for. */
export const EXPONENTIAL_BITS = 256n;

const GUARD_BITS = 64n;

/**
 * exp(-numerator / denominator) in units of 2^-bits: range reduction and Taylor series, in
 * B = bits + 64 fractional bits.
 *
 * The argument x is halved h times to at most 1/16 and truncated, an error of at most 2 units of 2^-B;
 * the series has fewer than 2^8 terms (for bits up to 2048) and truncates each by at most 2 units;
 * every squaring of a number in [0, 1] doubles the error and adds a unit. In all that is below
 * 2^(h + 11) units of 2^-B with 2^h < 32 x: less than one unit of the result for x < bits <= 2048, and
 * for the 256 bits of the noise tables below 2^-240.
 * @param numerator >= 0
 * @param denominator > 0
 */
export function fixedPointExp(
	numerator: bigint,
	denominator: bigint,
	bits: bigint = EXPONENTIAL_BITS,
): bigint {
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
	return sum >> GUARD_BITS;
}
