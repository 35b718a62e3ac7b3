/** Noise chosen from the released loss: the controller, its filter, and a federation that trains so. */
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RdpFilter } from "../../../src/privacy/accounting/filter.ts";
import { type RdpCurve, rdpOf } from "../../../src/privacy/accounting/rdp.ts";
import {
	ADAPTIVE_LEVELS,
	ALLOWANCE,
	type AllocationState,
	allocationAfter,
	initialAllocation,
	levelIn,
} from "../../../src/training/adaptiveNoise.ts";
import { levelCharged, trainingCharges, trainingEvent } from "../../../src/training/charges.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { noiseLevelOf, planTraining } from "../../../src/training/plan.ts";
import { planTuning } from "../../../src/training/tuning.ts";
import { digitsJob, digitsSites, TestFederation, WHO } from "./federation.ts";

const EPSILON = 8;
const DELTA = 1e-6;
const ROUNDS = 24;
const job = digitsJob({
	privacy: {
		mechanism: "distributed_gaussian",
		epsilon: EPSILON,
		delta: DELTA,
		samplingRate: 0.5,
		noiseSchedule: "adaptive",
		noiseRatio: 0.5,
	},
	training: { rounds: ROUNDS },
});
const plan = planTraining(job, WHO);
const allocation = plan.allocation!;
const filter = new RdpFilter({ epsilonLimit: EPSILON, deltaLimit: DELTA });
const eventAt = (level: number) => trainingEvent(job, plan, { level, newCycles: 0 });
const curves = plan.noise.map((_, level) => rdpOf(eventAt(level)));

/** What becomes of a round: not released, or released with a loss or without one. */
type Fate = "given up" | number | undefined;

function run(fates: readonly Fate[]): { levels: number[]; state: AllocationState } {
	let state = initialAllocation(allocation);
	const levels: number[] = [];
	for (let round = 0; round < ROUNDS; round++) {
		const fate = fates[round % fates.length];
		levels.push(levelIn(state, round));
		if (fate !== "given up")
			state = allocationAfter(allocation, state, { round, rounds: ROUNDS, loss: fate });
	}
	return { levels, state };
}

function spentAt(levels: readonly number[]): RdpCurve {
	const total = new Float64Array(curves[0]!.length);
	for (const level of levels) for (let i = 0; i < total.length; i++) total[i]! += curves[level]![i]!;
	return total;
}

describe("levels of adaptive noise", () => {
	it("go from the most noise to the least, in the stated ratio, and cost the more the less noise there is", () => {
		const multipliers = plan.noise.map(({ noiseMultiplier }) => noiseMultiplier);
		expect(multipliers).toHaveLength(ADAPTIVE_LEVELS);
		expect(multipliers.at(-1)! / multipliers[0]!).toBeCloseTo(0.5, 7);
		expect([...allocation.prices].sort((a, b) => a - b)).toEqual(allocation.prices);
		expect([...multipliers].sort((a, b) => b - a)).toEqual(multipliers);
	});

	it("come to the whole epsilon when each has its equal part", () => {
		const even = plan.noise.flatMap((_, level) => Array(ROUNDS / ADAPTIVE_LEVELS).fill(level));
		const epsilon = filter.epsilonOf(spentAt(even));
		expect(epsilon).toBeLessThanOrEqual(EPSILON);
		expect(epsilon).toBeGreaterThan(EPSILON * 0.999);
		const price = even.reduce((sum, level) => sum + allocation.prices[level]!, 0);
		expect(price).toBeGreaterThan(ALLOWANCE * 0.999);
	});

	it("are part of what participants agree on, and of the state's bytes, for such jobs alone", () => {
		const state = initialState(job, plan, "job", new Uint8Array(32));
		expect(decodeCommonState(encodeCommonState(state), plan.parameterCount)).toEqual(state);
		const other = digitsJob();
		expect(initialState(other, planTraining(other, WHO), "job", new Uint8Array(32))).not.toHaveProperty(
			"allocation",
		);
		const { allocation: _, ...without } = state;
		expect(() => noiseLevelOf(plan, 0, ROUNDS, without as object)).toThrowError(/which noise is next/);
		for (const damage of [{ level: ADAPTIVE_LEVELS }, { counts: [] }, { stalled: -1 }]) {
			const damaged = { ...state, allocation: { ...state.allocation!, ...damage } };
			expect(() => decodeCommonState(encodeCommonState(damaged), plan.parameterCount)).toThrowError(
				/not one of/,
			);
		}
	});
});

describe("the controller", () => {
	it("keeps the most noise while the loss falls", () => {
		const falling = Array.from({ length: ROUNDS }, (_, round) => 4 * 0.9 ** round);
		const { levels } = run(falling);
		expect(levels.slice(0, ROUNDS / 2)).toEqual(Array(ROUNDS / 2).fill(0));
		// What was saved is spent in the end.
		expect(levels.at(-1)).toBe(ADAPTIVE_LEVELS - 1);
	});

	it("lowers it by one level after two evaluations without progress", () => {
		expect(run([1]).levels.slice(0, 7)).toEqual([0, 0, 0, 1, 1, 2, 2]);
	});

	it("takes no notice of rounds without an evaluation", () => {
		expect(run([1, undefined]).levels.slice(0, 6)).toEqual([0, 0, 0, 0, 0, 1]);
	});

	it("runs with the most noise after a round that was given up, and counts it", () => {
		const { levels, state } = run([1, 1, 1, 1, "given up", "given up", 1]);
		expect(levels.slice(3, 7)).toEqual([1, 1, 0, 0]);
		expect(state.counts.reduce((sum, each) => sum + each, 0)).toBe(ROUNDS);
	});
});

const fate = fc.oneof(
	fc.double({ min: 0, max: 8, noNaN: true }),
	fc.constantFrom(0, 8, undefined, "given up" as const),
);

describe("whatever is measured and whatever fails", () => {
	it("no round goes beyond the filter, and each runs at one of the levels", () => {
		fc.assert(
			fc.property(fc.array(fate, { minLength: 1, maxLength: ROUNDS }), (fates) => {
				const { levels } = run(fates);
				for (const [round, level] of levels.entries()) {
					const fits = filter.fits(spentAt(levels.slice(0, round)), curves[level]!);
					expect(fits).toBe(true);
				}
			}),
			{ numRuns: 100 },
		);
	});

	it("the rounds to come can all run with the most noise", () => {
		fc.assert(
			fc.property(fc.array(fate, { minLength: 1, maxLength: ROUNDS }), (fates) => {
				const prices = run(fates).levels.map((level) => allocation.prices[level]!);
				for (let round = 0, spent = 0; round < ROUNDS; round++) {
					spent += prices[round]!;
					expect(spent + (ROUNDS - round - 1) * allocation.prices[0]!).toBeLessThanOrEqual(ALLOWANCE);
				}
			}),
			{ numRuns: 300 },
		);
	});

	it("prices that sum up to the allowance pass the filter, in any mixture of levels", () => {
		const shares = fc.array(fc.nat(100), { minLength: ADAPTIVE_LEVELS, maxLength: ADAPTIVE_LEVELS });
		fc.assert(
			fc.property(
				shares.filter((counts) => counts.some((each) => each > 0)),
				(counts) => {
					const price = counts.reduce((sum, each, level) => sum + each * allocation.prices[level]!, 0);
					const total = curves[0]!.map((_, i) =>
						counts.reduce((sum, each, level) => sum + (each * ALLOWANCE * curves[level]![i]!) / price, 0),
					);
					expect(filter.epsilonOf(total)).toBeLessThanOrEqual(EPSILON);
				},
			),
			{ numRuns: 300 },
		);
	});
});

describe("a federation with adaptive noise", () => {
	let federation: TestFederation;
	const ran: { readonly level: number; readonly loss: number | undefined }[] = [];

	beforeAll(async () => {
		federation = await TestFederation.create(job);
		for (let round = 0; round < ROUNDS; round++) {
			const levels = [await federation.contribution(0), await federation.contribution(1)].map((c) => c.level);
			// Through bytes, as a node that restarts or catches up gets it.
			federation.state = decodeCommonState(encodeCommonState(federation.state), plan.parameterCount);
			expect(new Set([...levels, noiseLevelOf(plan, round, ROUNDS, federation.state)]).size).toBe(1);
			const { loss } = await federation.round();
			ran.push({ level: levels[0]!, loss });
		}
	}, 60_000);

	afterAll(() => federation?.dispose());

	it("learns, all rounds within the filter", async () => {
		// Guessing gets 0.1.
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(0.5);
		const epsilon = filter.epsilonOf(spentAt(ran.map(({ level }) => level)));
		expect(epsilon).toBeLessThanOrEqual(EPSILON);
		expect(epsilon).toBeGreaterThan(EPSILON * 0.8);
	});

	it("runs at the levels that the released losses alone lead to", () => {
		expect(run(ran.map(({ loss }) => loss)).levels).toEqual(ran.map(({ level }) => level));
		expect(federation.state.allocation!.counts).toEqual(
			plan.noise.map((_, level) => ran.filter((one) => one.level === level).length),
		);
	});

	it("charges each round the event of its own level", () => {
		for (const [round, { level }] of ran.entries()) {
			const facts = { round, level, samplerDistance: 0, newCycles: 0 };
			const charges = trainingCharges(job, plan, WHO, facts);
			expect(charges[0]).toMatchObject({ partition: "train", event: eventAt(level) });
			expect(levelCharged(job, plan, charges)).toBe(level);
			expect(charges[1]).toMatchObject({
				partition: "heldOut",
				event: { kind: "gaussian", noiseMultiplier: plan.noise[0]!.evaluationMultiplier },
			});
		}
	});
});

describe("jobs that cannot have adaptive noise", () => {
	const privacy = { ...job.privacy };

	it.each([
		[{ privacy: { ...privacy, noiseRatio: 1.5 } }, /at most 0.9/],
		[{ privacy: { ...privacy, noiseRatio: undefined } }, /needs privacy.noiseRatio/],
		[{ privacy, training: { rounds: 30, evaluateEveryRounds: 10 } }, /at least 4 of them/],
		[
			{ privacy: { ...privacy, samplingRate: undefined, correlation: "tree", minimumSeparation: 4 } },
			/must be constant with correlated/,
		],
		[{ privacy: { ...privacy, samplingRate: undefined, unit: "client" } }, /needs privacy.unit record/],
	])("are told why (%#)", (overrides, problem) => {
		expect(() => digitsJob(overrides)).toThrowError(problem);
	});

	it("are not sized where no noise is enough, and not tuned", () => {
		const many = digitsJob({ privacy: { ...privacy, delta: 1e-10 }, training: { rounds: 24 } });
		expect(() => planTraining(many, WHO)).toThrowError(/No adaptive noise/);
		const tuning = { candidates: [{ momentum: 0.5 }], epsilon: 8, delta: 1e-6, meanTrials: 2, shape: 1 };
		expect(() => planTuning(job, tuning, 1000)).toThrowError(/adaptive noise/);
	});
});
