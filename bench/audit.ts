/**
 * Audits of privacy by experiment: correct and deliberately broken training through the real path,
 * membership inference on models trained with and without privacy, and gradient inversion.
 */
import { gather } from "../src/data/dataset.ts";
import type { Clipping } from "../src/learning/clipping.ts";
import { initialParameters } from "../src/learning/model.ts";
import { type Batch, createTrainer } from "../src/learning/trainer.ts";
import { gradientCanaries, mislabelledCanaries } from "../src/privacy/auditing/canaries.ts";
import { invertGradient, similarity } from "../src/privacy/auditing/gradientInversion.ts";
import {
	type AttackReport,
	attackLimits,
	type Interval,
} from "../src/privacy/auditing/membershipInference.ts";
import { inferMembership, type MembershipReport } from "../src/privacy/auditing/shadowModels.ts";
import { claimsOf } from "../src/privacy/auditing/tradeoffCurve.ts";
import { auditTraining, claimOf, type TrainingRun } from "../src/privacy/auditing/trainingAudit.ts";
import { tableGaussian } from "../src/privacy/samplers/tableGaussian.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../src/training/jobSpec.ts";
import { planTraining, type TrainingPlan } from "../src/training/plan.ts";
import type { SiteData } from "../src/training/siteData.ts";
import type { Bench, Table } from "./bench.ts";
import { dealToSites, trainTogether } from "./sitesInOneProcess.ts";

interface Options {
	readonly [name: string]: readonly number[] | string;
	readonly runs: readonly number[];
	readonly shadows: readonly number[];
	readonly epsilon: readonly number[];
}

const DATA = "digits-8x8";
const DELTA = 1e-6;
const SIGNIFICANCE = 0.01;
const WHO = { participants: 3, corruption: 0, minimumSurvivors: 3 };
const LOSS_BOUND = 20;

export const audit: Bench<Options> = {
	name: "audit",
	summary:
		"privacy audited by experiment: canaries in correct and broken training, membership inference, gradient inversion",
	options: {
		runs: { description: "trainings with canaries for each mechanism", default: [5] },
		shadows: { description: "shadow models of the membership attack, 4 at least", default: [8] },
		epsilon: { description: "claimed by the audited and attacked jobs", default: [8] },
	},
	libraries: ["onnxruntime-node"],
	notes: [
		`Canaries: a perceptron of 24 hidden units on ${DATA}, 3 sites whose noise adds up, Dirac gradients on every parameter (sums) or mislabelled records (model). A violation at significance ${SIGNIFICANCE} is a false alarm with at most that probability where the mechanism is correct; "violations" counts runs.`,
		"epsilon at least: proven without assumption from one run (one run), or if canaries do not touch each other and noise is Gaussian (Gaussian). Medians over the runs.",
		"Membership: members are training records, others are held back; intervals at 95 %. The limits are the most that any attacker can have against the claim.",
		"Inversion: cosine of the recovered record and the true one, 1 is exact; images of this set resemble each other, so another record, or the mean of 64, has a high cosine by itself.",
	],
	async run({ runs, shadows, epsilon }) {
		const [claimed = 8] = epsilon;
		return [
			{ title: "canaries", rows: await canaryRows(runs[0] ?? 5, claimed) },
			{ title: "membership inference", rows: await membershipRows(shadows[0] ?? 8, claimed) },
			{ title: "gradient inversion", rows: await inversionRows() },
		];
	},
};

type Row = Table["rows"][number];

function jobOf(privacy: object, model: object, training: object): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "audit",
			technique: "federated_learning",
			data: { set: DATA },
			model,
			training: { serverLearningRate: 1, ...training },
			privacy,
			robustness: { mode: "none" },
		}),
	);
}

/** What is wrong with a training; the claim stays that of the correct one. */
interface Breakage {
	readonly name: string;
	readonly plan?: (plan: TrainingPlan) => TrainingPlan;
}

const scaledNoise = (factor: number) => (plan: TrainingPlan) => ({
	...plan,
	noise: plan.noise.map((round) => ({ ...round, parameterSigma: factor * round.parameterSigma })),
});

const BREAKAGES: readonly Breakage[] = [
	{ name: "correct" },
	{ name: "half the noise", plan: scaledNoise(0.5) },
	{ name: "a tenth of the noise", plan: scaledNoise(0.1) },
];

async function canaryRows(runs: number, epsilon: number): Promise<Row[]> {
	const rows: Row[] = [];
	for (const [samplingRate, rounds] of [
		[1, 4],
		[0.5, 24],
		[0.1, 100],
	] as const) {
		for (const attacker of ["sums", "model"] as const) {
			for (const breakage of BREAKAGES) {
				const run = { samplingRate, rounds, epsilon, attacker, breakage, runs };
				rows.push(await canaryRow(run));
			}
		}
	}
	return rows;
}

async function canaryRow(settings: {
	samplingRate: number;
	rounds: number;
	epsilon: number;
	attacker: "sums" | "model";
	breakage: Breakage;
	runs: number;
}): Promise<Row> {
	const { samplingRate, rounds, epsilon, attacker, breakage, runs } = settings;
	const privacy = { mechanism: "distributed_gaussian", epsilon, delta: DELTA, samplingRate };
	const model = { kind: "multilayer_perceptron", hidden: [24] };
	const spec = jobOf(privacy, model, { rounds, expectedBatch: Math.ceil(2200 * samplingRate) + 20 });
	const plan = planTraining(spec, WHO);
	const [data] = dealToSites(spec, 3, 1);
	const trainer = await createTrainer({ model: plan.model });
	try {
		const audits = [];
		for (let i = 0; i < runs; i++) {
			const run: TrainingRun = {
				spec,
				who: WHO,
				plan: breakage.plan?.(plan) ?? plan,
				rounds,
				data: data!,
				trainer,
				attacker,
				canaries:
					attacker === "sums"
						? gradientCanaries(plan.parameterCount, 1800)
						: mislabelledCanaries(data!.train, 400),
			};
			audits.push(await auditTraining(run, claimOf(spec, plan, rounds), SIGNIFICANCE));
		}
		const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
		return {
			mechanism: breakage.name,
			attacker,
			samplingRate,
			rounds,
			canaries: audits[0]?.canaries ?? 0,
			claimed: audits[0]?.claimedEpsilon ?? Number.NaN,
			oneRun: median(audits.map(({ oneRun }) => oneRun.epsilonLower)),
			gaussian: median(audits.map(({ independent }) => independent.gaussianEpsilonLower)),
			violations: `${audits.filter(({ violated }) => violated).length} of ${runs}`,
		};
	} finally {
		await trainer.dispose();
	}
}

const RECORDS = 240;

/** Half of a few records is trained on for long: the attack's best case. */
async function membershipRows(shadows: number, epsilon: number): Promise<Row[]> {
	const model = { kind: "multilayer_perceptron", hidden: [64] };
	const without = jobOf({ mechanism: "none" }, model, {
		algorithm: "fedavg",
		rounds: 10,
		localEpochs: 20,
		localBatch: 16,
		localLearningRate: 0.2,
	});
	const privacy = { mechanism: "distributed_gaussian", epsilon, delta: DELTA, samplingRate: 0.25 };
	const withNoise = jobOf(privacy, model, { rounds: 120, expectedBatch: RECORDS / 8 + 10 });
	const rows: Row[] = [];
	for (const [name, spec] of [
		["no privacy", without],
		[`epsilon ${epsilon}`, withNoise],
	] as const) {
		const report = await attack(spec, shadows);
		for (const [attacker, found] of Object.entries(report)) rows.push(attackRow(name, attacker, found));
	}
	const event = claimOf(withNoise, planTraining(withNoise, ALONE), 120).event;
	const limits = attackLimits(claimsOf(event));
	rows.push({
		training: `epsilon ${epsilon}`,
		attacker: "any, at most",
		advantage: limits.advantage.toFixed(3),
		auc: limits.auc.toFixed(3),
		"TPR at FPR 0.01": limits.truePositiveRates[1]!.rate.toFixed(3),
		"TPR at FPR 0.1": limits.truePositiveRates[2]!.rate.toFixed(3),
	});
	return rows;
}

const ALONE = { participants: 1, corruption: 0, minimumSurvivors: 1 };

async function attack(spec: ResolvedJobSpec, shadows: number): Promise<MembershipReport> {
	const [{ train }] = dealToSites(spec, 1, 2) as [SiteData];
	const records = gather(
		train,
		Int32Array.from({ length: RECORDS }, (_, row) => row),
	);
	const plan = planTraining(spec, ALONE);
	const trainer = await createTrainer({ model: plan.model });
	try {
		return await inferMembership({
			records: RECORDS,
			shadows,
			trainOn: async (included) => {
				const rows = Int32Array.from(records.labels.keys()).filter((row) => included[row]);
				const site = { train: gather(records, rows), heldOut: gather(records, Int32Array.of(0)) };
				const { parameters } = await trainTogether(spec, ALONE, [site], 1);
				const losses: number[] = [];
				for (let row = 0; row < RECORDS; row++) {
					const one = gather(records, Int32Array.of(row));
					losses.push((await trainer.evaluate(parameters, one, LOSS_BOUND)).lossSum);
				}
				return losses;
			},
		});
	} finally {
		await trainer.dispose();
	}
}

function attackRow(
	training: string,
	attacker: string,
	{ advantage, auc, truePositiveRates }: AttackReport,
): Row {
	const shown = ({ estimate, lower, upper }: Interval) =>
		`${estimate.toFixed(3)} [${lower.toFixed(3)}, ${upper.toFixed(3)}]`;
	return {
		training,
		attacker,
		advantage: shown(advantage),
		auc: shown(auc),
		"TPR at FPR 0.01": shown(truePositiveRates[1]!.rate),
		"TPR at FPR 0.1": shown(truePositiveRates[2]!.rate),
	};
}

/** One record's update as it is, clipped only, summed with others, and noised. */
async function inversionRows(): Promise<Row[]> {
	const rows: Row[] = [];
	for (const model of [{ kind: "softmax_regression" }, { kind: "multilayer_perceptron", hidden: [64] }]) {
		const spec = jobOf({ mechanism: "none" }, model, { rounds: 1 });
		const plan = planTraining(spec, ALONE);
		const [{ train }] = dealToSites(spec, 1, 3) as [SiteData];
		const trainer = await createTrainer({ model: plan.model });
		try {
			const parameters = initialParameters(plan.model, new Uint8Array(32));
			const first = gather(train, Int32Array.of(0));
			const batch = gather(
				train,
				Int32Array.from({ length: 64 }, (_, row) => row),
			);
			const clipping: Clipping = { mode: "flat", norm: 1 };
			const seen = (update: Float64Array) => similarity(invertGradient(plan.model, update), first.features);
			const plain = async (records: Batch) => (await trainer.gradientSum(parameters, records)).sum;
			const clipped = async (records: Batch) =>
				(await trainer.clippedGradientSum(parameters, records, clipping)).sum;
			rows.push({
				model: model.kind,
				"another record": similarity(
					Float64Array.from(gather(train, Int32Array.of(1)).features),
					first.features,
				),
				"one record": seen(await plain(first)),
				clipped: seen(await clipped(first)),
				"clipped, noised": seen(noised(await clipped(first))),
				"sum of 64": seen(await clipped(batch)),
				"sum of 64, noised": seen(noised(await clipped(batch))),
			});
		} finally {
			await trainer.dispose();
		}
	}
	return rows;
}

/** Noise multiplier 1 at clipping norm 1, on a grid of 2^-10. */
function noised(sum: Float64Array): Float64Array {
	const noise = new Int32Array(sum.length);
	tableGaussian(1024).fill(noise);
	return sum.map((value, i) => value + noise[i]! / 1024);
}
