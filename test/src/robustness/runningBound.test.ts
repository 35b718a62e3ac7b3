import { describe, expect, test } from "vitest";
import { nextNormBound } from "../../../src/robustness/runningBound.ts";

const next = (norms: readonly number[], bound: number, largest = 10) => nextNormBound(norms, bound, largest);

describe("a running bound", () => {
	test("comes down from a first one that was too wide, a step a round, however long the attackers' are", () => {
		let bound = 10;
		const bounds: number[] = [];
		for (let round = 0; round < 12; round++) {
			// A fifth of 25 use all that is allowed; the honest are 0.8 to 1.2 long.
			const honest = Array.from({ length: 20 }, (_, i) => Math.min(bound, 0.8 + 0.02 * i));
			bound = next([...new Array(5).fill(bound), ...honest], bound);
			bounds.push(bound);
		}
		expect(bounds[0]).toBeCloseTo(10 / 1.5, 12);
		// Two fifths of 25 are half of the honest.
		expect(bounds.at(-1)).toBeCloseTo(1.25 * 0.98, 12);
	});

	test("grows where most are cut, and never beyond the largest", () => {
		expect(next([1, 1, 1, 0.5], 1)).toBeCloseTo(1.25, 12);
		expect(next([10, 10, 10], 10)).toBe(10);
		expect(next([9, 9, 9], 1)).toBe(1.5);
	});

	test("is not starved by a fifth that send nothing, nor ever zero", () => {
		expect(next([0, 0, ...new Array(8).fill(1)], 1)).toBeCloseTo(1.25, 12);
		expect(next([0, 0, 0], 1)).toBeCloseTo(1 / 1.5, 12);
		expect(next([0, 0, 0], 0.01)).toBe(10 * 2 ** -10);
		expect(next([3], 2)).toBe(3);
	});
});
