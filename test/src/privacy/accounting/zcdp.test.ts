import { describe, expect, it } from "vitest";
import { epsilonOf } from "../../../../src/privacy/accounting/rdp.ts";
import { zcdpDelta, zcdpEpsilon, zcdpRho } from "../../../../src/privacy/accounting/zcdp.ts";
import { vectors } from "../vectors.ts";

describe("zCDP", () => {
	it("matches the reference in both directions", () => {
		for (const { id, params, expected } of vectors<
			{ rho: number; delta: number },
			{ epsilon: number; epsilon_rdp_accountant_default_orders: number; naive: number }
		>("zcdp_epsilon")) {
			const epsilon = zcdpEpsilon(params.rho, params.delta);
			expect(Math.abs(epsilon / expected.epsilon - 1), id).toBeLessThan(1e-12);
			expect(epsilon).toBeLessThanOrEqual(expected.epsilon_rdp_accountant_default_orders);
			expect(epsilon).toBeLessThan(expected.naive);
		}
		for (const { id, params, expected } of vectors<{ epsilon: number; delta: number }, { rho: number }>(
			"zcdp_rho",
		)) {
			expect(Math.abs(zcdpRho(params.epsilon, params.delta) / expected.rho - 1), id).toBeLessThan(1e-12);
		}
	});

	it("inverts over the whole range of use and far outside it", () => {
		for (const rho of [1e-8, 1e-4, 0.3, 50, 1e5]) {
			for (const delta of [1e-3, 1e-9, 1e-100]) {
				const epsilon = zcdpEpsilon(rho, delta);
				// Where delta alone covers the release, nothing is left to invert.
				if (epsilon === 0) continue;
				expect(zcdpRho(epsilon, delta) / rho).toBeCloseTo(1, 9);
				expect(Math.log(zcdpDelta(rho, epsilon)) / Math.log(delta)).toBeCloseTo(1, 9);
				expect(epsilon).toBeLessThanOrEqual(epsilonOf({ kind: "zeroConcentrated", rho }, delta));
			}
		}
	});

	it("is nothing for nothing, and refuses figures that mean nothing", () => {
		expect(zcdpEpsilon(0, 1e-6)).toBe(0);
		expect(zcdpDelta(0, 0)).toBe(0);
		expect(zcdpDelta(1e-9, 0)).toBeLessThan(4e-5);
		expect(zcdpEpsilon(1e-9, 0.01)).toBe(0);
		expect(() => zcdpEpsilon(1, 0)).toThrow(expect.objectContaining({ code: "privacy.bad_delta" }));
		expect(() => zcdpRho(1, 1)).toThrow(expect.objectContaining({ code: "privacy.bad_delta" }));
		expect(() => zcdpDelta(1, -1)).toThrow(expect.objectContaining({ code: "privacy.bad_epsilon" }));
	});
});
