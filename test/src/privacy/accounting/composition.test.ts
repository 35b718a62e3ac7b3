import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	advancedComposition,
	basicComposition,
	optimalCompositionDelta,
	optimalCompositionEpsilon,
} from "../../../../src/privacy/accounting/composition.ts";
import {
	composed,
	type MechanismEvent,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import {
	deltaFromRdp,
	epsilonFromRdp,
	epsilonOf,
	RDP_ORDERS,
	type RdpCurve,
	rdpOf,
} from "../../../../src/privacy/accounting/rdp.ts";
import { vectors } from "../vectors.ts";
import { MECHANISMS } from "./mechanismsForTests.ts";

function expectSameCurve(a: RdpCurve, b: RdpCurve): void {
	for (let i = 0; i < RDP_ORDERS.length; i++) {
		expect(Math.abs(a[i]! - b[i]!)).toBeLessThanOrEqual(1e-12 * Math.max(a[i]!, b[i]!));
	}
}

function expectNowhereAbove(a: RdpCurve, b: RdpCurve): void {
	for (let i = 0; i < RDP_ORDERS.length; i++) expect(a[i]!).toBeLessThanOrEqual(b[i]! * (1 + 1e-9));
}

const q = fc.double({ min: 1e-4, max: 1, noNaN: true });
const strength = fc.double({ min: 0.02, max: 3, noNaN: true });

// What a reference library got wrong in three places: a count that is ignored leaves every
// single figure right.
for (const [kind, mechanismOf] of Object.entries(MECHANISMS)) {
	describe(`composition of ${kind}`, () => {
		const anyEvent: fc.Arbitrary<PrivacyEvent> = fc
			.record({ q, strength, isSampled: fc.boolean() })
			.map(({ q, strength, isSampled }): PrivacyEvent => {
				const event: MechanismEvent = mechanismOf(strength);
				return isSampled && kind !== "randomizedResponse" ? poissonSampled(q, event) : event;
			});

		it("counts n as n times one, in any order, grouping and split", () => {
			fc.assert(
				fc.property(anyEvent, anyEvent, fc.nat(5), fc.nat(5), (a, b, n, m) => {
					const listed = rdpOf(composed(b, ...Array<PrivacyEvent>(n + m).fill(a)));
					expectSameCurve(rdpOf(composed(selfComposed(a, n + m), b)), listed);
					expectSameCurve(rdpOf(composed(selfComposed(a, n), b, selfComposed(a, m))), listed);
					expectSameCurve(
						rdpOf(selfComposed(composed(a, b), n)),
						rdpOf(composed(selfComposed(b, n), selfComposed(a, n))),
					);
				}),
				{ numRuns: 6 },
			);
		});

		it("costs more the stronger, the more often and the more of the records, never more than unsampled", () => {
			fc.assert(
				fc.property(strength, q, fc.double({ min: 1.01, max: 2, noNaN: true }), (s, probability, factor) => {
					const weak = rdpOf(mechanismOf(s));
					expectNowhereAbove(weak, rdpOf(mechanismOf(s * factor)));
					expectNowhereAbove(weak, rdpOf(selfComposed(mechanismOf(s), 2)));
					if (kind === "randomizedResponse") return;
					const sampled = rdpOf(poissonSampled(probability, mechanismOf(s)));
					expectNowhereAbove(sampled, weak);
					expectNowhereAbove(
						sampled,
						rdpOf(poissonSampled(Math.min(1, probability * factor), mechanismOf(s))),
					);
					expectNowhereAbove(sampled, rdpOf(poissonSampled(probability, mechanismOf(s * factor))));
				}),
				{ numRuns: 6 },
			);
		});

		it("has an epsilon that falls with delta and comes back from it", () => {
			const curve = rdpOf(selfComposed(mechanismOf(0.3), 20));
			let last = Number.POSITIVE_INFINITY;
			for (const delta of [1e-12, 1e-9, 1e-6, 1e-3, 0.1]) {
				const { epsilon } = epsilonFromRdp(curve, delta);
				expect(epsilon).toBeLessThan(last);
				expect(deltaFromRdp(curve, epsilon).delta / delta).toBeCloseTo(1, 9);
				last = epsilon;
			}
		});

		it("is never worth less when a record is replaced than when one is removed", () => {
			expectNowhereAbove(rdpOf(mechanismOf(0.7)), rdpOf(mechanismOf(0.7), "replaceOne"));
		});
	});
}

describe("regressions of a reference library", () => {
	it("the exponential mechanism's count is honoured", () => {
		const one: PrivacyEvent = { kind: "boundedRange", epsilon: 0.5 };
		const hundred = epsilonOf(selfComposed(one, 100), 1e-6);
		// Ignoring the count gives 0.5; epsilon of the list is 15.3 by the same accountant.
		expect(hundred).toBeGreaterThan(10);
		expect(hundred).toBeCloseTo(epsilonOf(composed(...Array<PrivacyEvent>(100).fill(one)), 1e-6), 9);
	});

	it("randomized response's count is honoured", () => {
		const one: PrivacyEvent = { kind: "randomizedResponse", categories: 2, noiseProbability: 0.5 };
		const hundred = epsilonOf(selfComposed(one, 100), 1e-6);
		expect(epsilonOf(one, 1e-6)).toBeLessThan(1.1);
		// 100 times log 3, less what composition gains.
		expect(hundred).toBeGreaterThan(80);
		expect(hundred).toBeCloseTo(epsilonOf(composed(...Array<PrivacyEvent>(100).fill(one)), 1e-6), 6);
	});
});

describe("basic and advanced composition", () => {
	it("add up, and concentrate where that is better", () => {
		const parts = Array.from({ length: 100 }, () => ({ epsilon: 0.05, delta: 1e-8 }));
		const basic = basicComposition(parts);
		expect(basic.epsilon).toBeCloseTo(5, 12);
		expect(basic.delta).toBeCloseTo(1e-6, 18);
		const advanced = advancedComposition(parts, 1e-6);
		expect(advanced.epsilon).toBeLessThan(3);
		expect(advanced.delta).toBeCloseTo(2e-6, 18);
		const exact = optimalCompositionEpsilon({ epsilon: 0.05, delta: 1e-8, count: 100 }, advanced.delta);
		expect(exact).toBeLessThan(advanced.epsilon);
		expect(advancedComposition([{ epsilon: 1, delta: 0 }], 1e-9).epsilon).toBe(1);
	});

	it("refuse guarantees that are none", () => {
		for (const bad of [
			{ epsilon: -1, delta: 0 },
			{ epsilon: Number.POSITIVE_INFINITY, delta: 0 },
			{ epsilon: 1, delta: 1 },
			{ epsilon: 1, delta: -0.1 },
		]) {
			expect(() => basicComposition([bad])).toThrow(expect.objectContaining({ code: "privacy.bad_event" }));
		}
		expect(() => advancedComposition([], 0)).toThrow(expect.objectContaining({ code: "privacy.bad_delta" }));
	});
});

describe("optimal composition", () => {
	it("is the hockey-stick divergence of randomized responses, counted outcome by outcome", () => {
		for (const { epsilon, count } of [
			{ epsilon: 0.7, count: 6 },
			{ epsilon: 0.1, count: 10 },
		]) {
			const truth = Math.exp(epsilon) / (1 + Math.exp(epsilon));
			for (const target of [0, 0.3, 1, 2.9, 4.1]) {
				let exact = 0;
				for (let outcome = 0; outcome < 2 ** count; outcome++) {
					const lies = [...outcome.toString(2)].filter((bit) => bit === "1").length;
					const p = truth ** (count - lies) * (1 - truth) ** lies;
					const without = truth ** lies * (1 - truth) ** (count - lies);
					exact += Math.max(0, p - Math.exp(target) * without);
				}
				expect(optimalCompositionDelta({ epsilon, delta: 0, count }, target)).toBeCloseTo(exact, 12);
			}
		}
	});

	it("matches the reference, far inside the tolerance", () => {
		for (const { id, params, expected } of vectors<
			{ epsilon: number; count: number; delta: number },
			{ epsilon_pld: number }
		>("pure_dp_composition")) {
			const exact = optimalCompositionEpsilon({ ...params, delta: 0 }, params.delta);
			expect(Math.abs(exact / expected.epsilon_pld - 1), id).toBeLessThan(1e-6);
		}
	});

	it("inverts, for many and for strong mechanisms, with failures counted", () => {
		for (const repeated of [
			{ epsilon: 0.01, delta: 0, count: 20_000 },
			{ epsilon: 40, delta: 0, count: 50 },
			{ epsilon: 0.3, delta: 1e-9, count: 30 },
		]) {
			const epsilon = optimalCompositionEpsilon(repeated, 1e-6);
			expect(optimalCompositionDelta(repeated, epsilon) / 1e-6).toBeCloseTo(1, 6);
		}
		expect(optimalCompositionEpsilon({ epsilon: 0.3, delta: 1e-6, count: 30 }, 1e-6)).toBe(
			Number.POSITIVE_INFINITY,
		);
		expect(optimalCompositionEpsilon({ epsilon: 0.001, delta: 0, count: 1 }, 0.01)).toBe(0);
	});
});
