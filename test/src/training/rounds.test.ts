/** Whole rounds without masks: contributions of several sites are summed and released as nodes do it. */
import { afterAll, describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import { epsilonBounds } from "../../../src/privacy/accounting/accountant.ts";
import { fromRing } from "../../../src/privacy/fixedPoint.ts";
import { effectiveNoiseMultiplier } from "../../../src/privacy/integerNoise.ts";
import { totalCharges } from "../../../src/training/charges.ts";
import {
	type CommonState,
	decodeCommonState,
	encodeCommonState,
	initialState,
} from "../../../src/training/commonState.ts";
import { Contributor } from "../../../src/training/contribution.ts";
import { jobSpecHash, type ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { type Participation, planHash, planTraining, type TrainingPlan } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { digitsJob, digitsSites, emptySite, WHO } from "./federation.ts";

const trainers: Trainer[] = [];
afterAll(() => Promise.all(trainers.map((trainer) => trainer.dispose())));

async function federation(job: ResolvedJobSpec, count = 5) {
	const plan = planTraining(job, WHO);
	const contributors: Contributor[] = [];
	for (const data of digitsSites(count)) {
		const trainer = await createTrainer({ model: plan.model });
		trainers.push(trainer);
		contributors.push(
			new Contributor({ spec: job, plan, data, trainer, participationKey: new Uint8Array(32).fill(5) }),
		);
	}
	return { plan, contributors, state: initialState(job, plan, "job", new Uint8Array(32)) };
}

async function sumOf(
	plan: TrainingPlan,
	contributors: readonly Contributor[],
	round: number,
	state: CommonState,
) {
	const mask = plan.encoding.modulusBits === 32 ? 0xffffffff : 2 ** plan.encoding.modulusBits - 1;
	const sum = new Uint32Array(plan.length);
	for (const contributor of contributors) {
		const { vector } = await contributor.contribute(round, state);
		for (let i = 0; i < sum.length; i++) sum[i] = ((sum[i]! + vector[i]!) & mask) >>> 0;
	}
	return sum;
}

describe("a training plan", () => {
	it("is the same for everybody and tells jobs apart by its hash", () => {
		const job = digitsJob();
		const hash = (who: Participation) => planHash(jobSpecHash(job), planTraining(job, who), who);
		expect(hash(WHO)).toEqual(hash(WHO));
		expect(hash(WHO)).not.toEqual(hash({ ...WHO, minimumSurvivors: 5 }));
	});

	it("keeps training and evaluation each within the job's epsilon and delta", () => {
		const plan = planTraining(digitsJob(), WHO);
		const charged = totalCharges(digitsJob(), plan);
		expect(charged.map(({ partition }) => partition)).toEqual(["train", "heldOut"]);
		for (const { event } of charged) expect(epsilonBounds(event, 1e-6).upper).toBeLessThanOrEqual(8);
	});

	it("gives the honest part of the fewest survivors all the noise that is charged for", () => {
		const plan = planTraining(digitsJob(), WHO);
		const honest = WHO.minimumSurvivors - WHO.corruption;
		const sigma = plan.noise[0]!.parameterSigma * Math.sqrt(honest);
		const { sensitivity } = plan.encoding;
		expect(effectiveNoiseMultiplier({ sigma, sensitivity })).toBeGreaterThanOrEqual(
			plan.noiseMultiplier * (1 - 1e-12),
		);
	});

	it("bounds what one held-out record moves by the share of the noise that its event assumes", () => {
		for (const rounds of [1, 8, 200]) {
			const plan = planTraining(digitsJob({ training: { rounds } }), WHO);
			const { metricUnit, metricSigma, evaluationMultiplier } = plan.noise[0]!;
			const moved = metricUnit * plan.encoding.scale * Math.sqrt(3) + Math.sqrt(3);
			const honestSigma = metricSigma * Math.sqrt(WHO.minimumSurvivors - WHO.corruption);
			expect(honestSigma / moved).toBeGreaterThanOrEqual(evaluationMultiplier * (1 - 1e-9));
		}
	});

	it("has a hash of exact figures alone: exponentials may differ in their last bit between processors", () => {
		const job = digitsJob();
		const plan = planTraining(job, WHO);
		const encoding = { ...plan.encoding, wrapProbability: 2 * plan.encoding.wrapProbability };
		const hash = (of: TrainingPlan) => planHash(jobSpecHash(job), of, WHO);
		expect(hash({ ...plan, encoding })).toEqual(hash(plan));
		const scaled = { ...plan, encoding: { ...plan.encoding, scale: 2 * plan.encoding.scale } };
		expect(hash(scaled)).not.toEqual(hash(plan));
	});

	it("refuses rounds that no site could compute, and pasts that no site could keep", () => {
		const steps = digitsJob({
			privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 1e-4 },
			training: { algorithm: "fedavg", localEpochs: 100 },
		});
		expect(() => planTraining(steps, WHO)).toThrowError(/1000000 steps in each round/);
		const banded = digitsJob({
			model: { kind: "multilayer_perceptron", hidden: [2048] },
			privacy: {
				mechanism: "distributed_gaussian",
				epsilon: 8,
				delta: 1e-6,
				correlation: "banded",
				minimumSeparation: 256,
				bands: 256,
			},
		});
		expect(() => planTraining(banded, WHO)).toThrowError(/fewer privacy.bands/);
	});

	it("refuses a model that does not fit the data, and noise that nobody honest adds", () => {
		const job = digitsJob();
		expect(() => planTraining({ ...job, model: { kind: "linear_regression" } }, WHO)).toThrowError(
			/use linear|classes/,
		);
		expect(() => planTraining(job, { ...WHO, minimumSurvivors: 1, corruption: 1 })).toThrowError(
			/nobody's noise/,
		);
	});
});

describe("rounds with noise in shares", () => {
	it("learn, and report noised metrics near the truth", async () => {
		const job = digitsJob({ training: { rounds: 8, momentum: 0.5 } });
		const { plan, contributors, state } = await federation(job);
		let current = state;
		let accuracy = 0;
		for (let round = 0; round < 8; round++) {
			const sum = await sumOf(plan, contributors, round, current);
			const released = applyRelease({ spec: job, plan, round, state: current, sum, survivors: 5 });
			current = released.state;
			accuracy = released.metrics.accuracy ?? 0;
		}
		expect(accuracy).toBeGreaterThan(0.5);
		const bytes = encodeCommonState(current);
		expect(decodeCommonState(bytes, plan.parameterCount).parameters).toEqual(current.parameters);
		expect(() => decodeCommonState(bytes, plan.parameterCount + 1)).toThrowError(/not one of/);
	});

	it("carry noise of the planned variance (chi-square, false alarm below 1e-6)", async () => {
		const job = digitsJob({ training: { evaluateEveryRounds: 8 } });
		const { plan, state } = await federation(job, 1);
		const trainer = await createTrainer({ model: plan.model });
		trainers.push(trainer);
		const silent = new Contributor({ spec: job, plan, data: emptySite(), trainer });
		let squares = 0;
		let count = 0;
		for (let repeat = 0; repeat < 20; repeat++) {
			const { vector } = await silent.contribute(1, state);
			const values = fromRing(vector, plan.encoding.modulusBits).subarray(0, plan.parameterCount);
			for (const value of values) squares += (value / plan.noise[0]!.parameterSigma) ** 2;
			count += values.length;
		}
		// Normal approximation of chi-square with 13,000 degrees of freedom: 5 standard deviations.
		expect(Math.abs(squares - count)).toBeLessThan(5 * Math.sqrt(2 * count));
	});

	it("are refused by a site that samples more than the public batch foresees", async () => {
		const job = digitsJob({ training: { expectedBatch: 20 } });
		const { contributors, state } = await federation(job, 1);
		await expect(contributors[0]!.contribute(0, state)).rejects.toMatchObject({
			code: "job.batch_too_small",
		});
	});
});

describe("rounds without noise", () => {
	const none = { mechanism: "none" };

	it("average updates by the sites' weights, as one pooled gradient step would", async () => {
		const job = digitsJob({ privacy: none, training: { algorithm: "fedsgd", serverLearningRate: 1 } });
		const { plan, contributors, state } = await federation(job);
		const sum = await sumOf(plan, contributors, 0, state);
		const { state: next, metrics } = applyRelease({ spec: job, plan, round: 0, state, sum, survivors: 5 });
		const trainer = await createTrainer({ model: plan.model });
		trainers.push(trainer);
		const pooled = new Float64Array(plan.parameterCount);
		let rows = 0;
		for (const { train } of digitsSites(5)) {
			const { sum: gradient } = await trainer.gradientSum(state.parameters, train);
			rows += train.rows;
			for (let i = 0; i < pooled.length; i++) pooled[i] = pooled[i]! + gradient[i]!;
		}
		for (let i = 0; i < pooled.length; i += 37) {
			expect(next.parameters[i]).toBeCloseTo(state.parameters[i]! - pooled[i]! / rows, 3);
		}
		expect(metrics.accuracy).toBeGreaterThanOrEqual(0);
	});

	it("leave the model as it is where nobody has records", async () => {
		const job = digitsJob({ privacy: none, training: { algorithm: "fedsgd" } });
		const { plan, state } = await federation(job, 1);
		const [trainer] = trainers as [Trainer];
		const contributors = [new Contributor({ spec: job, plan, data: emptySite(), trainer })];
		const sum = await sumOf(plan, contributors, 0, state);
		const released = applyRelease({ spec: job, plan, round: 0, state, sum, survivors: 1 });
		expect(released.state.parameters).toEqual(state.parameters);
	});

	it("train with local epochs", async () => {
		const job = digitsJob({
			privacy: none,
			training: {
				algorithm: "fedavg",
				serverLearningRate: 1,
				localEpochs: 5,
				localLearningRate: 0.5,
				rounds: 4,
			},
		});
		const { plan, contributors, state } = await federation(job);
		let current = state;
		let accuracy = 0;
		for (let round = 0; round < 4; round++) {
			const sum = await sumOf(plan, contributors, round, current);
			const released = applyRelease({ spec: job, plan, round, state: current, sum, survivors: 5 });
			current = released.state;
			accuracy = released.metrics.accuracy ?? accuracy;
		}
		expect(accuracy).toBeGreaterThan(0.75);
	});
});

describe("rounds with all noise at the site", () => {
	it("run private local steps and charge for each of them", async () => {
		const job = digitsJob({
			privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.5 },
			training: {
				algorithm: "fedavg",
				serverLearningRate: 1,
				localEpochs: 2,
				localBatch: 200,
				localLearningRate: 1,
				rounds: 3,
			},
		});
		const { plan, contributors, state } = await federation(job);
		expect(plan.localSteps).toBe(4);
		for (const { event } of totalCharges(job, plan))
			expect(epsilonBounds(event, 1e-6).upper).toBeLessThanOrEqual(8);
		const sum = await sumOf(plan, contributors, 0, state);
		const { state: next } = applyRelease({ spec: job, plan, round: 0, state, sum, survivors: 5 });
		expect(next.parameters).not.toEqual(state.parameters);
	});

	it("contribute zeros where the local steps diverge: missing the round would tell, uncharged", async () => {
		const job = digitsJob({
			privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.5 },
			training: { algorithm: "fedavg", localBatch: 200, rounds: 3 },
		});
		const { plan, state } = await federation(job);
		const trainer = (failure: string): Trainer => ({
			...trainers[0]!,
			clippedGradientSum: () => Promise.reject(new AlthingError(failure, "a stand-in for a trainer")),
			evaluate: async () => ({ lossSum: 0, correct: 0, examples: 0 }),
		});
		const [data] = digitsSites(5) as [SiteData];
		const site = (failure: string) => new Contributor({ spec: job, plan, data, trainer: trainer(failure) });
		const { vector } = await site("learning.not_finite").contribute(1, state);
		expect(vector.subarray(0, plan.layout.update).every((value) => value === 0)).toBe(true);
		await expect(site("learning.backend_unavailable").contribute(1, state)).rejects.toMatchObject({
			code: "learning.backend_unavailable",
		});
	});
});
