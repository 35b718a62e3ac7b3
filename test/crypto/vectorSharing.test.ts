import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { correctErrors } from "../../crypto/errorCorrection.ts";
import { add, integerOf, multiply, PRIMES } from "../../crypto/primeField.ts";
import { randomBytes } from "../../crypto/random.ts";
import {
	checkVectorShare,
	heldVectors,
	innerProduct,
	type SharingShape,
	shareVector,
	type VectorSharing,
} from "../../crypto/vectorSharing.ts";

const SHAPE: SharingShape = { length: 7, zeros: 3, degree: 2, holders: 9 };
const CONTEXT = new Uint8Array(32).fill(4);
const POINTS = Array.from({ length: SHAPE.holders }, (_, i) => i + 1);

const deal = (vector: readonly number[], context = CONTEXT) =>
	shareVector({ vector: Float64Array.from(vector), shape: SHAPE, context, random: randomBytes });
const accepts = (
	sharing: VectorSharing,
	index: number,
	change: Partial<VectorSharing["shares"][number]> = {},
) =>
	checkVectorShare({
		shape: SHAPE,
		context: CONTEXT,
		root: sharing.root,
		response: sharing.response,
		share: { ...sharing.shares[index]!, ...change },
	});
const vectors = fc.array(fc.integer({ min: -(2 ** 36), max: 2 ** 36 }), { minLength: 7, maxLength: 7 });

describe("a shared vector", () => {
	test("is accepted by every holder", () => {
		const sharing = deal([1, -2, 3, 2 ** 40, 0, -(2 ** 50), 7]);
		for (const i of POINTS.keys()) expect(accepts(sharing, i)).toBe(true);
	});

	test("gives inner products through wrong and missing shares, hidden by zeros", () => {
		fc.assert(
			fc.property(
				vectors,
				vectors,
				fc.integer({ min: 0, max: 8 }),
				fc.integer({ min: 0, max: 8 }),
				(a, b, bad, worse) => {
					const [one, other] = [deal(a), deal(b)];
					const opened = PRIMES.map((prime, k) => {
						const values = POINTS.map((_, j) => {
							const mine = heldVectors(SHAPE, one.shares[j]!)[k]!;
							const theirs = heldVectors(SHAPE, other.shares[j]!)[k]!;
							const hidden = add(innerProduct(mine.vector, theirs.vector, prime), mine.zeros[1]!, prime);
							return j === bad || j === worse ? multiply(hidden, 2, prime) : hidden;
						});
						return (
							correctErrors(POINTS, values, 2 * SHAPE.degree, SHAPE.degree, prime)?.coefficients[0] ?? -1
						);
					});
					const expected = a.reduce((sum, value, i) => sum + BigInt(value) * BigInt(b[i]!), 0n);
					expect(integerOf(opened)).toBe(expected);
				},
			),
			{ numRuns: 60 },
		);
	});

	test("tells f holders nothing: their shares fit any other vector", () => {
		// Two shares and any value at zero determine a polynomial of degree 2: what they hold is uniform.
		const seen = new Set(Array.from({ length: 50 }, () => deal([5, 5, 5, 5, 5, 5, 5]).shares[0]!.values[0]));
		expect(seen.size).toBe(50);
	});

	test("cannot be changed by one value, salt or place", () => {
		const sharing = deal([1, 2, 3, 4, 5, 6, 7]);
		const share = sharing.shares[3]!;
		const values = share.values.map((value, i) => (i === 2 ? value ^ 1 : value));
		expect(accepts(sharing, 3, { values })).toBe(false);
		expect(accepts(sharing, 3, { salt: new Uint8Array(16) })).toBe(false);
		expect(accepts(sharing, 3, { index: 5 })).toBe(false);
		expect(accepts(sharing, 3, { index: 0 })).toBe(false);
		expect(accepts(sharing, 3, { values: values.subarray(1) })).toBe(false);
		expect(checkVectorShare({ shape: SHAPE, context: new Uint8Array(32), ...sharing, share })).toBe(false);
	});

	test("of a dealer that commits to another polynomial for one holder is refused by it", () => {
		// The response of one sharing with the shares of another: each is committed, but they do not fit.
		const [one, other] = [deal([1, 2, 3, 4, 5, 6, 7]), deal([1, 2, 3, 4, 5, 6, 8])];
		const claim = {
			shape: SHAPE,
			context: CONTEXT,
			root: other.root,
			response: one.response,
			share: other.shares[0]!,
		};
		expect(checkVectorShare(claim)).toBe(false);
	});

	test("whose zeros are not zero at zero cannot be answered for", () => {
		// Whatever response a dealer makes up, the constant term of w is not sent: it is zero by form.
		const sharing = deal([0, 0, 0, 0, 0, 0, 0]);
		const response = sharing.response.map((value, i) =>
			i === sharing.response.length - 1 ? value ^ 1 : value,
		);
		expect(accepts({ ...sharing, response }, 0)).toBe(false);
	});

	test("is refused where it cannot be dealt", () => {
		expect(() => deal([2 ** 51, 0, 0, 0, 0, 0, 0])).toThrow(/cannot be shared/);
		expect(() => deal([0])).toThrow(/cannot be shared/);
		const shape = { ...SHAPE, holders: 4 };
		const vector = new Float64Array(7);
		expect(() => shareVector({ vector, shape, context: CONTEXT, random: randomBytes })).toThrow(
			/cannot be shared/,
		);
	});
});
