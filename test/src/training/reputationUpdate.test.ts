/** What a job with reputation keeps from round to round, and which participants it is for. */
import { describe, expect, test } from "vitest";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import { reputationAfter, reputationRules } from "../../../src/training/reputationUpdate.ts";
import { screeningRules } from "../../../src/training/robustUpdate.ts";
import { digitsJob } from "./federation.ts";

const job = (attackers = 1, more: Parameters<typeof digitsJob>[0] = {}) =>
	digitsJob({
		training: { algorithm: "fedavg", rounds: 8, expectedBatch: undefined },
		privacy: { mechanism: "none" },
		robustness: { mode: "reputation", attackers },
		...more,
	});
const WHO = { participants: 7, corruption: 2, minimumSurvivors: 5 };
const spec = job();
const plan = planTraining(spec, WHO);

describe("the common state of a job with reputation", () => {
	test("gets scores and the last aggregate from each round, alike at every node", () => {
		const first = initialState(spec, plan, "job", new Uint8Array(32));
		expect(screeningRules(spec, plan, first).reputation).toEqual({
			attackers: 1,
			scores: new Float64Array(),
		});
		const sum = Uint32Array.from({ length: plan.length }, (_, i) => (i % 3) * 1000);
		const release = (state: typeof first, alignments: (number | undefined)[]) =>
			applyRelease({ spec, plan, round: 0, state, sum, survivors: 5, norms: [1e6], alignments }).state;
		const second = release(first, new Array(7).fill(undefined));
		expect(second.reputations).toEqual(new Float64Array(7));
		const { reputation, normBound } = screeningRules(spec, plan, second);
		expect(Math.hypot(...reputation!.direction!)).toBeCloseTo(32, 9);
		expect(normBound).toBeLessThan(screeningRules(spec, plan, first).normBound);
		const third = release(second, [1, 0.5, undefined, -1, 0, 0, 0]);
		expect([...third.reputations!].map((score) => Math.round(1e12 * score) / 1e12)).toEqual([
			0.1, 0.05, 0, -0.1, 0, 0, 0,
		]);
		expect(third.standings).toBeUndefined();
		const later = { spec, plan, round: 20, state: third, sum, survivors: 5, norms: [1e6] };
		const settled = applyRelease({ ...later, alignments: [1, 0.5, undefined, -1, 0, 0, 0] }).state;
		expect(settled.standings![2]).toBe(0);
		expect(settled.standings![3]).toBeGreaterThan(0);
		expect(screeningRules(spec, plan, settled).reputation!.standings).toBe(settled.standings);
		expect(decodeCommonState(encodeCommonState(settled), plan.parameterCount)).toEqual(settled);
		const bytes = encodeCommonState(third);
		expect(decodeCommonState(bytes, plan.parameterCount)).toEqual(third);
		expect(() => decodeCommonState(bytes.subarray(0, bytes.length - 9), plan.parameterCount)).toThrow();
	});

	test("has no direction where the last aggregate was nothing", () => {
		const { mode: _, clientMomentum: __, ...rest } = { mode: "reputation", clientMomentum: 0, attackers: 1 };
		const none = reputationRules(
			{ ...rest, mode: "reputation", clientMomentum: 0 },
			{ reputations: new Float64Array(3), lastAggregate: new Float64Array(4) },
		);
		expect(none).toEqual({ attackers: 1, scores: new Float64Array(3) });
	});

	test("is not made without what the screening found", () => {
		expect(() => reputationAfter(spec, {}, new Float64Array(4), undefined, 0)).toThrow(/its screening found/);
	});
});

describe("a job file with reputation", () => {
	test("is refused where it cannot tell attackers apart, or leaves too few", () => {
		expect(() => planTraining(job(3), { ...WHO, participants: 6 })).toThrow(/needs 7 participants, not 6/);
		expect(() => planTraining(job(3), WHO)).toThrow(/may leave 4 of 7 participants, fewer than the 5/);
	});

	test("is refused with noise in shares, compression and control variates", () => {
		expect(() =>
			job(1, {
				training: { rounds: 2 },
				privacy: { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.5 },
			}),
		).toThrow(/numbers of the sites' vectors/);
		expect(() => job(1, { compression: {} })).toThrow(/norm_bound alone/);
		const training = { algorithm: "scaffold", rounds: 2, expectedBatch: undefined };
		expect(() => job(1, { training })).toThrow(/clientMomentum 0 and equal weights alone/);
	});
});
