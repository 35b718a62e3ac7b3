import { describe, expect, it } from "vitest";
import { nextClippingNorm } from "../../../src/learning/adaptiveClipping.ts";

const settings = { targetQuantile: 0.5, rate: 0.2, initialNorm: 4 };

describe("the clipping norm", () => {
	it("moves by exp(-eta (b - gamma)), the share clamped to [0, 1]", () => {
		for (const share of [0, 0.1, 0.5, 0.93, 1])
			expect(nextClippingNorm(settings, 3, share)).toBeCloseTo(3 * Math.exp(-0.2 * (share - 0.5)), 13);
		expect(nextClippingNorm(settings, 3, 7)).toBe(nextClippingNorm(settings, 3, 1));
		expect(nextClippingNorm(settings, 3, -7)).toBe(nextClippingNorm(settings, 3, 0));
	});

	it("settles where the wanted share of norms is within it", () => {
		const norms = Array.from({ length: 1000 }, (_, i) => (i + 1) / 100);
		for (const targetQuantile of [0.2, 0.5, 0.9]) {
			let norm = 0.1;
			for (let round = 0; round < 200; round++) {
				const share = norms.filter((value) => value <= norm).length / norms.length;
				norm = nextClippingNorm({ ...settings, targetQuantile }, norm, share);
			}
			expect(norm).toBeGreaterThan(10 * targetQuantile * 0.95);
			expect(norm).toBeLessThan(10 * targetQuantile * 1.05);
		}
	});

	it("stays within a factor of 2^20 of the initial norm, whatever the noise says", () => {
		let [small, large] = [4, 4];
		for (let round = 0; round < 1000; round++) {
			small = nextClippingNorm(settings, small, 1e9);
			large = nextClippingNorm(settings, large, -1e9);
		}
		expect(small).toBe(4 / 2 ** 20);
		expect(large).toBe(4 * 2 ** 20);
	});
});
