import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	composed,
	gaussian,
	type MechanismEvent,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../../src/privacy/accounting/events.ts";
import { composedBounds } from "../../../../../src/privacy/accounting/pld/composition.ts";
import {
	gaussianEpsilon,
	sampledGaussianEpsilon,
} from "../../../../../src/privacy/accounting/pld/gaussian.ts";
import { pldDelta, pldEpsilon } from "../../../../../src/privacy/accounting/pld/index.ts";
import { gaussianPair } from "../../../../../src/privacy/accounting/pld/lossPair.ts";

const DELTA = 1e-6;
/** Two figures of the same truth, each within its bounds. */
const ALIKE = 8e-4;

/** One event of every kind with a dominating pair, sampled and not. */
const steps: readonly PrivacyEvent[] = [
	poissonSampled(0.02, gaussian(0.9)),
	{ kind: "laplace", scale: 4 },
	poissonSampled(0.1, { kind: "laplace", scale: 1.5 }),
	{ kind: "discreteGaussian", sigma: 4.5, sensitivity: 3 },
	poissonSampled(0.2, { kind: "discreteGaussian", sigma: 3, sensitivity: 1 }),
	{ kind: "discreteLaplace", scale: 7, sensitivity: 2 },
	poissonSampled(0.05, { kind: "discreteLaplace", scale: 2, sensitivity: 1 }),
	{ kind: "randomizedResponse", categories: 4, noiseProbability: 0.8 },
	{ kind: "pureDp", epsilon: 0.2 },
	{ kind: "boundedRange", epsilon: 0.1 },
	{ kind: "permuteAndFlip", epsilon: 0.3 },
];

function expectAlike(
	a: { lower: number; upper: number },
	b: { lower: number; upper: number },
	what: string,
): void {
	expect(a.lower, what).toBeLessThanOrEqual(b.upper * (1 + 1e-9));
	expect(b.lower, what).toBeLessThanOrEqual(a.upper * (1 + 1e-9));
	expect(Math.abs(a.upper - b.upper), what).toBeLessThanOrEqual(ALIKE * a.upper);
}

describe("every mechanism's privacy-loss distribution", () => {
	for (const step of steps) {
		const name = step.kind === "poissonSampled" ? `sampled ${step.event.kind}` : step.kind;

		it(`${name}: counts n as n times one, in any order and grouping`, () => {
			const counted = pldEpsilon(selfComposed(step, 12), DELTA);
			expectAlike(counted, pldEpsilon(composed(...Array<PrivacyEvent>(12).fill(step)), DELTA), "list");
			const split = composed(selfComposed(step, 5), selfComposed(selfComposed(step, 1), 7));
			expectAlike(counted, pldEpsilon(split, DELTA), "5 + 7");
			const other = gaussian(5);
			expectAlike(
				pldEpsilon(composed(other, selfComposed(step, 12)), DELTA),
				pldEpsilon(composed(selfComposed(step, 12), other), DELTA),
				"order",
			);
		});

		it(`${name}: grows with the count and with 1/delta, and epsilon inverts delta`, () => {
			const epsilonOf = (count: number, delta: number) => pldEpsilon(selfComposed(step, count), delta);
			expect(epsilonOf(20, DELTA).lower).toBeGreaterThan(epsilonOf(10, DELTA).upper);
			expect(epsilonOf(10, 1e-9).upper).toBeGreaterThanOrEqual(epsilonOf(10, DELTA).lower);
			const { upper, lower } = epsilonOf(10, DELTA);
			expect(lower).toBeGreaterThan(0);
			expect(pldDelta(selfComposed(step, 10), upper * (1 + 1e-6)).lower).toBeLessThanOrEqual(DELTA);
			expect(pldDelta(selfComposed(step, 10), lower * (1 - 1e-6)).upper).toBeGreaterThanOrEqual(DELTA);
		});

		it(`${name}: costs no less when a record may be replaced`, () => {
			const once = pldEpsilon(selfComposed(step, 3), DELTA).lower;
			const supported = step.kind !== "poissonSampled" || step.event.kind === "gaussian";
			if (supported) {
				const { lower, upper } = pldEpsilon(selfComposed(step, 3), DELTA, { adjacency: "replaceOne" });
				expect(upper).toBeGreaterThanOrEqual(once);
				expect(lower).toBeLessThanOrEqual(upper);
			} else {
				expect(() => pldEpsilon(step, DELTA, { adjacency: "replaceOne" })).toThrow(
					expect.objectContaining({ code: "privacy.unsupported_event" }),
				);
			}
		});
	}

	it("falls with noise, grows with the sampling probability", () => {
		const at = (q: number, z: number) => pldEpsilon(selfComposed(poissonSampled(q, gaussian(z)), 300), DELTA);
		expect(at(0.02, 1).lower).toBeGreaterThan(at(0.02, 1.02).upper);
		expect(at(0.0205, 1).lower).toBeGreaterThan(at(0.02, 1).upper);
		const scaled = (scale: number) => pldEpsilon(selfComposed({ kind: "laplace", scale }, 50), DELTA);
		expect(scaled(5).lower).toBeGreaterThan(scaled(5.1).upper);
	});
});

describe("against closed forms", () => {
	const composedGaussian = (z: number, q: number, count: number, delta: number) =>
		composedBounds([{ components: [{ pair: gaussianPair(z), samplingProbability: q, weight: 1 }], count }], {
			delta,
		});

	it("brackets composed Gaussians, from delta 1e-3 to 1e-30", () => {
		for (const [z, count, delta] of [
			[0.5, 3, 1e-3],
			[1, 9, 1e-6],
			[20, 10_000, 1e-12],
			[200, 1_000_000, 1e-30],
		] as const) {
			const exact = gaussianEpsilon(z / Math.sqrt(count), delta);
			const { lower, upper } = composedGaussian(z, 1, count, delta);
			expect(lower).toBeLessThanOrEqual(exact * (1 + 1e-9));
			expect(upper).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
			expect(upper / exact - 1).toBeLessThan(3e-4);
			expect(lower / exact - 1).toBeGreaterThan(-6e-4);
		}
	});

	it("brackets one sampled Gaussian step, whatever the parameters", () => {
		fc.assert(
			fc.property(
				fc.double({ min: -4, max: -0.05, noNaN: true }),
				fc.double({ min: 0.4, max: 20, noNaN: true }),
				fc.double({ min: -9, max: -3, noNaN: true }),
				(logQ, z, logShare) => {
					const q = 10 ** logQ;
					const delta = q * 10 ** logShare;
					const exact = sampledGaussianEpsilon(q, z, delta);
					const { lower, upper } = composedGaussian(z, q, 1, delta);
					expect(lower).toBeLessThanOrEqual(exact * (1 + 1e-8) + 1e-13);
					expect(upper).toBeGreaterThanOrEqual(exact * (1 - 1e-8) - 1e-13);
				},
			),
			{ numRuns: 60 },
		);
	});

	it("is exact for one Laplace release: 1 - exp((epsilon - 1/b) / 2)", () => {
		for (const scale of [0.5, 3, 40]) {
			for (const delta of [1e-3, 1e-5]) {
				const exact = 1 / scale + 2 * Math.log1p(-delta);
				const { lower, upper } = pldEpsilon({ kind: "laplace", scale }, delta);
				expect(upper).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
				expect(lower).toBeLessThanOrEqual(exact * (1 + 1e-9));
				expect(upper / exact - 1).toBeLessThan(3e-4);
			}
		}
	});

	it("composes pure mechanisms as the optimal composition theorem does", () => {
		// delta(epsilon) = sum over k of C(n, k) (e^((n-k) e0) - e^(epsilon + k e0))+ / (1 + e^e0)^n (Kairouz, Oh, Viswanath 2015).
		const n = 30;
		const e0 = 0.1;
		for (const epsilon of [0.5, 1.3, 2.2]) {
			let delta = 0;
			let choose = 1;
			for (let k = 0; k <= n; k++) {
				delta += choose * Math.max(0, Math.exp((n - k) * e0) - Math.exp(epsilon + k * e0));
				choose *= (n - k) / (k + 1);
			}
			delta /= (1 + Math.exp(e0)) ** n;
			const { lower, upper } = pldDelta(selfComposed({ kind: "pureDp", epsilon: e0 }, n), epsilon);
			expect(Math.abs(upper / delta - 1)).toBeLessThan(1e-6);
			expect(Math.abs(lower / delta - 1)).toBeLessThan(1e-6);
		}
	});

	it("knows nothing released, and what it has no pair for", () => {
		expect(pldEpsilon(composed(), 1e-9)).toEqual({ lower: 0, upper: 0 });
		expect(pldDelta(selfComposed(gaussian(1), 0), 0)).toEqual({ lower: 0, upper: 0 });
		const unknown: MechanismEvent[] = [
			{ kind: "zeroConcentrated", rho: 0.1 },
			{ kind: "skellam", variance: 100, l1Sensitivity: 3, l2Sensitivity: 2 },
		];
		for (const event of unknown) {
			expect(() => pldEpsilon(event, DELTA)).toThrow(
				expect.objectContaining({ code: "privacy.unsupported_event" }),
			);
		}
		for (const delta of [0, 1, -1, Number.NaN]) {
			expect(() => pldEpsilon(gaussian(1), delta)).toThrow(
				expect.objectContaining({ code: "privacy.bad_delta" }),
			);
		}
		expect(() => pldDelta(gaussian(1), -1)).toThrow(expect.objectContaining({ code: "privacy.bad_epsilon" }));
	});
});

describe("far outside the usual parameters", () => {
	for (const [q, z, count, delta] of [
		[1e-7, 1, 1_000_000, 1e-6],
		[1e-5, 10, 1_000_000, 1e-6],
		[0.5, 0.2, 10, 1e-10],
		[0.9, 200, 1_000_000, 1e-30],
		[0.01, 1, 1_000_000, 1e-30],
		[1e-3, 0.3, 1000, 1e-15],
	] as const) {
		it(`q ${q}, z ${z}, ${count} steps, delta ${delta}: close bounds`, () => {
			const { lower, upper } = pldEpsilon(selfComposed(poissonSampled(q, gaussian(z)), count), delta);
			expect(lower).toBeLessThanOrEqual(upper);
			expect(lower).toBeGreaterThan(upper * (1 - 1e-3));
		});
	}
});
