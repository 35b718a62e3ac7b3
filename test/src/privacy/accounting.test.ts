import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { calibrateNoiseMultiplier, roundEvent } from "../../../src/privacy/accounting/calibration.ts";
import {
	composed,
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	privacyEventSchema,
	selfComposed,
} from "../../../src/privacy/accounting/events.ts";
import {
	epsilonFromRdp,
	epsilonOf,
	RDP_ORDERS,
	rdpOf,
	subsampledGaussianRdp,
} from "../../../src/privacy/accounting/rdp.ts";
import { vectors } from "./vectors.ts";

/** Slack of conventions.test_rule: a sound accountant is at least truth x (1 - 2e-5). */
const SOUND = 1 - 2e-5;

describe("RDP of the Poisson-subsampled Gaussian", () => {
	for (const { id, params, expected, rtol } of vectors<
		{ q: number; sigma: number; orders: number[] },
		{ rdp: number[] }
	>("rdp_poisson_gaussian_orders")) {
		it(`matches ${id} at every integer order`, () => {
			let compared = 0;
			for (const [i, order] of params.orders.entries()) {
				if (!Number.isInteger(order)) continue;
				const rdp = subsampledGaussianRdp(params.q, params.sigma, order);
				expect(Math.abs(rdp / expected.rdp[i]! - 1)).toBeLessThan(rtol);
				compared++;
			}
			expect(compared).toBeGreaterThan(5);
		});
	}

	it("equals a brute-force integral of the moment, in one dimension, on the integer lattice", () => {
		// E_Q[(P/Q)^a] with Q = N_Z(0, s^2), P = (1-q) N_Z(0, s^2) + q N_Z(1, s^2): the claim of README.md.
		const q = 0.3;
		const s = 1.7;
		for (const order of [2, 3, 5, 9]) {
			let mass = 0;
			let moment = 0;
			for (let x = -120; x <= 120; x++) {
				const weight = Math.exp(-(x * x) / (2 * s * s));
				mass += weight;
				moment += weight * (1 - q + q * Math.exp((2 * x - 1) / (2 * s * s))) ** order;
			}
			const exact = Math.log(moment / mass) / (order - 1);
			expect(subsampledGaussianRdp(q, s, order)).toBeCloseTo(exact, 10);
		}
	});

	it("refuses orders it has no proof for", () => {
		expect(() => subsampledGaussianRdp(0.1, 1, 2.5)).toThrow(
			expect.objectContaining({ code: "privacy.bad_order" }),
		);
		expect(() => subsampledGaussianRdp(0.1, 1, 1)).toThrow(
			expect.objectContaining({ code: "privacy.bad_order" }),
		);
	});
});

describe("epsilon from RDP", () => {
	it("is never below the truth and, at shared orders, never above the library's RDP figure", () => {
		const entries = vectors<
			{ q: number; sigma: number; steps: number; delta: number },
			{ epsilon_true?: number; epsilon_rdp_lib: number; rdp_order_lib: number }
		>("dpsgd_poisson_gaussian");
		let compared = 0;
		let sound = 0;
		for (const { id, params, expected } of entries) {
			const epsilon = epsilonOf(selfComposed(roundEvent(params.q, params.sigma), params.steps), params.delta);
			// Entries far outside any use have no certified figure, only the library's RDP.
			if (expected.epsilon_true !== undefined) {
				expect(epsilon, id).toBeGreaterThanOrEqual(expected.epsilon_true * SOUND);
				sound++;
			}
			if (Number.isInteger(expected.rdp_order_lib)) {
				expect(epsilon, id).toBeLessThanOrEqual(expected.epsilon_rdp_lib * (1 + 1e-6) + 1e-12);
				compared++;
			}
		}
		expect(sound).toBeGreaterThan(600);
		expect(compared).toBeGreaterThan(200);
	});

	it("is sound for plain and composed Gaussians", () => {
		for (const { id, params, expected } of vectors<{ sigma: number; delta: number }, { epsilon: number }>(
			"gaussian_epsilon",
		)) {
			expect(epsilonOf(gaussian(params.sigma), params.delta), id).toBeGreaterThanOrEqual(
				expected.epsilon * SOUND,
			);
		}
		for (const { id, params, expected } of vectors<
			{ sigma: number; count: number; delta: number },
			{ epsilon: number }
		>("gaussian_composed")) {
			const epsilon = epsilonOf(selfComposed(gaussian(params.sigma), params.count), params.delta);
			expect(epsilon, id).toBeGreaterThanOrEqual(expected.epsilon * SOUND);
			expect(epsilon, id).toBeLessThanOrEqual(expected.epsilon * 1.2 + 0.1);
		}
	});

	it("agrees with the distributed discrete Gaussian's published accountant where nothing is sampled", () => {
		let compared = 0;
		for (const { id, params, expected } of vectors<
			{ clients: number; q: number; steps: number; local_stddev: number; delta: number },
			{ epsilon: number; l2_inflated: number }
		>("distributed_discrete_gaussian")) {
			if (params.q !== 1) continue;
			const multiplier = (Math.sqrt(params.clients) * params.local_stddev) / expected.l2_inflated;
			const epsilon = epsilonOf(selfComposed(gaussian(multiplier), params.steps), params.delta);
			expect(Math.abs(epsilon / expected.epsilon - 1), id).toBeLessThan(1e-6);
			compared++;
		}
		expect(compared).toBeGreaterThanOrEqual(4);
	});

	it("is zero only where delta alone covers the release, and refuses a delta outside (0, 1)", () => {
		expect(epsilonOf(gaussian(1e6), 0.01)).toBe(0);
		expect(epsilonOf(composed(), 1e-9)).toBe(0);
		expect(epsilonOf(gaussian(1), 1e-5)).toBeGreaterThan(0);
		for (const delta of [0, 1, -1, Number.NaN]) {
			expect(() => epsilonFromRdp(rdpOf(gaussian(1)), delta)).toThrow(
				expect.objectContaining({ code: "privacy.bad_delta" }),
			);
		}
	});
});

const anyRound = fc
	.record({
		q: fc.double({ min: 1e-4, max: 1, noNaN: true }),
		z: fc.double({ min: 0.3, max: 30, noNaN: true }),
	})
	.map(({ q, z }) => roundEvent(q, z));

describe("composition", () => {
	it("counts n as n times one, in any order and grouping", () => {
		fc.assert(
			fc.property(anyRound, anyRound, fc.integer({ min: 0, max: 6 }), (a, b, n) => {
				const counted = rdpOf(composed(selfComposed(a, n), b));
				const listed = rdpOf(composed(b, ...Array<PrivacyEvent>(n).fill(a)));
				for (let i = 0; i < RDP_ORDERS.length; i++) {
					expect(Math.abs(counted[i]! - listed[i]!)).toBeLessThanOrEqual(1e-12 * listed[i]!);
				}
			}),
			{ numRuns: 40 },
		);
	});

	it("grows with the sampling probability and the count, falls with noise and delta", () => {
		const base = { q: 0.05, z: 1.1, n: 50, delta: 1e-6 };
		const at = (change: Partial<typeof base>): number => {
			const { q, z, n, delta } = { ...base, ...change };
			return epsilonOf(selfComposed(roundEvent(q, z), n), delta);
		};
		const middle = at({});
		expect(at({ q: 0.06 })).toBeGreaterThan(middle);
		expect(at({ n: 51 })).toBeGreaterThan(middle);
		expect(at({ z: 1.2 })).toBeLessThan(middle);
		expect(at({ delta: 1e-5 })).toBeLessThan(middle);
		expect(at({ q: 1 })).toBe(epsilonOf(selfComposed(gaussian(1.1), 50), 1e-6));
	});

	it("refuses what is not proven: sampling of a composition, no noise, bad counts", () => {
		expect(() => rdpOf(poissonSampled(0.1, selfComposed(gaussian(1), 2) as never))).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
		for (const bad of [
			() => gaussian(0),
			() => gaussian(Number.POSITIVE_INFINITY),
			() => poissonSampled(0, gaussian(1)),
			() => poissonSampled(1.01, gaussian(1)),
			() => selfComposed(gaussian(1), 1.5),
			() => selfComposed(gaussian(1), -1),
		]) {
			expect(bad).toThrow(expect.objectContaining({ code: "privacy.bad_event" }));
		}
		expect(privacyEventSchema.safeParse({ kind: "gaussian", noiseMultiplier: 0 }).success).toBe(false);
		expect(privacyEventSchema.safeParse(selfComposed(roundEvent(0.1, 1), 3)).success).toBe(true);
	});
});

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
