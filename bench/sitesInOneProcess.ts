/**
 * A federation's training without its network: the sites' contributions (sampled, clipped,
 * encoded, noised, exactly as nodes compute them) are summed in the clear, which gives the same
 * numbers as summing them under masks, and released by the nodes' own arithmetic.
 */
import { loadCatalogDataset } from "../src/data/catalog.ts";
import { type Dataset, gather } from "../src/data/dataset.ts";
import { prepare } from "../src/data/description.ts";
import { splitHeldOut } from "../src/data/partition.ts";
import { seededRandomForTests } from "../src/data/testnetPartition.ts";
import { planJob } from "../src/jobs/jobPlan.ts";
import { createTrainer, type Trainer } from "../src/learning/trainer.ts";
import { type CommonState, decodeCommonState } from "../src/training/commonState.ts";
import { Contributor, type Memory } from "../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../src/training/jobSpec.ts";
import type { Participation } from "../src/training/plan.ts";
import { applyRelease } from "../src/training/release.ts";
import { HELD_OUT_FRACTION, type SiteData } from "../src/training/siteData.ts";

/** Deals a shipped data set to sites at random; `seed` also decides which records each holds out. */
export function dealToSites(spec: ResolvedJobSpec, sites: number, seed: number): SiteData[] {
	const all = prepare(loadCatalogDataset(spec.data.set, "data"), spec.data.description);
	const random = seededRandomForTests(seed);
	const order = Int32Array.from({ length: all.rows }, (_, row) => row);
	for (let i = order.length - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[order[i], order[j]] = [order[j]!, order[i]!];
	}
	return Array.from({ length: sites }, (_, site) =>
		splitHeldOut(
			gather(
				all,
				order.filter((__, place) => place % sites === site),
			),
			new Uint8Array(32).fill(16 * seed + site),
			HELD_OUT_FRACTION,
		),
	);
}

export interface Trained {
	/** On all sites' held-out records, without noise: in [0, 1]. */
	readonly accuracy: number;
	readonly noiseMultiplier: number;
	readonly trainingRecords: number;
	readonly parameters: Float32Array;
}

/** Runs every round of a job over the sites. */
export async function trainTogether(
	spec: ResolvedJobSpec,
	who: Participation,
	sites: readonly SiteData[],
	seed: number,
): Promise<Trained> {
	const plan = planJob(spec, who);
	if (plan.work.kind !== "training") throw new TypeError("the job trains no model");
	const training = plan.work.plan;
	const { model, parameterCount, noiseMultiplier } = training;
	const trainer = await createTrainer({ model });
	try {
		const members = sites.map((data, site) => ({
			contributor: new Contributor({
				spec,
				plan: training,
				data,
				trainer,
				participationKey: new Uint8Array(32).fill(16 * seed + site),
			}),
			memory: {} as Memory,
		}));
		const mask = plan.modulusBits === 32 ? 0xffffffff : 2 ** plan.modulusBits - 1;
		let state: CommonState = decodeCommonState(
			plan.initialState("bench", new Uint8Array(32).fill(seed)),
			parameterCount,
		);
		for (let round = 0; round < plan.rounds; round++) {
			const sum = new Uint32Array(plan.length);
			for (const member of members) {
				const { vector, history, unsent, own } = await member.contributor.contribute(
					round,
					state,
					member.memory,
				);
				member.memory = { history, unsent, own };
				for (let i = 0; i < sum.length; i++) sum[i] = ((sum[i]! + vector[i]!) & mask) >>> 0;
			}
			state = applyRelease({
				spec,
				plan: training,
				round,
				state,
				sum,
				survivors: sites.length,
			}).state;
		}
		return {
			accuracy: await accuracyOf(trainer, state.parameters, sites),
			noiseMultiplier,
			trainingRecords: sites.reduce((sum, { train }) => sum + train.rows, 0),
			parameters: state.parameters,
		};
	} finally {
		await trainer.dispose();
	}
}

async function accuracyOf(
	trainer: Trainer,
	parameters: Float32Array,
	sites: readonly SiteData[],
): Promise<number> {
	let correct = 0;
	let examples = 0;
	for (const { heldOut } of sites) {
		const found = await trainer.evaluate(parameters, heldOut as Dataset, 8);
		correct += found.correct;
		examples += found.examples;
	}
	return correct / examples;
}
