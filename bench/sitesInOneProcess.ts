/**
 * A federation's training without its network: the sites' contributions (sampled, clipped,
 * encoded, noised, exactly as nodes compute them) are summed in the clear, which gives the same
 * numbers as summing them under masks, and released by the nodes' own arithmetic.
 */
import { loadCatalogDataset } from "../src/data/catalog.ts";
import { type Dataset, gather } from "../src/data/dataset.ts";
import { prepare } from "../src/data/description.ts";
import { splitHeldOut } from "../src/data/partition.ts";
import { dirichletPartitionForTestnets, seededRandomForTests } from "../src/data/testnetPartition.ts";
import { planJob } from "../src/jobs/jobPlan.ts";
import { createTrainer, type Trainer } from "../src/learning/trainer.ts";
import { type CommonState, decodeCommonState } from "../src/training/commonState.ts";
import { Contributor, type Memory } from "../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../src/training/jobSpec.ts";
import { commonParameterCount, type Participation } from "../src/training/plan.ts";
import { applyRelease } from "../src/training/release.ts";
import { HELD_OUT_FRACTION, type SiteData } from "../src/training/siteData.ts";
import { NEW_SITE } from "../src/training/siteState.ts";
import { commonModels } from "../src/training/siteSteps.ts";

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

/**
 * Deals a shipped data set unevenly: each class to the sites in proportions drawn from a symmetric
 * Dirichlet(alpha), so that a small alpha leaves most sites with few classes.
 * @param records of the set that are dealt, at most
 */
export function dealUnevenly(
	spec: ResolvedJobSpec,
	{ sites, alpha, records, seed }: { sites: number; alpha: number; records: number; seed: number },
): SiteData[] {
	const all = prepare(loadCatalogDataset(spec.data.set, "data"), spec.data.description);
	const kept = Math.min(records, all.rows);
	// Every so-many-th record, so that no order of the file decides which classes there are.
	const chosen = gather(
		all,
		Int32Array.from({ length: kept }, (_, i) => Math.floor((i * all.rows) / kept)),
	);
	const parts = dirichletPartitionForTestnets({
		labels: chosen.labels,
		sites,
		concentration: alpha,
		leastRows: LEAST_ROWS,
		seed,
	});
	return parts.map((rows, site) =>
		splitHeldOut(gather(chosen, rows), new Uint8Array(32).fill(16 * seed + site), HELD_OUT_FRACTION),
	);
}

/** A site with fewer would have next to no held-out records. */
const LEAST_ROWS = 40;

export interface Trained {
	/** On all sites' held-out records, without noise: in [0, 1]. */
	readonly accuracy: number;
	readonly noiseMultiplier: number;
	readonly trainingRecords: number;
	readonly parameters: Float32Array;
	/** Each site's own model on its own held-out records; the common one where the job asks for no other. */
	readonly ownAccuracies: readonly number[];
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
	const { model, noiseMultiplier } = training;
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
			commonParameterCount(training),
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
		const [common] = commonModels(training, state) as [Float32Array];
		const ownAccuracies: number[] = [];
		for (const [site, member] of members.entries()) {
			const { evaluation } = await member.contributor.finish(
				plan.rounds,
				state,
				member.memory.own ?? NEW_SITE,
			);
			ownAccuracies.push(
				evaluation?.personal.accuracy ?? (await accuracyOf(trainer, common, [sites[site]!])),
			);
		}
		return {
			accuracy: await accuracyOf(trainer, common, sites),
			noiseMultiplier,
			trainingRecords: sites.reduce((sum, { train }) => sum + train.rows, 0),
			parameters: common,
			ownAccuracies,
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
