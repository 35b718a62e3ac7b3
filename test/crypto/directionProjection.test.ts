/** A projection on a rounded public direction: linear, right on average, near for what is fixed before the seed. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
	DIRECTION_ROUNDING,
	projectOnDirection,
	roundedDirection,
} from "../../crypto/directionProjection.ts";
import { centredResidue } from "../../crypto/signProjection.ts";
import { seededRandomForTests } from "../../testnet/simulate/seededRandom.ts";

const seedOf = (byte: number) => new Uint8Array(32).fill(byte);

describe("a rounded direction", () => {
	test("is one of the two integers around each number, by the seed, and whole numbers stay", () => {
		const direction = Float64Array.of(0, -3, 7, 0.25, -0.25, 1.5, -2.75);
		const sums = new Float64Array(direction.length);
		const rows = new Set<string>();
		for (let seed = 0; seed < 200; seed++) {
			const row = roundedDirection(seedOf(seed), direction);
			rows.add(row.join());
			row.forEach((value, i) => {
				expect([Math.floor(direction[i]!), Math.ceil(direction[i]!)]).toContain(value);
				sums[i]! += value;
			});
		}
		// 200 fair draws with fixed seeds.
		sums.forEach((sum, i) => {
			expect(Math.abs(sum / 200 - direction[i]!)).toBeLessThan(0.15);
		});
		expect(roundedDirection(seedOf(3), direction)).toEqual(roundedDirection(seedOf(3), direction));
		// Four numbers that are not whole have 16 roundings.
		expect(rows.size).toBe(16);
		expect(() => roundedDirection(new Uint8Array(31), direction)).toThrow(/32 bytes/);
	});

	test("projects sums to sums, in rings of any size", () => {
		const values = fc.uint32Array({ minLength: 5, maxLength: 5 });
		const direction = fc.float64Array({ minLength: 5, maxLength: 5, min: -32, max: 32, noNaN: true });
		fc.assert(
			fc.property(values, values, direction, fc.integer({ min: 8, max: 32 }), (a, b, length, bits) => {
				const row = roundedDirection(seedOf(1), length);
				const sum = a.map((value, i) => (value + b[i]!) >>> 0);
				const both = projectOnDirection(row, a, bits) + projectOnDirection(row, b, bits);
				expect(projectOnDirection(row, sum, bits)).toBe(both % 2 ** bits);
			}),
			{ seed: 1, numRuns: 200 },
		);
	});

	test("is off by little of a vector's length that did not know the rounding, and by much of one that did", () => {
		const random = seededRandomForTests(4);
		const size = 4096;
		const direction = Float64Array.from({ length: size }, () => random() - 0.5);
		const vector = Int32Array.from({ length: size }, () => Math.round(2000 * (random() - 0.5)));
		const exact = vector.reduce((sum, value, i) => sum + value * direction[i]!, 0);
		const length = Math.hypot(...vector);
		for (let seed = 0; seed < 50; seed++) {
			const row = roundedDirection(seedOf(seed), direction);
			const along = projectOnDirection(row, Uint32Array.from(vector), 32);
			expect(Math.abs(centredResidue(along, 32) - exact)).toBeLessThan(DIRECTION_ROUNDING * length);
		}
		const row = roundedDirection(seedOf(0), direction);
		const crafted = Int32Array.from(row, (value, i) => Math.round(2000 * (value - direction[i]!)));
		const far = centredResidue(projectOnDirection(row, Uint32Array.from(crafted), 32), 32);
		expect(far / Math.hypot(...crafted)).toBeGreaterThan(DIRECTION_ROUNDING);
	});
});
