import fc from "fast-check";
import { expect, test } from "vitest";
import { CountSketch, MOST_COLUMNS, MOST_ROWS } from "../../../src/compression/countSketch.ts";
import { largestCoordinates } from "../../../src/compression/sharedCoordinates.ts";
import { difference, normOf, seed, vector } from "./vectorsForTests.ts";

test("sketches are linear, and no longer than their fullest cells allow", () => {
	fc.assert(
		fc.property(vector(50), vector(50), seed, (x, y, seed32) => {
			const sketch = new CountSketch(x.length, { rows: 3, columns: 16 }, seed32);
			const other = Float64Array.from(x, (_, i) => y[i % y.length]!);
			const both = sketch.of(x.map((value, i) => value + 2 * other[i]!));
			const [sx, sy] = [sketch.of(x), sketch.of(other)];
			const sum = sx.map((value, i) => value + 2 * sy[i]!);
			expect(normOf(difference(both, sum))).toBeLessThan(1e-9 * (1 + normOf(sum)));
			expect(normOf(sx)).toBeLessThanOrEqual(Math.sqrt(3 * x.length) * normOf(x) * (1 + 1e-12));
		}),
	);
});

test("heavy hitters are found in the sum of many sites' sketches", () => {
	const length = 20_000;
	const sketch = new CountSketch(length, { rows: 5, columns: 2000 }, new Uint8Array(32).fill(9));
	const heavy = [17, 4_000, 9_999, 19_999];
	const total = new Float64Array(sketch.cells);
	for (let site = 0; site < 8; site++) {
		const values = Float64Array.from({ length }, (_, i) => Math.sin(i * (site + 1)) / 50);
		for (const [k, at] of heavy.entries()) values[at] = (k % 2 === 0 ? 1 : -1) * (3 + k);
		for (const [i, value] of sketch.of(values).entries()) total[i]! += value;
	}
	const estimates = sketch.estimates(total);
	expect([...largestCoordinates(estimates, heavy.length)]).toEqual(heavy);
	for (const [k, at] of heavy.entries())
		expect(estimates[at]! / 8 / ((k % 2 === 0 ? 1 : -1) * (3 + k))).toBeCloseTo(1, 1);
});

test("a vector alone in its cells is estimated exactly", () => {
	const sketch = new CountSketch(100, { rows: 1, columns: 64 }, new Uint8Array(32));
	const values = new Float64Array(100);
	values[42] = -2.5;
	expect(sketch.estimates(sketch.of(values))[42]).toBe(-2.5);
});

test("shapes that are none are refused", () => {
	for (const shape of [
		{ rows: 2, columns: 8 },
		{ rows: 0, columns: 8 },
		{ rows: MOST_ROWS + 2, columns: 8 },
		{ rows: 3, columns: 0 },
		{ rows: 3, columns: MOST_COLUMNS + 1 },
	]) {
		expect(() => new CountSketch(10, shape, new Uint8Array(32))).toThrow(
			expect.objectContaining({ code: "compression.bad_sketch" }),
		);
	}
});
