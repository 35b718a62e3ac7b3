import { describe, expect, it } from "vitest";
import {
	calibrate,
	calibrateNoiseMultiplier,
	largestStepCount,
	roundEvent,
} from "../../../../src/privacy/accounting/calibration.ts";
import { composed, gaussian, selfComposed } from "../../../../src/privacy/accounting/events.ts";
import { gaussianNoiseMultiplier } from "../../../../src/privacy/accounting/pld/gaussian.ts";
import { pldEpsilon } from "../../../../src/privacy/accounting/pld/index.ts";
import { vectors } from "../vectors.ts";

const plan = { epsilon: 1, delta: 1e-6, samplingProbability: 0.1, steps: 10 };

describe("calibration", () => {
	it("meets every target from the safe side, close to the truth and below the library", () => {
		for (const [i, { id, params, expected }] of vectors<
			{ q: number; steps: number; epsilon: number; delta: number },
			{ sigma_true: number; sigma_pld_lib: number }
		>("calibrate_sigma").entries()) {
			if (i % 13 !== 0) continue;
			const { q, steps, epsilon, delta } = params;
			const multiplier = calibrateNoiseMultiplier({ epsilon, delta, samplingProbability: q, steps });
			expect(pldEpsilon(selfComposed(roundEvent(q, multiplier), steps), delta).upper, id).toBeLessThanOrEqual(
				epsilon,
			);
			expect(multiplier, id).toBeGreaterThanOrEqual(expected.sigma_true * (1 - 2e-5));
			expect(multiplier, id).toBeLessThanOrEqual(expected.sigma_true * 1.001);
			expect(multiplier, id).toBeLessThanOrEqual(expected.sigma_pld_lib * 1.001);
		}
	});

	it("is the closed form for plain Gaussians, rounded up to nine digits", () => {
		for (const epsilon of [0.1, 1, 10]) {
			const exact = gaussianNoiseMultiplier(epsilon, 1e-12) * Math.sqrt(40);
			const multiplier = calibrateNoiseMultiplier({
				epsilon,
				delta: 1e-12,
				samplingProbability: 1,
				steps: 40,
			});
			expect(multiplier / exact).toBeGreaterThanOrEqual(1);
			expect(multiplier / exact).toBeLessThan(1.0001);
			expect(Number(multiplier.toPrecision(9))).toBe(multiplier);
		}
	});

	it("solves for the noise of any event", () => {
		const eventOf = (z: number) => composed(selfComposed(roundEvent(0.05, z), 100), gaussian(10 * z));
		const multiplier = calibrate({ epsilon: 1.5, delta: 1e-6, eventOf });
		expect(pldEpsilon(eventOf(multiplier), 1e-6).upper).toBeLessThanOrEqual(1.5);
		expect(pldEpsilon(eventOf(multiplier * 0.998), 1e-6).upper).toBeGreaterThan(1.5);
	});

	it("finds how many rounds fit", () => {
		const run = { noiseMultiplier: 1.2, samplingProbability: 0.02, epsilon: 1.5, delta: 1e-6 };
		const count = largestStepCount(run);
		const epsilonOf = (steps: number) => pldEpsilon(selfComposed(roundEvent(0.02, 1.2), steps), 1e-6).upper;
		expect(epsilonOf(count)).toBeLessThanOrEqual(1.5);
		expect(epsilonOf(count + 2)).toBeGreaterThan(1.5);
		expect(largestStepCount({ ...run, noiseMultiplier: 0.3 })).toBe(0);
	});

	it("refuses targets that mean nothing or cannot be met", () => {
		expect(() => calibrateNoiseMultiplier({ ...plan, epsilon: 0 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_target" }),
		);
		expect(() => calibrateNoiseMultiplier({ ...plan, steps: 0.5 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_target" }),
		);
		expect(() => calibrateNoiseMultiplier({ ...plan, delta: 1 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_target" }),
		);
		expect(() => calibrateNoiseMultiplier({ ...plan, epsilon: 1e-9, delta: 1e-15 })).toThrow(
			expect.objectContaining({ code: "privacy.unreachable_target" }),
		);
	});
});
