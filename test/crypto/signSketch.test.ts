import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
	COMBINATIONS,
	combinationsOf,
	combinedRows,
	projectOnRows,
	SKETCH_LIMIT,
	SKETCH_ROWS,
	sketchOf,
} from "../../crypto/signSketch.ts";
import { seededRandomForTests } from "../../testnet/simulate/seededRandom.ts";

const SEED = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

describe("a sketch", () => {
	test("keeps lengths and inner products within a few percent", () => {
		const random = seededRandomForTests(3);
		const vector = () => Int32Array.from({ length: 3000 }, () => Math.floor(random() * 4001) - 2000);
		const [a, b] = [vector(), vector()];
		const c = a.map((value, i) => value + b[i]!);
		const sketch = (values: Int32Array) => sketchOf(SEED, new Uint32Array(values.buffer), 32);
		const [sa, sb, sc] = [sketch(a), sketch(b), sketch(c)];
		for (let r = 0; r < SKETCH_ROWS; r++) expect(sc[r]).toBe(sa[r]! + sb[r]!);
		const exact = (x: Int32Array, y: Int32Array) => dot(Float64Array.from(x), Float64Array.from(y));
		expect(dot(sa, sa) / (SKETCH_ROWS / 2) / exact(a, a)).toBeCloseTo(1, 0);
		expect(dot(sc, sa) / (SKETCH_ROWS / 2) / exact(c, a)).toBeCloseTo(1, 0);
		expect(dot(sa, sa)).toBeLessThan(SKETCH_LIMIT * exact(a, a));
	});

	test("states a false alarm below 2^-40", () => {
		const logarithm = 128 * Math.log(SKETCH_LIMIT / 128) - (SKETCH_LIMIT - 128);
		expect(logarithm / Math.LN2).toBeLessThan(-40);
	});

	test("combined equals the projection on combined rows, in any ring", () => {
		const values = fc.uint32Array({ minLength: 0, maxLength: 40 });
		fc.assert(
			fc.property(values, fc.constantFrom(16, 19, 24, 32), (raw, bits) => {
				const vector = raw.map((value) => value & (bits === 32 ? -1 : 2 ** bits - 1));
				const sketch = sketchOf(SEED, vector, bits);
				const signs = combinationsOf(OTHER);
				const projected = projectOnRows(combinedRows(SEED, OTHER, vector.length), vector, bits);
				for (let j = 0; j < COMBINATIONS; j++) {
					const row = Float64Array.from(signs.subarray(j * SKETCH_ROWS, (j + 1) * SKETCH_ROWS));
					const expected = ((dot(row, sketch) % 2 ** bits) + 2 ** bits) % 2 ** bits;
					expect(projected[j]).toBe(expected);
				}
			}),
		);
	});

	test("of another seed is another one", () => {
		const values = Uint32Array.of(1, 2, 3);
		expect(sketchOf(SEED, values, 24)).not.toEqual(sketchOf(OTHER, values, 24));
		const half = Uint32Array.of(2 ** 23, 2 ** 23);
		expect(new Set(sketchOf(SEED, half, 24).map(Math.abs))).toEqual(new Set([0, 2 ** 23, 2 ** 24]));
	});
});
