import { describe, expect, it } from "vitest";
import {
	gaussian,
	type MechanismEvent,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import { curveOf, epsilonFromRdp, epsilonOf, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import { vectors } from "../vectors.ts";

/** Slack of conventions.test_rule: a sound accountant is at least truth x (1 - 2e-5). */
const SOUND = 1 - 2e-5;

const rdpAt = (event: PrivacyEvent, order: number): number => curveOf(event, "addRemove", [order])[0]!;

describe("RDP of single mechanisms", () => {
	const families: readonly [string, (epsilon: number) => MechanismEvent][] = [
		["rdp_laplace_orders", (epsilon) => ({ kind: "laplace", scale: 1 / epsilon })],
		["rdp_exponential_mechanism_orders", (epsilon) => ({ kind: "boundedRange", epsilon })],
		["rdp_pure_dp_orders", (epsilon) => ({ kind: "pureDp", epsilon })],
	];
	for (const [family, eventOf] of families) {
		it(`matches ${family} at every order`, () => {
			for (const { id, params, expected } of vectors<
				{ epsilon: number; orders: number[] },
				{ rdp: number[] }
			>(family)) {
				for (const [i, order] of params.orders.entries()) {
					// At order 1 itself no curve is kept: the limit from above is compared.
					const ours = rdpAt(eventOf(params.epsilon), order === 1 ? 1 + 1e-9 : order);
					expect(Math.abs(ours / expected.rdp[i]! - 1), `${id} order ${order}`).toBeLessThan(2e-9);
				}
			}
		});
	}

	it("keeps its digits for weak mechanisms: a epsilon^2 / 2 and its like, from above", () => {
		for (const epsilon of [1e-3, 1e-6, 1e-9]) {
			for (const order of [1.005, 2, 10]) {
				const small = (order * epsilon * epsilon) / 2;
				for (const event of [
					{ kind: "laplace", scale: 1 / epsilon },
					{ kind: "permuteAndFlip", epsilon },
				] as const) {
					expect(rdpAt(event, order) / small).toBeGreaterThan(1 - order * epsilon);
					expect(rdpAt(event, order) / small).toBeLessThan(1 + order * epsilon + 2e-10);
				}
				expect(rdpAt({ kind: "pureDp", epsilon }, order) / small).toBeCloseTo(1, 2);
				expect(rdpAt({ kind: "boundedRange", epsilon }, order) / (small / 4)).toBeCloseTo(1, 2);
				const discrete = rdpAt({ kind: "discreteLaplace", scale: 1 / epsilon, sensitivity: 1 }, order);
				expect(discrete / small).toBeCloseTo(1, 2);
			}
		}
	});

	it("stays finite and below the pure bound where exponentials overflow", () => {
		for (const epsilon of [50, 800, 5000]) {
			for (const order of [1.005, 2, 700, 4096]) {
				for (const event of [
					{ kind: "laplace", scale: 1 / epsilon },
					{ kind: "pureDp", epsilon },
					{ kind: "boundedRange", epsilon },
					{ kind: "discreteLaplace", scale: 1 / epsilon, sensitivity: 1 },
					{ kind: "randomizedResponse", categories: 4, noiseProbability: 4 / (Math.exp(epsilon) + 3) },
				] as const) {
					if (event.kind === "randomizedResponse" && epsilon > 700) continue;
					const rdp = rdpAt(event, order);
					expect(rdp, `${event.kind} ${epsilon} ${order}`).toBeLessThanOrEqual(epsilon * (1 + 1e-9));
					expect(rdp).toBeGreaterThan(epsilon * 0.4);
				}
			}
		}
	});

	it("sums discrete Laplace moments as brute force does, at any order", () => {
		for (const { scale, sensitivity } of [
			{ scale: 0.7, sensitivity: 1 },
			{ scale: 2.5, sensitivity: 3 },
			{ scale: 10, sensitivity: 25 },
		]) {
			for (const order of [1.1, 2, 3.7, 12]) {
				let mass = 0;
				let moment = 0;
				for (let x = -800; x <= 800; x++) {
					const q = Math.exp(-Math.abs(x) / scale);
					mass += q;
					moment += q * Math.exp((order * (Math.abs(x) - Math.abs(x - sensitivity))) / scale);
				}
				const exact = Math.log(moment / mass) / (order - 1);
				expect(rdpAt({ kind: "discreteLaplace", scale, sensitivity }, order) / exact).toBeCloseTo(1, 9);
			}
		}
	});

	it("bounds discrete Laplace of any sensitivity, closely where the noise is larger", () => {
		for (const order of [2, 8]) {
			const at = (sensitivity: number): number =>
				rdpAt({ kind: "discreteLaplace", scale: sensitivity * 20, sensitivity }, order);
			const laplace = rdpAt({ kind: "laplace", scale: 20 }, order);
			// Towards continuous noise, from above.
			expect(at(1)).toBeGreaterThan(at(2));
			expect(at(200)).toBeGreaterThan(laplace);
			expect(at(200) / laplace).toBeLessThan(1.001);
			expect(at(100_000)).toBeGreaterThan(laplace);
			expect(at(100_000) / laplace).toBeLessThan(1.03);
		}
	});

	it("bounds the exact divergence of Skellam noise, closely for large variances", () => {
		for (const variance of [4, 30]) {
			const rate = variance / 2;
			const span = 90;
			const logFactorial = [0];
			for (let n = 1; n <= 400; n++) logFactorial.push(logFactorial[n - 1]! + Math.log(n));
			const pmf = (k: number): number => {
				let sum = 0;
				for (let j = Math.max(0, -k); j + k <= 390 && j <= 390; j++) {
					sum += Math.exp(-2 * rate + (2 * j + k) * Math.log(rate) - logFactorial[j]! - logFactorial[j + k]!);
				}
				return sum;
			};
			for (const order of [2, 3, 6]) {
				let moment = 0;
				for (let x = -span; x <= span; x++) {
					const q = pmf(x);
					const p = pmf(x - 1);
					if (q > 0 && p > 0) moment += Math.exp(order * Math.log(p) + (1 - order) * Math.log(q));
				}
				const exact = Math.log(moment) / (order - 1);
				const bound = rdpAt({ kind: "skellam", variance, l1Sensitivity: 1, l2Sensitivity: 1 }, order);
				expect(bound).toBeGreaterThanOrEqual(exact);
				expect(bound).toBeLessThan(exact * (variance === 4 ? 2 : 1.2));
			}
		}
	});

	it("gives randomized response its exact divergence", () => {
		const k = 5;
		const p = 0.4;
		const high = 1 - p + p / k;
		const low = p / k;
		for (const order of [1.3, 2, 9]) {
			const moment = high ** order * low ** (1 - order) + low ** order * high ** (1 - order) + (k - 2) * low;
			const exact = Math.log(moment) / (order - 1);
			const event = { kind: "randomizedResponse", categories: k, noiseProbability: p } as const;
			expect(rdpAt(event, order) / exact).toBeCloseTo(1, 9);
		}
		expect(rdpAt({ kind: "randomizedResponse", categories: 3, noiseProbability: 1 }, 2)).toBe(0);
	});

	it("refuses orders at which no divergence is defined", () => {
		for (const order of [1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => rdpAt(gaussian(1), order)).toThrow(expect.objectContaining({ code: "privacy.bad_order" }));
		}
	});
});

describe("RDP when one record is replaced", () => {
	it("is that of twice the change, four times rho", () => {
		const at = (event: MechanismEvent): number => curveOf(event, "replaceOne", [3])[0]!;
		expect(at(gaussian(2))).toBe(rdpAt(gaussian(1), 3));
		expect(at({ kind: "laplace", scale: 2 })).toBe(rdpAt({ kind: "laplace", scale: 1 }, 3));
		expect(at({ kind: "pureDp", epsilon: 0.3 })).toBe(rdpAt({ kind: "pureDp", epsilon: 0.6 }, 3));
		expect(at({ kind: "zeroConcentrated", rho: 0.3 })).toBe(rdpAt({ kind: "zeroConcentrated", rho: 1.2 }, 3));
		const response = { kind: "randomizedResponse", categories: 3, noiseProbability: 0.5 } as const;
		expect(at(response)).toBe(rdpAt(response, 3));
	});

	it("is not claimed for Poisson sampling", () => {
		expect(() => rdpOf(poissonSampled(0.1, gaussian(1)), "replaceOne")).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
	});
});

describe("epsilon from RDP", () => {
	it("is never below the truth, and never above the library's RDP figure", () => {
		let sound = 0;
		for (const { id, params, expected } of vectors<
			{ q: number; sigma: number; steps: number; delta: number },
			{ epsilon_true?: number; epsilon_rdp_lib: number }
		>("dpsgd_poisson_gaussian")) {
			const event = selfComposed(poissonSampled(params.q, gaussian(params.sigma)), params.steps);
			const epsilon = epsilonOf(event, params.delta);
			// Entries far outside any use have no certified figure, only the library's RDP.
			if (expected.epsilon_true !== undefined) {
				expect(epsilon, id).toBeGreaterThanOrEqual(expected.epsilon_true * SOUND);
				sound++;
			}
			expect(epsilon, id).toBeLessThanOrEqual(expected.epsilon_rdp_lib * (1 + 1e-9) + 1e-12);
		}
		expect(sound).toBeGreaterThan(600);
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
			{ epsilon: number; epsilon_rdp: number }
		>("gaussian_composed")) {
			const epsilon = epsilonOf(selfComposed(gaussian(params.sigma), params.count), params.delta);
			expect(epsilon, id).toBeGreaterThanOrEqual(expected.epsilon * SOUND);
			expect(epsilon, id).toBeLessThanOrEqual(expected.epsilon_rdp * (1 + 1e-9));
		}
	});

	it("is zero only where delta alone covers the release, and refuses a delta outside (0, 1)", () => {
		expect(epsilonOf(gaussian(1e6), 0.01)).toBe(0);
		expect(epsilonOf({ kind: "composed", events: [] }, 1e-9)).toBe(0);
		expect(epsilonOf(gaussian(1), 1e-5)).toBeGreaterThan(0);
		for (const delta of [0, 1, -1, Number.NaN]) {
			expect(() => epsilonFromRdp(rdpOf(gaussian(1)), delta)).toThrow(
				expect.objectContaining({ code: "privacy.bad_delta" }),
			);
		}
	});
});
