import fc from "fast-check";
import { expect, test } from "vitest";
import { ROTATION_ERROR, rotate, rotateBack, UNEVENNESS } from "../../../src/compression/rotation.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";
import { difference, normOf, seed, vector } from "./vectorsForTests.ts";

const LONG = 3 * 2 ** 14 + 77;

function rotated(values: Float64Array, seed32: Uint8Array): Float64Array {
	const copy = values.slice();
	rotate(copy, seed32);
	return copy;
}

function randomVector(length: number, from: number): Float64Array {
	const words = new Uint32Array(length);
	seededWordsForTests(from)(words);
	return Float64Array.from(words, (word) => word / 2 ** 31 - 1);
}

test("a rotation keeps lengths and distances, and comes back", () => {
	fc.assert(
		fc.property(vector(200), vector(200), seed, (x, y, seed32) => {
			const other = Float64Array.from(x, (_, i) => y[i % y.length]!);
			const [rx, ry] = [rotated(x, seed32), rotated(other, seed32)];
			const size = normOf(x) + normOf(other);
			expect(Math.abs(normOf(rx) - normOf(x))).toBeLessThanOrEqual(2 * ROTATION_ERROR * size);
			expect(Math.abs(normOf(difference(rx, ry)) - normOf(difference(x, other)))).toBeLessThanOrEqual(
				3 * ROTATION_ERROR * size,
			);
			rotateBack(rx, seed32);
			expect(normOf(difference(rx, x))).toBeLessThanOrEqual(3 * ROTATION_ERROR * size);
		}),
	);
});

test("a rotation of several blocks and a remainder is linear, keeps lengths, and comes back", () => {
	const seed32 = new Uint8Array(32).fill(5);
	const [x, y] = [randomVector(LONG, 1), randomVector(LONG, 2)];
	const sum = x.map((value, i) => value + 3 * y[i]!);
	const [rx, ry, rs] = [rotated(x, seed32), rotated(y, seed32), rotated(sum, seed32)];
	expect(Math.abs(normOf(rx) / normOf(x) - 1)).toBeLessThan(ROTATION_ERROR);
	expect(normOf(rs.map((value, i) => value - rx[i]! - 3 * ry[i]!))).toBeLessThan(
		8 * ROTATION_ERROR * normOf(sum),
	);
	rotateBack(rx, seed32);
	expect(normOf(difference(rx, x))).toBeLessThan(2 * ROTATION_ERROR * normOf(x));
});

test("whatever the vector is like, no coordinate stays large", () => {
	const spike = (length: number, at: number): Float64Array => {
		const values = new Float64Array(length);
		values[at] = 1;
		return values;
	};
	const cases = [spike(LONG, 0), spike(LONG, LONG - 1), spike(1024, 3), spike(1500, 1400)];
	cases.push(new Float64Array(LONG).fill(1), new Float64Array(700).fill(1));
	cases.push(Float64Array.from({ length: LONG }, (_, i) => (i < 2 ** 14 ? 1 : 0)));
	for (const [k, values] of cases.entries()) {
		const turned = rotated(values, new Uint8Array(32).fill(k));
		const deviation = normOf(values) * Math.sqrt(UNEVENNESS / values.length);
		// Seeds are fixed; seven deviations are exceeded with probability below 1e-7 in each of them.
		expect(Math.max(...turned.map(Math.abs))).toBeLessThan(7 * deviation);
	}
});

test("rotations under different seeds are different, and of the same seed the same bits", () => {
	const x = randomVector(LONG, 3);
	const one = rotated(x, new Uint8Array(32).fill(1));
	expect(rotated(x, new Uint8Array(32).fill(1))).toEqual(one);
	expect(normOf(difference(rotated(x, new Uint8Array(32).fill(2)), one))).toBeGreaterThan(normOf(x));
});
