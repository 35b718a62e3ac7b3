import { describe, expect, it } from "vitest";
import { calibrateNoiseMultiplier, roundEvent } from "../../../src/privacy/accounting/calibration.ts";
import { selfComposed } from "../../../src/privacy/accounting/events.ts";
import { epsilonOf } from "../../../src/privacy/accounting/rdp.ts";
import { vectors } from "./vectors.ts";

/** Slack of conventions.test_rule: a sound accountant is at least truth x (1 - 2e-5). */
const SOUND = 1 - 2e-5;

describe("calibration", () => {
	it("meets every target from the safe side, close to the library's RDP calibration", () => {
		for (const { id, params, expected } of vectors<
			{ q: number; steps: number; epsilon: number; delta: number },
			{ sigma_true: number; sigma_rdp_lib: number }
		>("calibrate_sigma")) {
			const { q, steps, epsilon, delta } = params;
			const multiplier = calibrateNoiseMultiplier({ epsilon, delta, samplingProbability: q, steps });
			expect(epsilonOf(selfComposed(roundEvent(q, multiplier), steps), delta), id).toBeLessThanOrEqual(
				epsilon,
			);
			expect(epsilonOf(selfComposed(roundEvent(q, multiplier * 0.9999), steps), delta), id).toBeGreaterThan(
				epsilon,
			);
			expect(multiplier, id).toBeGreaterThanOrEqual(expected.sigma_true * SOUND);
			// The library also has orders between the integers, which matter for large epsilons.
			expect(multiplier, id).toBeLessThanOrEqual(expected.sigma_rdp_lib * (epsilon <= 4 ? 1.03 : 1.1));
		}
	});

	it("refuses targets that mean nothing or cannot be met", () => {
		const plan = { epsilon: 1, delta: 1e-6, samplingProbability: 0.1, steps: 10 };
		expect(() => calibrateNoiseMultiplier({ ...plan, epsilon: 0 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_target" }),
		);
		expect(() => calibrateNoiseMultiplier({ ...plan, steps: 0.5 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_target" }),
		);
		expect(() => calibrateNoiseMultiplier({ ...plan, epsilon: 1e-9, delta: 1e-15 })).toThrow(
			expect.objectContaining({ code: "privacy.unreachable_target" }),
		);
	});
});
