/**
 * Arithmetic modulo three primes just below 2^26. A product of two residues is below 2^52 and exact in a
 * double, so that no BigInt touches a secret; an integer of less than 2^77 in absolute value is its three
 * residues (Chinese remainders), and polynomials over the product ring are three polynomials side by side.
 *
 * Operations on secrets are multiplications, additions and corrections by 0 or p, without branches on
 * values and without the remainder operator, whose time depends on them; what a just-in-time compiler makes
 * of a comparison is not promised.
 */
import { AlthingError } from "./error.ts";

export interface Prime {
	readonly p: number;
	/** 1 / p, rounded. */
	readonly reciprocal: number;
}

export const PRIMES: readonly Prime[] = [67_108_859, 67_108_837, 67_108_819].map((p) => ({
	p,
	reciprocal: 1 / p,
}));

/** Bits of a residue. */
export const RESIDUE_BITS = 26;

const [P0, P1, P2] = PRIMES.map(({ p }) => BigInt(p)) as [bigint, bigint, bigint];
const PRODUCT = P0 * P1 * P2;

/** a b mod p, for residues. */
export function multiply(a: number, b: number, { p, reciprocal }: Prime): number {
	const product = a * b;
	// The quotient is off by at most one; both corrections are computed.
	const rest = product - Math.floor(product * reciprocal) * p;
	return rest + p * Number(rest < 0) - p * Number(rest >= p);
}

/** a + b mod p, for residues. */
export function add(a: number, b: number, { p }: Prime): number {
	const sum = a + b;
	return sum - p * Number(sum >= p);
}

/** a - b mod p, for residues. */
export function subtract(a: number, b: number, { p }: Prime): number {
	const difference = a - b;
	return difference + p * Number(difference < 0);
}

/** The residue of an integer below 2^52 in absolute value. */
export function residue(value: number, { p, reciprocal }: Prime): number {
	const rest = value - Math.floor(value * reciprocal) * p;
	return rest + p * Number(rest < 0) - p * Number(rest >= p);
}

/**
 * The inverse of a public residue.
 * @throws AlthingError `crypto.bad_value` for zero
 */
export function invertPublic(a: number, prime: Prime): number {
	if (a === 0) throw new AlthingError("crypto.bad_value", "Zero has no inverse.");
	let result = 1;
	let power = a;
	for (let exponent = prime.p - 2; exponent > 0; exponent = Math.floor(exponent / 2)) {
		if (exponent % 2 === 1) result = multiply(result, power, prime);
		power = multiply(power, power, prime);
	}
	return result;
}

/** By prime: one modulo it, and zero modulo the others. */
const UNITS = PRIMES.map((prime) => {
	const others = PRODUCT / BigInt(prime.p);
	return others * BigInt(invertPublic(Number(others % BigInt(prime.p)), prime));
});

/** The public integer in (-M/2, M/2], M the product of the primes, with these residues. */
export function integerOf(residues: readonly number[]): bigint {
	let value = 0n;
	for (const [i, unit] of UNITS.entries()) value += BigInt(residues[i] as number) * unit;
	value %= PRODUCT;
	return value > PRODUCT / 2n ? value - PRODUCT : value;
}

/**
 * Uniform residues from random bytes, by rejection.
 * @param random the system's CSPRNG, or a seeded one in tests and simulations
 */
export function randomResidues(
	count: number,
	{ p }: Prime,
	random: (length: number) => Uint8Array,
): Uint32Array {
	const values = new Uint32Array(count);
	for (let filled = 0; filled < count; ) {
		const words = new Uint32Array(Uint8Array.from(random(4 * (count - filled))).buffer);
		for (const word of words) {
			const value = word & (2 ** RESIDUE_BITS - 1);
			// One word in more than a million is rejected: what is skipped is no part of the secret.
			if (value < p) values[filled++] = value;
		}
	}
	return values;
}

/**
 * Values of polynomials side by side at a public point, by Horner's rule.
 * @param coefficients rows of `width` residues, lowest degree first
 */
export function evaluate(coefficients: Uint32Array, width: number, x: number, prime: Prime): Uint32Array {
	const values = new Uint32Array(width);
	for (let row = coefficients.length / width - 1; row >= 0; row--)
		for (let w = 0; w < width; w++)
			values[w] = add(
				multiply(values[w] as number, x, prime),
				coefficients[row * width + w] as number,
				prime,
			);
	return values;
}

/** Lagrange weights at a public point: `sum_j weight_j f(x_j) = f(x)` for every f of degree < points. */
export function weightsAt(x: number, points: readonly number[], prime: Prime): number[] {
	return points.map((xj) => {
		let numerator = 1;
		let denominator = 1;
		for (const xm of points) {
			if (xm === xj) continue;
			numerator = multiply(numerator, subtract(x, xm, prime), prime);
			denominator = multiply(denominator, subtract(xj, xm, prime), prime);
		}
		return multiply(numerator, invertPublic(denominator, prime), prime);
	});
}
