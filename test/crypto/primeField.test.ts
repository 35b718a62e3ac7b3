import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { correctErrors } from "../../crypto/errorCorrection.ts";
import {
	add,
	evaluate,
	integerOf,
	invertPublic,
	multiply,
	PRIMES,
	type Prime,
	randomResidues,
	residue,
	subtract,
	weightsAt,
} from "../../crypto/primeField.ts";
import { randomBytes } from "../../crypto/random.ts";

const prime = fc.constantFrom(...PRIMES);
const pair = prime.chain((of) => {
	const element = fc.oneof(fc.integer({ min: 0, max: of.p - 1 }), fc.constantFrom(0, 1, of.p - 1));
	return fc.tuple(fc.constant(of), element, element);
});
const big = ({ p }: Prime, value: bigint) => Number(((value % BigInt(p)) + BigInt(p)) % BigInt(p));

describe("the prime fields", () => {
	test("are fields", () => {
		for (const { p } of PRIMES) {
			expect(p).toBeLessThan(2 ** 26);
			for (let d = 2; d * d <= p; d++) expect(p % d).not.toBe(0);
		}
	});

	test("multiply, add and subtract as integers do", () => {
		fc.assert(
			fc.property(pair, ([of, a, b]) => {
				expect(multiply(a, b, of)).toBe(big(of, BigInt(a) * BigInt(b)));
				expect(add(a, b, of)).toBe(big(of, BigInt(a + b)));
				expect(subtract(a, b, of)).toBe(big(of, BigInt(a - b)));
			}),
			{ numRuns: 2000 },
		);
	});

	test("invert what is not zero", () => {
		fc.assert(
			fc.property(pair, ([of, a]) => {
				if (a === 0) expect(() => invertPublic(a, of)).toThrow(/no inverse/);
				else expect(multiply(a, invertPublic(a, of), of)).toBe(1);
			}),
		);
	});

	test("together hold any integer below 2^76", () => {
		fc.assert(
			fc.property(fc.bigInt({ min: -(2n ** 76n), max: 2n ** 76n }), (value) => {
				expect(integerOf(PRIMES.map((of) => big(of, value)))).toBe(value);
			}),
		);
		fc.assert(
			fc.property(prime, fc.integer({ min: -(2 ** 51), max: 2 ** 51 }), (of, value) => {
				expect(residue(value, of)).toBe(big(of, BigInt(value)));
			}),
		);
	});

	test("give uniform residues, never one too large", () => {
		const [of] = PRIMES as [Prime];
		const ones = new Uint8Array(4).fill(255);
		let first = true;
		const random = (length: number) => {
			if (!first) return randomBytes(length);
			first = false;
			return Uint8Array.from([...ones, ...randomBytes(length - 4)]);
		};
		const values = randomResidues(1000, of, random);
		expect(values).toHaveLength(1000);
		for (const value of values) expect(value).toBeLessThan(of.p);
	});
});

describe("error correction", () => {
	const code = fc
		.record({
			of: prime,
			degree: fc.integer({ min: 0, max: 8 }),
			errors: fc.integer({ min: 0, max: 4 }),
			spare: fc.integer({ min: 0, max: 3 }),
			wrong: fc.integer({ min: 0, max: 4 }),
		})
		.chain((shape) =>
			fc.record({
				shape: fc.constant(shape),
				coefficients: fc.array(fc.integer({ min: 0, max: shape.of.p - 1 }), {
					minLength: shape.degree + 1,
					maxLength: shape.degree + 1,
				}),
				offsets: fc.array(fc.integer({ min: 1, max: shape.of.p - 1 }), { minLength: 4, maxLength: 4 }),
				order: fc.shuffledSubarray(
					Array.from({ length: shape.degree + 1 + 2 * shape.errors + shape.spare }, (_, i) => i),
				),
			}),
		);

	test("finds the polynomial and the wrong values, up to the stated number, in any place", () => {
		fc.assert(
			fc.property(code, ({ shape, coefficients, offsets, order }) => {
				const { of, degree, errors, spare } = shape;
				const points = Array.from({ length: degree + 1 + 2 * errors + spare }, (_, i) => i + 1);
				const values = points.map((x) => evaluate(Uint32Array.from(coefficients), 1, x, of)[0] as number);
				const wrong = order.slice(0, Math.min(shape.wrong, errors)).sort((a, b) => a - b);
				for (const [k, j] of wrong.entries()) values[j] = add(values[j] as number, offsets[k] as number, of);
				const found = correctErrors(points, values, degree, errors, of);
				expect(found?.wrong).toEqual(wrong);
				expect([...(found?.coefficients ?? [])]).toEqual(coefficients);
				// Whoever is suspected, rightly or not, the answer is the same.
				for (const suspects of [wrong, order.slice(0, errors), order.slice(errors)])
					expect(correctErrors(points, values, degree, errors, of, new Set(suspects))).toEqual(found);
			}),
			{ numRuns: 400 },
		);
	});

	test("has all its coefficients where nearly everybody is suspected, those that are zero, too", () => {
		for (const of of PRIMES)
			for (const suspects of [[], [0], [0, 1, 2], [0, 1, 2, 3]]) {
				const found = correctErrors([1, 2, 3, 4], [0, 0, 0, 0], 1, 1, of, new Set(suspects));
				expect(found).toEqual({ coefficients: Uint32Array.of(0, 0), wrong: [] });
			}
	});

	test("says so when too many values are wrong, or too few are there", () => {
		const [of] = PRIMES as [Prime];
		const points = [1, 2, 3, 4, 5, 6, 7];
		const values = points.map((x) => multiply(x, x, of));
		values[0] = 5;
		values[3] = 77;
		values[6] = 3;
		expect(correctErrors(points, values, 2, 2, of)).toBeUndefined();
		expect(correctErrors(points.slice(0, 6), values, 2, 2, of)).toBeUndefined();
	});

	test("interpolation agrees with evaluation at any point", () => {
		fc.assert(
			fc.property(pair, fc.integer({ min: 0, max: 1000 }), ([of, a, b], x) => {
				const points = [3, 9, 27, 81];
				const coefficients = Uint32Array.of(a, b, 5, 7);
				const weights = weightsAt(x, points, of);
				const sum = points.reduce((total, point, j) => {
					const value = evaluate(coefficients, 1, point, of)[0] as number;
					return add(total, multiply(value, weights[j] as number, of), of);
				}, 0);
				expect(sum).toBe(evaluate(coefficients, 1, x, of)[0]);
			}),
		);
	});
});
