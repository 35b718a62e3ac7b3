/**
 * What uneven data costs each way of training, and what models of the sites' own gain: shipped data
 * sets dealt to sites by Dirichlet(alpha), every optimizer and every personalization, mean and worst site.
 */
import { createWorkerPool } from "../node/workers/workerPool.ts";
import type { Bench, Table } from "./bench.ts";
import {
	type Experiment,
	METHODS,
	type Method,
	RECORD_METHODS,
	SITE_METHODS,
} from "./heterogeneityMethods.ts";
import type { Trial, TrialResult } from "./heterogeneityTrials.ts";

const SETS = ["digits-8x8", "letter-recognition", "mnist10k"];
const MODES = {
	none: { methods: METHODS, title: "without differential privacy" },
	record: { methods: RECORD_METHODS, title: "noise in shares for each record" },
	site: { methods: SITE_METHODS, title: "each site's own noise in its local steps" },
} as const satisfies Record<
	Experiment["privacy"],
	{ methods: Readonly<Record<string, Method>>; title: string }
>;

function spreadOf(values: readonly number[]): string {
	const average = values.reduce((sum, one) => sum + one, 0) / values.length;
	const spread = Math.sqrt(values.reduce((sum, one) => sum + (one - average) ** 2, 0) / values.length);
	return `${(100 * average).toFixed(1)} (${(100 * spread).toFixed(1)})`;
}

export const heterogeneity: Bench<{
	data: string;
	privacy: string;
	methods: string;
	alpha: readonly number[];
	sites: readonly number[];
	records: readonly number[];
	rounds: readonly number[];
	epsilon: readonly number[];
	seeds: readonly number[];
	threads: readonly number[];
}> = {
	name: "heterogeneity",
	summary: "accuracy of every optimizer and personalization over unevenly dealt data, mean and worst site",
	options: {
		data: { description: "a shipped set", default: "digits-8x8", choices: SETS },
		privacy: {
			description: "none; noise in shares for records; or each site's own noise",
			default: "none",
			choices: Object.keys(MODES),
		},
		methods: { description: "names with commas between, or all", default: "all" },
		alpha: { description: "concentrations of the Dirichlet distribution", default: [0.1, 0.3, 1] },
		sites: { description: "how many", default: [10] },
		records: { description: "of the set, at most", default: [4000] },
		rounds: { description: "of each training", default: [30] },
		epsilon: { description: "with privacy, at delta 1e-6", default: [8] },
		seeds: { description: "deals of the records", default: [3] },
		threads: { description: "worker threads", default: [2] },
	},
	libraries: ["onnxruntime-node"],
	notes: [
		"Every site evaluates on its own held-out fifth, which has its own mix of labels: the personal model where the method has one, else the common one. Mean over the sites, and the worst of them; both averaged over the deals (standard deviation in brackets).",
		"Model: dense 32, layer normalization, tanh, dense. All methods take the same local epochs; pFedMe takes five gradients for each step.",
		"Step sizes were chosen by trying a few on the digits, alpha 0.3, without privacy; the choice is not charged and flatters all methods a little.",
		"Contributions are summed in the clear here, which gives the same integers as under masks.",
	],
	async run({ data, privacy, methods, alpha, sites, records, rounds, epsilon, seeds, threads }) {
		const mode = MODES[privacy as keyof typeof MODES];
		const known: Readonly<Record<string, Method>> = mode.methods;
		const names = methods === "all" ? Object.keys(known) : methods.split(",");
		const unknown = names.find((name) => !Object.hasOwn(known, name));
		if (unknown !== undefined)
			throw new RangeError(`no method "${unknown}"; there are ${Object.keys(known).join(", ")}`);
		const pool = createWorkerPool<Trial, TrialResult>({
			script: new URL("./heterogeneityTrials.ts", import.meta.url),
			threads: threads[0]!,
		});
		const experiment = {
			set: data,
			rounds: rounds[0]!,
			privacy: privacy as Experiment["privacy"],
			epsilon: epsilon[0]!,
			delta: 1e-6,
		};
		try {
			const rows = await Promise.all(
				names.map(async (name) => {
					const row: Record<string, string> = { method: name };
					for (const each of alpha) {
						const results = await Promise.all(
							Array.from({ length: seeds[0]! }, (_, seed) =>
								pool.run(
									{
										method: known[name]!,
										experiment,
										sites: sites[0]!,
										records: records[0]!,
										alpha: each,
										seed: seed + 1,
									},
									{ timeoutMs: 3_600_000 },
								),
							),
						);
						row[`alpha ${each}: mean %`] = spreadOf(results.map(({ mean }) => mean));
						row[`alpha ${each}: worst %`] = spreadOf(results.map(({ worst }) => worst));
					}
					return row;
				}),
			);
			const title = `${data}, ${sites[0]} sites, ${rounds[0]} rounds, ${mode.title}${privacy === "none" ? "" : `, epsilon ${epsilon[0]}`}`;
			return [{ title, rows } satisfies Table];
		} finally {
			await pool.stop();
		}
	},
};
