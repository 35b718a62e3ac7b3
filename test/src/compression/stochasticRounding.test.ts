import fc from "fast-check";
import { expect, test } from "vitest";
import { roundAtRandom, roundedReach } from "../../../src/compression/stochasticRounding.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";
import { difference, normOf } from "./vectorsForTests.ts";

function rounded(values: Float64Array, scale: number, seed: number): Float64Array {
	const copy = values.slice();
	roundAtRandom(copy, scale, seededWordsForTests(seed));
	return copy;
}

test("every value becomes one of the two integers beside it", () => {
	fc.assert(
		fc.property(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.nat(1000), (value, seed) => {
			const [integer] = rounded(Float64Array.of(value), 1, seed) as unknown as [number];
			expect(Number.isInteger(integer)).toBe(true);
			expect(Math.abs(integer - value)).toBeLessThanOrEqual(1);
			if (Number.isInteger(value)) expect(integer).toBe(value);
		}),
	);
});

test("the mean is the value itself, also of updates far below one unit", () => {
	const count = 200_000;
	for (const value of [0.01, -0.3, 2.5, -7.99]) {
		const integers = rounded(new Float64Array(count).fill(value / 4), 4, 17);
		const mean = integers.reduce((sum, one) => sum + one, 0) / count;
		// The seed is fixed; six standard errors.
		expect(Math.abs(mean - value)).toBeLessThan((6 * 0.5) / Math.sqrt(count));
	}
});

test("neighbours rounded with the same words stay within the reach, and come near it", () => {
	const length = 4096;
	for (const [k, scale] of [1, 4, 30, 64].entries()) {
		const words = new Uint32Array(2 * length);
		seededWordsForTests(k)(words);
		const u = Float64Array.from({ length }, (_, i) => words[i]! / 2 ** 31);
		const step = Float64Array.from({ length }, (_, i) => words[length + i]! / 2 ** 31 - 1);
		const norm = normOf(step);
		const v = u.map((value, i) => value + step[i]! / norm);
		const reach = roundedReach(scale, length);
		const moved = normOf(difference(rounded(u, scale, 7), rounded(v, scale, 7)));
		expect(moved).toBeLessThanOrEqual(reach);
		// Far less than the worst of roundings to nearest integers.
		expect(reach).toBeLessThan(scale + Math.sqrt(length));
		if (scale >= 30) expect(moved).toBeGreaterThan(reach * 0.8);
	}
});

test("the reach is never below the distance itself, nor above that of any rounding", () => {
	fc.assert(
		fc.property(fc.double({ min: 0.01, max: 1e6, noNaN: true }), fc.integer({ min: 1, max: 1e7 }), (c, d) => {
			expect(roundedReach(c, d)).toBeGreaterThanOrEqual(c);
			expect(roundedReach(c, d)).toBeLessThanOrEqual(c + Math.sqrt(d));
		}),
	);
	// With s c = 2 sqrt(d) rounding costs 3 % of the sensitivity.
	expect(roundedReach(2 * Math.sqrt(1e6), 1e6) / (2 * Math.sqrt(1e6))).toBeLessThan(1.035);
});

test("numbers that are none stay none, so that encoding refuses them", () => {
	for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
		expect(Number.isFinite(rounded(Float64Array.of(value), 2, 1)[0])).toBe(false);
	}
});
