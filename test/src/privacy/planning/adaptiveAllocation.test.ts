import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { composed, type PrivacyEvent } from "../../../../src/privacy/accounting/events.ts";
import { epsilonOf } from "../../../../src/privacy/accounting/rdp.ts";
import {
	AdaptiveAllocation,
	type AdaptivePlan,
} from "../../../../src/privacy/planning/adaptiveAllocation.ts";

const PLAN: AdaptivePlan = {
	epsilon: 3,
	delta: 1e-6,
	samplingProbability: 0.1,
	firstNoiseMultiplier: 3,
	leastNoiseMultiplier: 1.5,
	decay: 0.7,
	patience: 2,
	improvement: 0.01,
};

function multiplierOf(event: PrivacyEvent): number {
	const inner = event.kind === "poissonSampled" ? event.event : event;
	return inner.kind === "gaussian" ? inner.noiseMultiplier : Number.NaN;
}

/** Runs to the end of the budget, at most `most` rounds. */
function run(plan: AdaptivePlan, metric: (round: number) => number, most = 20_000) {
	const allocation = new AdaptiveAllocation(plan);
	const events: PrivacyEvent[] = [];
	while (events.length < most) {
		const event = allocation.next();
		if (event === undefined) break;
		allocation.measured(metric(events.length));
		events.push(event);
	}
	return { events, spent: allocation.epsilonSpent };
}

describe("an allocation by measured utility", () => {
	it("keeps the noise while the metric improves, and lowers it when it stalls", () => {
		const { events } = run(PLAN, (round) => Math.min(round, 10), 20);
		expect(events.slice(0, 11).map(multiplierOf)).toEqual(Array(11).fill(3));
		expect(multiplierOf(events[13]!)).toBeCloseTo(2.1, 12);
		expect(multiplierOf(events.at(-1)!)).toBeLessThan(2.1);
	});

	it("never lowers it below the least, and ends when the budget does", () => {
		const { events, spent } = run(PLAN, () => 0);
		const multipliers = events.map(multiplierOf);
		expect(Math.min(...multipliers)).toBeGreaterThanOrEqual(1.5);
		expect(events.length).toBeGreaterThan(30);
		expect(events.length).toBeLessThan(20_000);
		expect(spent).toBeLessThanOrEqual(3);
		expect(spent).toBeGreaterThan(2.9);
	});

	it("never exceeds the target, whatever is measured", () => {
		fc.assert(
			fc.property(
				fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 1, maxLength: 30 }),
				fc.double({ min: 0.2, max: 4, noNaN: true }),
				(metrics, epsilon) => {
					const plan = { ...PLAN, epsilon, samplingProbability: 1, firstNoiseMultiplier: 12 };
					const { events, spent } = run(plan, (round) => metrics[round % metrics.length]!, 300);
					expect(spent).toBeLessThanOrEqual(epsilon);
					// The filter never states less than what the same events cost as a fixed plan.
					if (events.length > 0) expect(epsilonOf(composed(...events), 1e-6)).toBeLessThanOrEqual(epsilon);
				},
			),
			{ numRuns: 25 },
		);
	});

	it("refuses plans that are none", () => {
		for (const wrong of [{ decay: 1 }, { patience: 0 }, { leastNoiseMultiplier: 4 }, { improvement: -1 }]) {
			expect(() => new AdaptiveAllocation({ ...PLAN, ...wrong })).toThrowError(/adaptive plan/);
		}
	});
});
