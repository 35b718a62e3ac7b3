import { describe, expect, it } from "vitest";
import { deltaBounds, epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { optimalCompositionEpsilon } from "../../../../src/privacy/accounting/composition.ts";
import {
	composed,
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import { pldEpsilon } from "../../../../src/privacy/accounting/pld/index.ts";
import { epsilonFromRdp, epsilonOf, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import { zcdpEpsilon } from "../../../../src/privacy/accounting/zcdp.ts";
import { MECHANISMS } from "./mechanismsForTests.ts";

const DELTA = 1e-6;

describe("epsilon by the best accountant", () => {
	for (const [kind, mechanismOf] of Object.entries(MECHANISMS)) {
		for (const adjacency of ["addRemove", "replaceOne"] as const) {
			it(`brackets ${kind} under ${adjacency}, composed, never above the Renyi bound`, () => {
				const event = selfComposed(mechanismOf(0.2), 12);
				const { lower, upper } = epsilonBounds(event, DELTA, adjacency);
				const renyi = epsilonFromRdp(rdpOf(event, adjacency), DELTA).epsilon;
				expect(lower).toBeLessThanOrEqual(upper);
				expect(upper).toBeLessThanOrEqual(renyi * (1 + 1e-9));
				expect(upper).toBeGreaterThan(renyi / 3);
			});
		}
	}

	it("never finds a Renyi bound below the distribution's lower one: two accountants that share no code", () => {
		let compared = 0;
		for (const [kind, mechanismOf] of Object.entries(MECHANISMS)) {
			if (kind === "randomizedResponse") continue;
			for (const [q, strength, count] of [
				[0.3, 0.3, 1],
				[0.01, 2, 1],
				[0.02, 1, 200],
			] as const) {
				const event = selfComposed(poissonSampled(q, mechanismOf(strength)), count);
				const renyi = epsilonOf(event, DELTA);
				const { lower, upper } = epsilonBounds(event, DELTA);
				expect(renyi, `${kind} ${q} ${count}`).toBeGreaterThanOrEqual(lower * (1 - 1e-9));
				expect(upper).toBeLessThanOrEqual(renyi * (1 + 1e-9));
				if (lower > 0) compared++;
			}
		}
		expect(compared).toBeGreaterThanOrEqual(15);
	});

	it("is exact for equal pure mechanisms, at any delta, as the distribution is where its floor allows", () => {
		const one: PrivacyEvent = { kind: "pureDp", epsilon: 0.2 };
		for (const delta of [1e-3, 1e-6, 1e-30]) {
			const { lower, upper, method } = epsilonBounds(composed(selfComposed(one, 49), one), delta);
			const exact = optimalCompositionEpsilon({ epsilon: 0.2, delta: 0, count: 50 }, delta);
			expect(method).toBe("optimal");
			expect(lower).toBeLessThanOrEqual(exact);
			expect(upper).toBeGreaterThanOrEqual(exact);
			expect(upper / exact).toBeCloseTo(1, 8);
		}
		const distribution = pldEpsilon(selfComposed(one, 50), DELTA);
		const exact = optimalCompositionEpsilon({ epsilon: 0.2, delta: 0, count: 50 }, DELTA);
		expect(distribution.lower).toBeLessThanOrEqual(exact * (1 + 1e-9));
		expect(distribution.upper).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
		expect(deltaBounds(selfComposed(one, 50), exact).upper / DELTA).toBeCloseTo(1, 6);
	});

	it("takes rho at its best real order where nothing else is known", () => {
		const event = composed(
			{ kind: "zeroConcentrated", rho: 0.01 },
			selfComposed({ kind: "zeroConcentrated", rho: 0.005 }, 4),
		);
		const { lower, upper, method } = epsilonBounds(event, DELTA);
		expect(upper).toBeCloseTo(zcdpEpsilon(0.03, DELTA), 12);
		expect(method).toBe("zcdp");
		expect(lower).toBe(0);
	});

	it("bounds a mixture from the parts that have a distribution and those that have none", () => {
		// rho-zCDP may be Gaussian noise: the mixture costs at least what it would cost then.
		const training = selfComposed(poissonSampled(0.01, gaussian(1)), 500);
		const selection: PrivacyEvent = { kind: "zeroConcentrated", rho: 0.02 };
		const mixture = composed(training, selection);
		const { lower, upper } = epsilonBounds(mixture, DELTA);
		const asGaussian = epsilonBounds(composed(training, gaussian(5)), DELTA);
		expect(upper).toBeGreaterThan(asGaussian.lower);
		expect(upper).toBeLessThanOrEqual(epsilonOf(mixture, DELTA) * (1 + 1e-9));
		expect(lower).toBeLessThanOrEqual(asGaussian.upper);
		expect(lower).toBeCloseTo(epsilonBounds(training, DELTA).lower, 9);
	});

	it("splits delta where Renyi bounds of the whole are far off", () => {
		// Tiny q, one step: Renyi says 2, the truth is 0.0006.
		const rare = poissonSampled(1e-4, gaussian(0.5));
		const { upper, method } = epsilonBounds(composed(rare, { kind: "zeroConcentrated", rho: 1e-6 }), 1e-5);
		expect(method).toBe("pld+rdp");
		expect(upper).toBeLessThan(0.1);
		expect(epsilonOf(rare, 1e-5)).toBeGreaterThan(1);
	});

	it("knows selections by Renyi bounds", () => {
		const run = selfComposed(poissonSampled(0.02, gaussian(1.5)), 200);
		const tuned: PrivacyEvent = { kind: "repeatAndSelect", event: run, meanTrials: 10, shape: 1 };
		const { upper, method } = epsilonBounds(tuned, DELTA);
		expect(method).toBe("rdp");
		expect(upper).toBeGreaterThan(epsilonBounds(run, DELTA).upper);
		expect(upper).toBeLessThan(3 * epsilonBounds(run, DELTA).upper);
		// One more release beside it costs something, but no more than its own epsilon and a split delta.
		const both = epsilonBounds(composed(tuned, gaussian(8)), DELTA).upper;
		expect(both).toBeGreaterThan(upper);
		expect(both).toBeLessThan(upper + 1);
	});

	it("is nothing for nothing, and refuses what has no bound or no meaning", () => {
		expect(epsilonBounds(composed(), DELTA)).toMatchObject({ lower: 0, upper: 0 });
		expect(epsilonBounds(selfComposed({ kind: "zeroConcentrated", rho: 1 }, 0), DELTA).upper).toBe(0);
		for (const delta of [0, 1, Number.NaN]) {
			expect(() => epsilonBounds(gaussian(1), delta)).toThrow(
				expect.objectContaining({ code: "privacy.bad_delta" }),
			);
		}
		expect(() =>
			epsilonBounds(poissonSampled(0.1, { kind: "boundedRange", epsilon: 1 }), DELTA, "replaceOne"),
		).toThrow(expect.objectContaining({ code: "privacy.unsupported_event" }));
		const response = { kind: "randomizedResponse", categories: 4, noiseProbability: 0.5 } as const;
		expect(() => epsilonBounds(poissonSampled(0.01, response), 1e-6)).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
	});
});

describe("delta by the best accountant", () => {
	const events: Readonly<Record<string, PrivacyEvent>> = {
		training: selfComposed(poissonSampled(0.01, gaussian(1)), 500),
		selection: { kind: "zeroConcentrated", rho: 0.02 },
		mixture: composed(selfComposed(gaussian(8), 3), { kind: "boundedRange", epsilon: 0.3 }),
	};
	for (const [name, event] of Object.entries(events)) {
		it(`comes back from epsilon: ${name}`, () => {
			const { upper: epsilon } = epsilonBounds(event, DELTA);
			const { lower, upper } = deltaBounds(event, epsilon);
			expect(lower).toBeLessThanOrEqual(DELTA * (1 + 1e-9));
			expect(upper / DELTA).toBeCloseTo(1, 2);
			expect(deltaBounds(event, epsilon * 1.1).upper).toBeLessThan(upper);
		});
	}

	it("is a Renyi bound where it is below anything a release could tell from 0", () => {
		const rare = selfComposed(poissonSampled(0.004, gaussian(10)), 32);
		const { lower, upper, method } = deltaBounds(rare, 0.2);
		expect(lower).toBe(0);
		expect(upper).toBeGreaterThan(0);
		expect(upper).toBeLessThan(1e-80);
		expect(method).toBe("rdp");
	});

	it("is at most 1, and refuses an epsilon that means nothing", () => {
		expect(
			deltaBounds(selfComposed({ kind: "zeroConcentrated", rho: 50 }, 100), 0).upper,
		).toBeLessThanOrEqual(1);
		for (const epsilon of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => deltaBounds(gaussian(1), epsilon)).toThrow(
				expect.objectContaining({ code: "privacy.bad_epsilon" }),
			);
		}
	});
});
