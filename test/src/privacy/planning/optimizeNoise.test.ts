import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { roundEvent } from "../../../../src/privacy/accounting/calibration.ts";
import { selfComposed } from "../../../../src/privacy/accounting/events.ts";
import {
	type OptimizationRequest,
	optimizeNoise,
	paretoFrontier,
} from "../../../../src/privacy/planning/optimizeNoise.ts";

const REQUEST: OptimizationRequest = {
	records: 10_000,
	parameters: 650,
	epsilon: 1,
	delta: 1e-6,
	clipping: [{ norm: 1, signal: 0.3 }],
	largestWork: 2_000_000,
	samplingProbabilities: [0.01, 0.05, 0.2, 1],
	steps: [20, 100, 500],
	utilityLimit: 0.5,
};

describe("optimizing noise", () => {
	it("finds the least noise beside the signal within the target and the work", () => {
		const { best, meetsLimit, excess } = optimizeNoise(REQUEST);
		expect(best.samplingProbability * REQUEST.records * best.steps).toBeLessThanOrEqual(REQUEST.largestWork);
		const event = selfComposed(roundEvent(best.samplingProbability, best.noiseMultiplier), best.steps);
		expect(epsilonBounds(event, REQUEST.delta).upper).toBeLessThanOrEqual(REQUEST.epsilon);
		for (const samplingProbability of REQUEST.samplingProbabilities) {
			for (const steps of REQUEST.steps) {
				if (samplingProbability * REQUEST.records * steps > REQUEST.largestWork) continue;
				const alone = optimizeNoise({
					...REQUEST,
					samplingProbabilities: [samplingProbability],
					steps: [steps],
				});
				expect(best.noiseToSignal).toBeLessThanOrEqual(alone.best.noiseToSignal);
			}
		}
		expect(meetsLimit).toBe(excess <= 1);
	});

	it("says by how much a limit is missed, and what would meet it", () => {
		const strict = { ...REQUEST, epsilon: 0.1, utilityLimit: 0.05 };
		const { best, meetsLimit, excess, wouldMeet } = optimizeNoise(strict);
		expect(meetsLimit).toBe(false);
		expect(excess).toBeCloseTo(best.noiseToSignal / 0.05, 12);
		const fixed = {
			samplingProbabilities: [best.samplingProbability],
			steps: [best.steps],
			largestWork: 1e12,
		};
		expect(optimizeNoise({ ...strict, ...fixed, records: wouldMeet!.records }).meetsLimit).toBe(true);
		expect(optimizeNoise({ ...strict, ...fixed, epsilon: wouldMeet!.epsilon! }).meetsLimit).toBe(true);
		expect(optimizeNoise({ ...strict, ...fixed, epsilon: wouldMeet!.epsilon! * 0.95 }).meetsLimit).toBe(
			false,
		);
	});

	it("takes the clipping norm that keeps most of the signal for its noise", () => {
		const clipping = [
			{ norm: 0.1, signal: 0.04 },
			{ norm: 1, signal: 0.3 },
			{ norm: 10, signal: 0.6 },
		];
		expect(optimizeNoise({ ...REQUEST, clipping }).best.clippingNorm).toBe(0.1);
	});

	it("refuses what cannot be", () => {
		expect(() => optimizeNoise({ ...REQUEST, largestWork: 10 })).toThrowError(/Allow more work/);
		expect(() => optimizeNoise({ ...REQUEST, clipping: [{ norm: 1, signal: 2 }] })).toThrowError(/signal/);
		expect(() => optimizeNoise({ ...REQUEST, epsilon: -1 })).toThrowError(/epsilon/);
		expect(() => optimizeNoise({ ...REQUEST, delta: 0 })).toThrowError(/delta/);
		expect(() => optimizeNoise({ ...REQUEST, steps: [0] })).toThrowError(/whole numbers/);
	});
});

describe("the Pareto frontier", () => {
	it("falls in noise as epsilon rises", () => {
		const frontier = paretoFrontier(REQUEST, [4, 0.5, 1, 2]);
		expect(frontier.map(({ epsilon }) => epsilon)).toEqual([0.5, 1, 2, 4]);
		const noise = frontier.map(({ noiseToSignal }) => noiseToSignal);
		expect(noise).toEqual(noise.toSorted((a, b) => b - a));
	});
});
