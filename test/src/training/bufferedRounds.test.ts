import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromRing, toRing } from "../../../src/privacy/fixedPoint.ts";
import {
	bufferOf,
	finishContribution,
	scheduleContradiction,
	stalenessWeight,
} from "../../../src/training/bufferedRounds.ts";
import { privacySchema } from "../../../src/training/privacyChoice.ts";
import { trainingSchema } from "../../../src/training/trainingChoice.ts";

const BITS = 24;

/** A plan whose first four of six coordinates are the update. */
function planOf(parameterSigma: number) {
	return {
		layout: { update: 4, metrics: 4, weight: 5 },
		encoding: { modulusBits: BITS },
		noise: [{ parameterSigma }],
	} as unknown as Parameters<typeof finishContribution>[0];
}

function finished(values: readonly number[], staleness: number, sigma = 0): number[] {
	const prepared = toRing(Int32Array.from(values), BITS);
	return [...fromRing(finishContribution(planOf(sigma), prepared, staleness).vector, BITS)];
}

describe("a contribution that a round takes", () => {
	test("is scaled by 1 / sqrt(1 + staleness), its evaluation and weight are not", () => {
		expect(finished([1000, -1000, 3, 0, 777, -5], 0)).toEqual([1000, -1000, 3, 0, 777, -5]);
		expect(finished([1000, -1000, 3, 0, 777, -5], 3)).toEqual([500, -500, 2, 0, 777, -5]);
		expect(finished([1000, -1000, 7, 0, 777, -5], 8)).toEqual([333, -333, 2, 0, 777, -5]);
	});

	test("leaves nothing un-noised behind", () => {
		const prepared = toRing(Int32Array.of(9, 9, 9, 9, 9, 9), BITS);
		finishContribution(planOf(4), prepared, 1);
		expect([...prepared]).toEqual([0, 0, 0, 0, 0, 0]);
	});

	test("never moves two integers further apart: the sensitivity stays what it was", () => {
		const integer = fc.integer({ min: -(2 ** 23), max: 2 ** 23 - 1 });
		fc.assert(
			fc.property(integer, fc.integer({ min: -3, max: 3 }), fc.nat(1000), (a, step, staleness) => {
				const b = Math.max(-(2 ** 23), Math.min(2 ** 23 - 1, a + step));
				const [one, other] = finished([a, b, 0, 0, 0, 0], staleness);
				expect(Math.abs(one! - other!)).toBeLessThanOrEqual(Math.abs(a - b));
			}),
			{ seed: 1, numRuns: 500 },
		);
	});

	test("is shortened to the bound of the round, after its weight", () => {
		const values = [3000, -4000, 0, 0, 777, -5];
		const finish = (staleness: number, bound: number) => {
			const prepared = toRing(Int32Array.from(values), BITS);
			const plan = planOf(0);
			const scaled = { ...plan, encoding: { ...plan.encoding, scale: 100 } };
			return [...fromRing(finishContribution(scaled, prepared, staleness, bound).vector, BITS)];
		};
		expect(finish(0, 50)).toEqual(values);
		expect(finish(0, 10)).toEqual([600, -800, 0, 0, 777, -5]);
		expect(finish(3, 25)).toEqual([1500, -2000, 0, 0, 777, -5]);
		expect(finish(3, 10)).toEqual([600, -800, 0, 0, 777, -5]);
	});

	test("gets the whole share of noise, however stale it is", () => {
		const sigma = 50;
		const draws = 1500;
		let squares = 0;
		for (let i = 0; i < draws; i++)
			for (const value of finished([0, 0, 0, 0, 0, 0], 8, sigma).slice(0, 4)) squares += value * value;
		// 6,000 squares of a Gaussian: their mean is off by a tenth with probability below 1e-7.
		expect(squares / (4 * draws * sigma * sigma)).toBeGreaterThan(0.9);
		expect(squares / (4 * draws * sigma * sigma)).toBeLessThan(1.1);
	});

	test("weighs less the staler it is", () => {
		expect(stalenessWeight(0)).toBe(1);
		for (let staleness = 1; staleness < 20; staleness++)
			expect(stalenessWeight(staleness)).toBeLessThan(stalenessWeight(staleness - 1));
	});
});

describe("the job file's keys", () => {
	const shared = { mechanism: "distributed_gaussian", epsilon: 4, delta: 1e-6, samplingRate: 0.5 };
	const said = (training: object, privacy: object = shared, other: object = {}) =>
		scheduleContradiction({
			training: trainingSchema.parse({ rounds: 5, expectedBatch: 100, ...training }),
			privacy: privacySchema.parse(privacy),
			...other,
		});

	test("go together", () => {
		expect(said({})).toBeUndefined();
		expect(said({ schedule: "buffered", bufferSize: 3 })).toBeUndefined();
		expect(
			said({ schedule: "buffered", bufferSize: 3, maximumStaleness: 0 }, { mechanism: "none" }),
		).toBeUndefined();
	});

	const buffered = { schedule: "buffered", bufferSize: 3 };
	test.each([
		["maximumStaleness belong", { maximumStaleness: 2 }, shared, {}],
		["bufferSize is needed", { schedule: "buffered" }, shared, {}],
		["selection contradicts", buffered, shared, { selection: {} }],
		["personalization is not offered", buffered, shared, { personalization: {} }],
		["algorithm scaffold contradicts", { ...buffered, algorithm: "scaffold" }, { mechanism: "none" }, {}],
		["compression is not offered", buffered, shared, { compression: {} }],
		["evaluateEveryRounds must be 1", { ...buffered, evaluateEveryRounds: 2 }, shared, {}],
		["clipping adaptive contradicts", buffered, { ...shared, clipping: "adaptive" }, {}],
		["noiseSchedule must be constant", buffered, { ...shared, noiseSchedule: "linear", noiseRatio: 0.5 }, {}],
		["correlation contradicts", buffered, { ...shared, correlation: "tree", minimumSeparation: 4 }, {}],
	])("%s", (message, training, privacy, other) => {
		expect(said(training, privacy, other)).toContain(message);
	});

	test("a buffer holds no more than there are participants", () => {
		const training = trainingSchema.parse({ rounds: 5, ...buffered, bufferSize: 10 });
		expect(bufferOf(training, 6)).toEqual({ capacity: 6, maximumStaleness: 10 });
		expect(bufferOf(trainingSchema.parse({ rounds: 5 }), 6)).toBeUndefined();
	});
});
