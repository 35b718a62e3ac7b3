/**
 * Gossip averaging beside FedAvg on the same sites: shipped digits dealt unevenly by label, every node
 * training and averaging exactly as the daemons do, without the network between them.
 */
import { loadCatalogDataset } from "../src/data/catalog.ts";
import { gather } from "../src/data/dataset.ts";
import { prepare } from "../src/data/description.ts";
import { splitHeldOut } from "../src/data/partition.ts";
import { dirichletPartitionForTestnets, seededRandomForTests } from "../src/data/testnetPartition.ts";
import { exchange } from "../src/gossip/exchange.ts";
import { drawTopology, neighboursOf } from "../src/gossip/topology.ts";
import { planJob } from "../src/jobs/jobPlan.ts";
import { float32ToBytes } from "../src/learning/littleEndian.ts";
import { createTrainer } from "../src/learning/trainer.ts";
import { decodeCommonState } from "../src/training/commonState.ts";
import { Contributor } from "../src/training/contribution.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../src/training/jobSpec.ts";
import { HELD_OUT_FRACTION, type SiteData } from "../src/training/siteData.ts";
import { type Bench, median } from "./bench.ts";
import { trainTogether } from "./sitesInOneProcess.ts";

interface Options {
	readonly [name: string]: readonly number[] | string;
	readonly sites: readonly number[];
	readonly degree: readonly number[];
	readonly alpha: readonly number[];
	readonly rounds: readonly number[];
	readonly epsilon: readonly number[];
	readonly seeds: readonly number[];
}

const DATA = "digits-8x8";

export const gossip: Bench<Options> = {
	name: "gossip",
	summary:
		"averaging with neighbours beside FedAvg: accuracy of every node's own model, and how far they are apart",
	options: {
		sites: { description: "organizations", default: [16] },
		degree: { description: "neighbours of each, even", default: [2, 4, 8] },
		alpha: { description: "Dirichlet concentration of the labels: smaller is more uneven", default: [0.3] },
		rounds: { description: "rounds", default: [40] },
		epsilon: {
			description: "of each site's own noise (site_gaussian); 0: without differential privacy",
			default: [0],
		},
		seeds: { description: "of the deal of the records", default: [1, 2, 3] },
	},
	libraries: ["onnxruntime-node"],
	notes: [
		"Softmax regression on the 8x8 digits, one local epoch a round, step 0.5. Accuracy is on all sites' held-out records together; own models are each node's after the last exchange.",
		"The distance is the largest between two nodes' parameters, over the largest norm. Alone is the mean accuracy of nodes that train as long without exchanging anything.",
		"Medians over the seeds.",
	],
	async run({ sites, degree, alpha, rounds, epsilon, seeds }) {
		const rows: Record<string, number>[] = [];
		for (const count of sites) {
			for (const concentration of alpha) {
				for (const privacy of epsilon) {
					for (const total of rounds) {
						const deals = seeds.map((seed) => dealUnevenly(count, concentration, seed));
						const fedavg: number[] = [];
						const alone: number[] = [];
						for (const [index, deal] of deals.entries()) {
							const who = { participants: count, corruption: 0, minimumSurvivors: count };
							const spec = digitsSpec({ rounds: total, epsilon: privacy });
							fedavg.push((await trainTogether(spec, who, deal, seeds[index]!)).accuracy);
							alone.push(
								(await trainByGossip(gossipSpec(total, privacy, 2), deal, seeds[index]!, false)).mean,
							);
						}
						for (const neighbours of degree) {
							const found: Gossiped[] = [];
							for (const [index, deal] of deals.entries())
								found.push(await trainByGossip(gossipSpec(total, privacy, neighbours), deal, seeds[index]!));
							const of = (pick: (one: Gossiped) => number) => median(found.map(pick));
							rows.push({
								sites: count,
								alpha: concentration,
								epsilon: privacy,
								rounds: total,
								degree: neighbours,
								spectralGap: of(({ spectralGap }) => spectralGap),
								fedavg: median(fedavg),
								ownModelsMean: of(({ mean }) => mean),
								ownModelsWorst: of(({ worst }) => worst),
								alone: median(alone),
								distance: of(({ distance }) => distance),
								modelsSentPerRound: Math.min(neighbours, count - 1),
							});
						}
					}
				}
			}
		}
		return [{ title: "gossip beside FedAvg", rows }];
	},
};

/** The digits dealt by a Dirichlet draw of labels, each site's a fifth held out. */
export function dealUnevenly(sites: number, concentration: number, seed: number): SiteData[] {
	const { description } = digitsSpec({ rounds: 1, epsilon: 0 }).data;
	const all = prepare(loadCatalogDataset(DATA, "data"), description);
	const leastRows = Math.min(20, Math.floor(all.rows / sites / 2));
	return dirichletPartitionForTestnets({ labels: all.labels, sites, concentration, leastRows, seed }).map(
		(rows, site) =>
			splitHeldOut(gather(all, rows), new Uint8Array(32).fill(16 * seed + site), HELD_OUT_FRACTION),
	);
}

export function digitsSpec(
	{ rounds, epsilon }: { readonly rounds: number; readonly epsilon: number },
	training: object = {},
): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "digits",
			technique: "federated_learning",
			data: { set: DATA },
			model: { kind: "softmax_regression" },
			training: {
				algorithm: "fedavg",
				rounds,
				localLearningRate: 0.5,
				localBatch: 32,
				evaluateEveryRounds: rounds,
				...training,
			},
			privacy:
				epsilon === 0
					? { mechanism: "none" }
					: { mechanism: "site_gaussian", epsilon, delta: 1e-5, samplingRate: 0.25, clippingNorm: 1 },
			// What gossip is compared with; it bounds every step by itself.
			...("schedule" in training ? {} : { robustness: { mode: "none" } }),
		}),
	);
}

export function gossipSpec(rounds: number, epsilon: number, degree: number): ResolvedJobSpec {
	return digitsSpec({ rounds, epsilon }, { schedule: "gossip", gossip: { degree } });
}

export interface Gossiped {
	/** Accuracy of the nodes' own models on all sites' held-out records. */
	readonly mean: number;
	readonly worst: number;
	readonly distance: number;
	readonly spectralGap: number;
}

/** What a node sends in place of its model; the honest ones send it as it is. */
export type Sender = (site: number, round: number, model: Float32Array) => Float32Array;

/**
 * Runs every round of a gossip job over the sites.
 * @param exchanging false: everybody trains alone
 * @param send what each site sends; sites whose own model is not asked for are left out of the figures
 */
export async function trainByGossip(
	spec: ResolvedJobSpec,
	sites: readonly SiteData[],
	seed: number,
	exchanging = true,
	send: Sender = (_, __, model) => model,
	judged: readonly number[] = sites.map((_, site) => site),
): Promise<Gossiped> {
	const who = { participants: sites.length, corruption: 0, minimumSurvivors: sites.length };
	const job = planJob(spec, who);
	if (job.work.kind !== "training") throw new TypeError("the job trains no model");
	const { plan } = job.work;
	const peers = sites.map((_, site) => `site-${String(site).padStart(4, "0")}`);
	const beacon = new Uint8Array(32).fill(seed);
	const topology = drawTopology(peers, spec.training.gossip?.degree ?? 4, { jobId: "bench", beacon });
	const trainer = await createTrainer({ model: plan.model });
	try {
		const next = seededRandomForTests(seed);
		const random = (length: number) => Uint8Array.from({ length }, () => Math.floor(256 * next()));
		const contributors = sites.map((data) => new Contributor({ spec, plan, data, trainer, random }));
		let states = sites.map(() => job.initialState("bench", beacon));
		for (let round = 0; round < job.rounds; round++) {
			const models: Float32Array[] = [];
			for (const [site, contributor] of contributors.entries()) {
				const state = decodeCommonState(states[site]!, plan.parameterCount);
				models.push((await contributor.ownModel(round, state)).parameters);
			}
			states = states.map((state, site) => {
				const neighbours = exchanging ? neighboursOf(topology, peers[site]!) : [];
				const received = neighbours.map(({ peer, weight }) => {
					const from = peers.indexOf(peer);
					return { peer, weight, model: float32ToBytes(send(from, round, models[from]!)) };
				});
				return exchange(spec, plan, { state, model: float32ToBytes(models[site]!), received }).state;
			});
		}
		const own = states.map((state) => decodeCommonState(state, plan.parameterCount).parameters);
		const accuracies: number[] = [];
		for (const site of judged) {
			let [correct, examples] = [0, 0];
			for (const { heldOut } of sites) {
				const found = await trainer.evaluate(own[site]!, heldOut, 8);
				correct += found.correct;
				examples += found.examples;
			}
			accuracies.push(correct / examples);
		}
		return {
			mean: accuracies.reduce((sum, one) => sum + one, 0) / accuracies.length,
			worst: Math.min(...accuracies),
			distance: relativeDistance(judged.map((site) => own[site]!)),
			spectralGap: topology.spectralGap,
		};
	} finally {
		await trainer.dispose();
	}
}

function relativeDistance(vectors: readonly Float32Array[]): number {
	const length = (one: Float32Array, other?: Float32Array) => {
		let squares = 0;
		for (let i = 0; i < one.length; i++) squares += (one[i]! - (other?.[i] ?? 0)) ** 2;
		return Math.sqrt(squares);
	};
	const farthest = Math.max(...vectors.flatMap((one) => vectors.map((other) => length(one, other))));
	return farthest / Math.max(...vectors.map((one) => length(one)));
}
