/** What one record moves the encoded vectors by, measured without noise: never more than the plan's noise is sized for. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { gather } from "../../../src/data/dataset.ts";
import { createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import type { CorrelationHistory } from "../../../src/privacy/correlatedNoise/encoder.ts";
import { fromRing } from "../../../src/privacy/fixedPoint.ts";
import { initialState } from "../../../src/training/commonState.ts";
import { Contributor } from "../../../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { planTraining, type TrainingPlan } from "../../../src/training/plan.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { digitsJob, digitsSites, WHO } from "./federation.ts";

const shared = { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6 };
const everyone = { ...shared, samplingRate: 1 };
const model = { kind: "multilayer_perceptron", hidden: [12] };
const jobOf = (privacy: object): ResolvedJobSpec =>
	digitsJob({ model, privacy, training: { rounds: 12, expectedBatch: 1500 } });

let trainer: Trainer;
beforeAll(async () => {
	trainer = await createTrainer({ model: planTraining(jobOf(everyone), WHO).model });
});
afterAll(() => trainer.dispose());

/** The updates of all rounds of a site over `data`, from one state: any will do, for every record's gradient is bounded anew. */
async function updates(job: ResolvedJobSpec, plan: TrainingPlan, data: SiteData): Promise<Int32Array[]> {
	const quiet = {
		...plan,
		noise: plan.noise.map((level) => ({ ...level, parameterSigma: 0, metricSigma: 0 })),
	};
	const key = new Uint8Array(32).fill(3);
	const contributor = new Contributor({ spec: job, plan: quiet, data, trainer, participationKey: key });
	const state = initialState(job, plan, "job", new Uint8Array(32).fill(1));
	const vectors: Int32Array[] = [];
	let history: CorrelationHistory | undefined;
	for (let round = 0; round < (plan.correlation === undefined ? 1 : job.training.rounds); round++) {
		const contribution = await contributor.contribute(round, state, { history });
		({ history } = contribution);
		vectors.push(fromRing(contribution.vector, plan.encoding.modulusBits).subarray(0, plan.layout.update));
	}
	return vectors;
}

function squaredDistance(a: readonly Int32Array[], b: readonly Int32Array[]): number {
	let squares = 0;
	for (const [round, vector] of a.entries())
		for (let i = 0; i < vector.length; i++) squares += (vector[i]! - b[round]![i]!) ** 2;
	return squares;
}

/** All of a site's training records, and without the one at `row`. */
function neighbours(row: number): [SiteData, SiteData] {
	const [site] = digitsSites(8) as [SiteData];
	const train = { ...site.train, features: site.train.features.slice() };
	// About as far out as the description allows, and in another place of the cycle for each row.
	train.features.fill(1 - row * 1e-3, row * train.columns.length, (row + 1) * train.columns.length);
	const rest = Int32Array.from({ length: train.rows }, (_, i) => i).filter((i) => i !== row);
	return [
		{ ...site, train },
		{ ...site, train: gather(train, rest) },
	];
}

describe.each([
	["flat clipping", { ...everyone, clippingNorm: 0.5 }, 1],
	["clipping per layer", { ...everyone, clippingNorm: 0.5, clipping: "per_layer" }, 1],
	["automatic clipping", { ...everyone, clippingNorm: 3, clipping: "automatic" }, 1],
	["adaptive clipping", { ...everyone, clippingNorm: 0.5, clipping: "adaptive" }, 1],
	["a tree of noise", { ...shared, clippingNorm: 0.5, correlation: "tree", minimumSeparation: 4 }, 3],
	["banded noise", { ...shared, clippingNorm: 0.5, correlation: "banded", minimumSeparation: 4 }, 3],
	[
		"banded noise with adaptive clipping",
		{ ...shared, clipping: "adaptive", clippingNorm: 0.5, correlation: "banded", minimumSeparation: 4 },
		3,
	],
] as const)("one record under %s", (_, privacy, participations) => {
	it("moves the vectors by no more than the sensitivity, and by much of it", async () => {
		const job = jobOf(privacy);
		const plan = planTraining(job, WHO);
		const bound = participations * plan.encoding.sensitivity ** 2;
		let largest = 0;
		for (const row of [1, 3, 5]) {
			const [withRecord, without] = neighbours(row);
			const moved = squaredDistance(await updates(job, plan, withRecord), await updates(job, plan, without));
			expect(moved).toBeLessThanOrEqual(bound);
			largest = Math.max(largest, moved);
		}
		// Not by being void: most of the bound is reached, so half of it would be refuted.
		expect(largest).toBeGreaterThan(0.5 * bound);
	}, 20_000);
});
