/**
 * Training audited through its real path: the correct mechanism passes, broken ones are caught.
 * "Caught" and "passes" are statistical: significance 1e-6 is the chance that the correct
 * mechanism fails. Half the noise shows a false-positive rate whose upper bound (at that
 * significance) is at least 1.5 times below what the claim allows; in 40 simulated runs of each
 * setting it was never missed.
 */
import { afterAll, describe, expect, it } from "vitest";
import type { Clipping } from "../../../../src/learning/clipping.ts";
import { type Batch, createTrainer, type Trainer } from "../../../../src/learning/trainer.ts";
import {
	type Canary,
	gradientCanaries,
	mislabelledCanaries,
} from "../../../../src/privacy/auditing/canaries.ts";
import {
	auditTraining,
	claimOf,
	type SumVectors,
	type TrainingAudit,
} from "../../../../src/privacy/auditing/trainingAudit.ts";
import { requireNoViolation } from "../../../../src/privacy/auditing/violation.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../../../src/training/jobSpec.ts";
import { type Participation, planTraining, type TrainingPlan } from "../../../../src/training/plan.ts";
import type { SiteData } from "../../../../src/training/siteData.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";
import { CohortSimulation } from "../../../protocols/aggregation/cohortSimulation.ts";

const SIGNIFICANCE = 1e-6;
const WHO = { participants: 3, corruption: 0, minimumSurvivors: 3 };

/** Two classes and so many features that each canary has one to itself. */
const FEATURES = 1000;
const RECORDS = 100;
const WITHOUT_SAMPLING = { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 1 };
const SAMPLED = { ...WITHOUT_SAMPLING, samplingRate: 0.5 };

function jobOf(privacy: object = WITHOUT_SAMPLING, rounds = 4): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "audited",
			technique: "federated_learning",
			data: {
				set: "synthetic",
				description: {
					name: "synthetic",
					label: { kind: "class", column: "y", classes: ["a", "b"] },
					features: { count: FEATURES, bounds: [-1, 1], scale: "symmetric" },
				},
			},
			model: { kind: "softmax_regression" },
			training: { rounds, serverLearningRate: 0.1, expectedBatch: 1500 },
			privacy,
		}),
	);
}

const random = seededRandomForTests(5);
const records = {
	features: Float32Array.from({ length: RECORDS * FEATURES }, () => 2 * random() - 1),
	labels: Float32Array.from({ length: RECORDS }, (_, row) => row % 2),
	rows: RECORDS,
	columns: Array.from({ length: FEATURES }, (_, i) => `x${i}`),
	labelNames: ["a", "b"],
};
const data: SiteData = { train: records, heldOut: records };
const trainers: Trainer[] = [];
afterAll(() => Promise.all(trainers.map((trainer) => trainer.dispose())));

/** One for each parameter. */
const everyParameter = (plan: TrainingPlan) => gradientCanaries(plan.parameterCount, plan.parameterCount);

/** Records far out along one feature each: their gradients touch one row of the kernel only. */
function spikes(): Canary[] {
	return Array.from({ length: FEATURES }, (_, i) => {
		const features = new Float32Array(FEATURES);
		features[i] = 20;
		return { kind: "example", features, label: i % 2 };
	});
}

async function audit(
	job: ResolvedJobSpec,
	broken: { plan?: (plan: TrainingPlan) => TrainingPlan; trainer?: (trainer: Trainer) => Trainer } = {},
	canariesOf: (plan: TrainingPlan) => Canary[] = everyParameter,
	{ who = WHO, ...how }: { who?: Participation; sum?: SumVectors; attacker?: "sums" | "model" } = {},
): Promise<TrainingAudit> {
	const plan = planTraining(job, who);
	const trainer = await createTrainer({ model: plan.model });
	trainers.push(trainer);
	return auditTraining(
		{
			spec: job,
			who,
			plan: broken.plan?.(plan) ?? plan,
			rounds: job.training.rounds,
			data,
			trainer: broken.trainer?.(trainer) ?? trainer,
			canaries: canariesOf(plan),
			...how,
		},
		claimOf(job, plan, job.training.rounds),
		SIGNIFICANCE,
	);
}

/** A trainer whose clipping is another than asked for. */
function clippingAt(trainer: Trainer, factor: number): Trainer {
	return Object.assign(Object.create(trainer) as Trainer, {
		clippedGradientSum: (parameters: Float32Array, batch: Batch, clipping: Clipping) =>
			trainer.clippedGradientSum(
				parameters,
				batch,
				clipping.mode === "perLayer" ? clipping : { ...clipping, norm: factor * clipping.norm },
			),
		evaluate: trainer.evaluate.bind(trainer),
	});
}

const halfTheNoise = (plan: TrainingPlan) => ({
	...plan,
	noise: plan.noise.map((round) => ({ ...round, parameterSigma: round.parameterSigma / 2 })),
});

describe("gradient canaries in one run", () => {
	it.each([
		["without sampling", WITHOUT_SAMPLING, 4],
		["under secret sampling", SAMPLED, 24],
	])(
		"bound the correct mechanism's epsilon below its claim, and not by zero, %s",
		async (_, privacy, rounds) => {
			const result = await audit(jobOf(privacy, rounds));
			expect(result.violated).toBe(false);
			expect(() => requireNoViolation(result)).not.toThrow();
			expect(result.independent.gaussianEpsilonLower).toBeGreaterThan(1);
			expect(result.independent.gaussianEpsilonLower).toBeLessThan(result.claimedEpsilon);
		},
	);

	it.each([
		["without sampling", WITHOUT_SAMPLING, 4],
		["under secret sampling", SAMPLED, 24],
	])("catch half the noise %s", async (_, privacy, rounds) => {
		const result = await audit(jobOf(privacy, rounds), { plan: halfTheNoise });
		expect(result.violated).toBe(true);
		expect(() => requireNoViolation(result)).toThrowError(/leaks more than it claims/);
	});
});

describe("rounds that nobody charged", () => {
	it("are caught when there are many: four times as many as claimed", async () => {
		const job = jobOf();
		const plan = planTraining(job, WHO);
		const trainer = await createTrainer({ model: plan.model });
		trainers.push(trainer);
		const canaries = everyParameter(plan);
		const run = { spec: job, who: WHO, plan, rounds: 16, data, trainer, canaries };
		expect((await auditTraining(run, claimOf(job, plan, 4), SIGNIFICANCE)).violated).toBe(true);
	});
});

describe("example canaries, clipped by the trainer itself", () => {
	it("pass the correct clipping", async () => {
		const result = await audit(jobOf(WITHOUT_SAMPLING, 2), {}, spikes);
		expect(result.violated).toBe(false);
		expect(result.independent.gaussianEpsilonLower).toBeGreaterThan(1);
	});

	it.each([
		["doubled", 2],
		["switched off", 1e6],
	])("catch clipping that is %s", async (_, factor) => {
		const result = await audit(
			jobOf(WITHOUT_SAMPLING, 2),
			{ trainer: (trainer) => clippingAt(trainer, factor) },
			spikes,
		);
		expect(result.violated).toBe(true);
	});
});

describe("mislabelled canaries, seen through the final model alone", () => {
	const mislabelled = () => mislabelledCanaries(records, RECORDS);

	it("prove less than the claim", async () => {
		const result = await audit(jobOf(), {}, mislabelled, { attacker: "model" });
		expect(result.violated).toBe(false);
		expect(result.canaries).toBe(RECORDS);
		expect(result.epsilonLower).toBeLessThan(result.claimedEpsilon);
	});

	it("cannot be gradients", async () => {
		await expect(audit(jobOf(), {}, everyParameter, { attacker: "model" })).rejects.toThrowError(/gradient/);
	});
});

describe("canaries under secure aggregation", () => {
	it("see the same: a cohort's machines mask, sum and open; one member adds no noise", async () => {
		const who = { participants: 5, corruption: 1, minimumSurvivors: 4 };
		let rounds = 0;
		const throughMachines: SumVectors = async (vectors, modulusBits) => {
			expect(vectors).toHaveLength(3);
			const cohort = new CohortSimulation({
				seed: ++rounds,
				members: 4,
				corruption: 1,
				minimumSurvivors: 4,
				length: vectors[0]!.length,
				modulusBits: modulusBits as number,
			});
			for (const [i, input] of cohort.inputs.entries()) input.set(vectors[i] ?? input.map(() => 0));
			cohort.runUntilEnded();
			return cohort.released(0)!.sum;
		};
		const result = await audit(jobOf(), {}, everyParameter, { who, sum: throughMachines });
		expect(rounds).toBe(4);
		expect(result.violated).toBe(false);
		// The masks are gone: canaries are seen as well as in the clear.
		expect(result.independent.gaussianEpsilonLower).toBeGreaterThan(1);
		const broken = await audit(jobOf(), { plan: halfTheNoise }, everyParameter, {
			who,
			sum: throughMachines,
		});
		expect(broken.violated).toBe(true);
	});
});
