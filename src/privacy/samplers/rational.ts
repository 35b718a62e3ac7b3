/** Exact fractions, so that no sampler rounds its own parameter. */
import { AlthingError } from "../../../crypto/error.ts";

export interface Rational {
	readonly numerator: bigint;
	/** > 0 */
	readonly denominator: bigint;
}

/**
 * A double as the fraction it is: every finite double is an integer times a power of two.
 * @param value finite
 */
export function exactFraction(value: number): Rational {
	let numerator = value;
	let denominator = 1n;
	while (!Number.isInteger(numerator)) {
		// Doubling is exact in binary floating point.
		numerator *= 2;
		denominator *= 2n;
	}
	return { numerator: BigInt(numerator), denominator };
}

/**
 * sigma^2 of a double, exactly.
 * @throws AlthingError `privacy.bad_sigma` unless 0 < sigma < infinity
 */
export function exactSquare(sigma: number): Rational {
	if (!(sigma > 0 && sigma < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_sigma",
			`The standard deviation of noise must be positive and finite, not ${sigma}.`,
			{ sigma },
		);
	}
	const { numerator, denominator } = exactFraction(sigma);
	return { numerator: numerator ** 2n, denominator: denominator ** 2n };
}
