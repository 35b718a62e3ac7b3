/** The privacy modes of a training job: each one's plan, charges and rounds. */
import { afterEach, describe, expect, it } from "vitest";
import { createTrainer } from "../../../src/learning/trainer.ts";
import { epsilonBounds } from "../../../src/privacy/accounting/accountant.ts";
import { composed, gaussian, selfComposed } from "../../../src/privacy/accounting/events.ts";
import { participationReach } from "../../../src/privacy/correlatedNoise/strategy.ts";
import { fromRing } from "../../../src/privacy/fixedPoint.ts";
import { effectiveNoiseMultiplier } from "../../../src/privacy/integerNoise.ts";
import { totalCharges, trainingCharges } from "../../../src/training/charges.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { Contributor } from "../../../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { noiseLevelOf, planTraining, type TrainingPlan } from "../../../src/training/plan.ts";
import { digitsJob, digitsSites, emptySite, TestFederation, WHO } from "./federation.ts";

const shared = { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6 };
const HONEST = WHO.minimumSurvivors - WHO.corruption;

const open: TestFederation[] = [];
afterEach(() => Promise.all(open.splice(0).map((federation) => federation.dispose())));

async function federationOf(job: ResolvedJobSpec, data = digitsSites(5)): Promise<TestFederation> {
	const federation = await TestFederation.create(job, data);
	open.push(federation);
	return federation;
}

function chargesOf(job: ResolvedJobSpec, plan: TrainingPlan, round: number, newCycles = 0) {
	return trainingCharges(job, plan, WHO, {
		round,
		level: noiseLevelOf(plan, round, job.training.rounds, {}),
		samplerDistance: 0,
		newCycles,
	});
}

/** What the fewest honest survivors' noise amounts to, as the accountant counts it. */
function multiplierOf(plan: TrainingPlan, sigmaLocal: number): number {
	return effectiveNoiseMultiplier({
		sigma: sigmaLocal * Math.sqrt(HONEST),
		sensitivity: plan.encoding.sensitivity,
	});
}

const jobs: Record<string, ResolvedJobSpec> = {
	"flat clipping": digitsJob(),
	"clipping per layer": digitsJob({ privacy: { ...shared, samplingRate: 0.5, clipping: "per_layer" } }),
	"automatic clipping": digitsJob({ privacy: { ...shared, samplingRate: 0.5, clipping: "automatic" } }),
	"adaptive clipping": digitsJob({ privacy: { ...shared, samplingRate: 0.5, clipping: "adaptive" } }),
	"a decreasing schedule": digitsJob({
		privacy: { ...shared, samplingRate: 0.5, noiseSchedule: "linear", noiseRatio: 0.5 },
	}),
	"an increasing schedule": digitsJob({
		privacy: { ...shared, samplingRate: 0.5, noiseSchedule: "geometric", noiseRatio: 3 },
		training: { rounds: 40 },
	}),
	"a tree of noise": digitsJob({
		privacy: { ...shared, correlation: "tree", minimumSeparation: 4 },
		training: { rounds: 12 },
	}),
	"banded noise": digitsJob({
		privacy: { ...shared, correlation: "banded", minimumSeparation: 4 },
		training: { rounds: 12 },
	}),
	"organizations as the unit": digitsJob({
		privacy: { ...shared, unit: "client" },
		training: { expectedBatch: undefined, evaluateEveryRounds: 3 },
	}),
	"private local steps": digitsJob({
		privacy: { ...shared, mechanism: "site_gaussian", samplingRate: 0.5, clipping: "automatic" },
		training: {
			algorithm: "fedavg",
			localEpochs: 2,
			localBatch: 200,
			localLearningRate: 1,
			serverLearningRate: 1,
			rounds: 3,
		},
	}),
};

describe.each(Object.entries(jobs))("%s", (_, job) => {
	const plan = planTraining(job, WHO);
	const totals = totalCharges(job, plan);

	it("is charged within the job's epsilon, and not far below it", () => {
		for (const { event } of totals) {
			const { upper } = epsilonBounds(event, job.privacy.mechanism === "none" ? 0 : 1e-6);
			expect(upper).toBeLessThanOrEqual(8);
			expect(upper).toBeGreaterThan(8 * 0.97);
		}
		expect(totals.map(({ partition }) => partition)).toEqual(["train", "heldOut"]);
	});

	it("charges the rounds, one by one, what it says they charge together", () => {
		const { rounds } = job.training;
		const separation = plan.correlation?.minimumSeparation ?? 1;
		const each = Array.from({ length: rounds }, (__, round) =>
			chargesOf(job, plan, round, round % separation === 0 ? 1 : 0),
		);
		for (const { partition, event } of totals) {
			const events = each.flatMap((charges) => charges.filter((charge) => charge.partition === partition));
			const apart = epsilonBounds(composed(...events.map((charge) => charge.event)), 1e-6).upper;
			expect(apart).toBeCloseTo(epsilonBounds(event, 1e-6).upper, 3);
		}
	});

	it("gives the fewest honest survivors the noise of every round's charge", () => {
		if (plan.localSteps > 0) return;
		for (let round = 0; round < job.training.rounds; round++) {
			const level = noiseLevelOf(plan, round, job.training.rounds, {});
			const { parameterSigma, noiseMultiplier } = plan.noise[level]!;
			expect(multiplierOf(plan, parameterSigma)).toBeGreaterThanOrEqual(noiseMultiplier * (1 - 1e-12));
		}
	});

	it("learns, and its state goes through bytes and back", async () => {
		const federation = await federationOf(job);
		for (let round = 0; round < job.training.rounds; round++) await federation.round();
		const decoded = decodeCommonState(encodeCommonState(federation.state), plan.parameterCount);
		expect(decoded).toEqual(federation.state);
		// With five organizations as the unit at epsilon 8 nothing but noise can be expected.
		if (job.privacy.mechanism === "distributed_gaussian" && job.privacy.unit === "client") return;
		// Guessing gets 0.1.
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(0.3);
	}, 30_000);

	it("releases noise for an empty batch, as much as for any other", async () => {
		const federation = await federationOf(job, [emptySite()]);
		const { vector } = await federation.contribution(0);
		const { parameterSigma } = plan.noise[0]!;
		const update = fromRing(vector, plan.encoding.modulusBits).subarray(0, plan.parameterCount);
		const squares = update.reduce((sum, value) => sum + value * value, 0);
		if (plan.localSteps > 0) {
			expect(squares).toBeGreaterThan(0);
			return;
		}
		// Chi-square with 650 degrees of freedom, six standard deviations: false alarm below 1e-7.
		expect(Math.abs(squares / parameterSigma ** 2 / update.length - 1)).toBeLessThan(6 * Math.sqrt(2 / 650));
	});
});

describe("adaptive clipping", () => {
	const job = jobs["adaptive clipping"]!;

	it("pays for update and count together with one z", () => {
		const plan = planTraining(job, WHO);
		// Andrew et al. 2021: z_update^-2 + (2 z_count)^-2 = z^-2 for noise of the same vector.
		const real = plan.noise[0]!.parameterSigma * Math.sqrt(HONEST);
		const update = real / plan.encoding.scale;
		const count = real / (plan.withinUnit * plan.encoding.scale);
		expect(update ** -2 + (2 * count) ** -2).toBeLessThanOrEqual(plan.noiseMultiplier ** -2);
		expect(count).toBeLessThan(job.training.expectedBatch! / 15);
	});

	it("brings the norm to the wanted quantile, wherever it starts", async () => {
		for (const clippingNorm of [0.05, 40]) {
			const federation = await federationOf(
				digitsJob({
					privacy: { ...shared, samplingRate: 0.5, clipping: "adaptive", clippingNorm, clippingRate: 1 },
					training: { rounds: 20, serverLearningRate: 0.01 },
				}),
			);
			for (let round = 0; round < 20; round++) await federation.round();
			const { clippingNorm: reached } = federation.state;
			expect(reached).toBeGreaterThan(0.5);
			expect(reached).toBeLessThan(10);
		}
	}, 30_000);
});

describe("correlated noise", () => {
	it("is sized for one participation a cycle: the column's norm, and the rounding of all it reaches", () => {
		for (const name of ["a tree of noise", "banded noise"]) {
			const { encoding, correlation, parameterCount } = planTraining(jobs[name]!, WHO);
			const { columnNorm, releases } = participationReach(correlation!);
			expect(encoding.sensitivity).toBeGreaterThanOrEqual(
				encoding.scale * columnNorm + Math.sqrt(parameterCount * releases),
			);
			expect(totalCharges(jobs[name]!, planTraining(jobs[name]!, WHO))[0]!.event).toMatchObject({
				kind: "composed",
			});
		}
	});

	it("charges a participation when it is first shown, and for good", () => {
		const job = jobs["banded noise"]!;
		const plan = planTraining(job, WHO);
		const { noiseMultiplier } = plan;
		expect(chargesOf(job, plan, 4, 1)[0]).toMatchObject({
			standing: true,
			event: selfComposed(gaussian(noiseMultiplier), 1),
		});
		expect(epsilonBounds(chargesOf(job, plan, 5, 0)[0]!.event, 1e-6).upper).toBe(0);
		expect(chargesOf(job, plan, 5, 0)[1]).not.toHaveProperty("standing");
	});

	it("names a cycle once in its rounds, and two where they overlap", async () => {
		const federation = await federationOf(jobs["banded noise"]!);
		const names: (readonly string[])[] = [];
		for (let round = 0; round < 6; round++) {
			const { participations } = await federation.contribution(0);
			names.push(participations);
			await federation.round([1, 2, 3, 4]);
		}
		expect(names.map((list) => list.length)).toEqual([1, 1, 1, 1, 2, 2]);
		expect(new Set(names.flat()).size).toBe(2);
	}, 30_000);

	it("goes on through absences and a lost history", async () => {
		const federation = await federationOf(
			digitsJob({
				privacy: { ...shared, correlation: "tree", minimumSeparation: 4 },
				training: { rounds: 16, serverLearningRate: 2 },
			}),
		);
		for (let round = 0; round < 16; round++)
			await federation.round(round % 3 === 0 ? [0, 1, 2, 3] : [0, 1, 2, 3, 4]);
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(0.5);
	}, 30_000);
});

describe("organizations as the unit", () => {
	it("charge update and evaluation together, to both parts of the data", () => {
		const job = jobs["organizations as the unit"]!;
		const plan = planTraining(job, WHO);
		const { noiseMultiplier, evaluationMultiplier } = plan.noise[0]!;
		const both = composed(gaussian(noiseMultiplier), gaussian(evaluationMultiplier));
		expect(chargesOf(job, plan, 0).map(({ event }) => event)).toEqual([both, both]);
		expect(chargesOf(job, plan, 1).map(({ event }) => event)).toEqual([
			gaussian(noiseMultiplier),
			gaussian(noiseMultiplier),
		]);
	});

	it("bound what one organization adds to update and evaluation, whatever its records", async () => {
		const job = jobs["organizations as the unit"]!;
		const quiet = planTraining(job, WHO);
		// The same plan without noise, to see the encoded vector itself.
		const plan = {
			...quiet,
			noise: quiet.noise.map((level) => ({ ...level, parameterSigma: 0, metricSigma: 0 })),
		};
		const trainer = await createTrainer({ model: plan.model });
		const state = initialState(job, plan, "job", new Uint8Array(32));
		for (const data of [...digitsSites(2), emptySite()]) {
			const { vector } = await new Contributor({ spec: job, plan, data, trainer }).contribute(0, state);
			const values = fromRing(vector, plan.encoding.modulusBits);
			const norm = (part: Int32Array) => Math.sqrt(part.reduce((sum, value) => sum + value ** 2, 0));
			expect(norm(values.subarray(0, plan.layout.update))).toBeLessThanOrEqual(plan.encoding.sensitivity);
			expect(norm(values.subarray(plan.layout.metrics, plan.layout.weight))).toBeLessThanOrEqual(
				(plan.encoding.sensitivity * plan.noiseMultiplier) / plan.noise[0]!.evaluationMultiplier,
			);
		}
		await trainer.dispose();
	});
});
