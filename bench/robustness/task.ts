/** The learning problems of the robustness experiments: records dealt unevenly to sites, and a test part. */
import { fileURLToPath } from "node:url";
import { catalog, loadCatalogDataset } from "../../src/data/catalog.ts";
import { type Dataset, gather } from "../../src/data/dataset.ts";
import { prepare } from "../../src/data/description.ts";
import { dirichletPartitionForTestnets, seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { type Model, multilayerPerceptron } from "../../src/learning/model.ts";
import { SparsePerceptron } from "./sparsePerceptron.ts";

export interface Task {
	readonly set: "digits-8x8" | "mnist10k";
	readonly sites: number;
	readonly attackers: number;
	/**
	 * Dirichlet(concentration) by label over all sites; or the records sorted by label and cut into as many
	 * runs as there are honest sites, and for the attackers copies of records of every label.
	 */
	readonly split: number | "sorted";
	/** Images enter by the means of their 2 x 2 squares: a layer that learns nothing, worked out once. */
	readonly pooled: boolean;
	readonly hidden: number;
	readonly rounds: number;
	/** The attackers follow the protocol before it. */
	readonly attackFrom: number;
	/** Records of a site's gradient: that of a round, or of each local step; Infinity for all that it has. */
	readonly batch: number;
	/** Without it a round is one gradient; with it so many passes of steps of `learningRate`, and their sum is sent. */
	readonly localEpochs?: number;
	readonly learningRate: number;
	/** The same step in every round, or falling from it in a line to nothing. */
	readonly steps: "constant" | "falling";
	readonly clientMomentum: number;
	/** Momentum over the sum of its weights, as jobs have it: full length from the first round on. */
	readonly correctedMomentum?: boolean;
}

export const DIGITS: Task = {
	set: "digits-8x8",
	sites: 25,
	attackers: 5,
	split: 0.3,
	pooled: false,
	hidden: 32,
	rounds: 150,
	attackFrom: 0,
	batch: 32,
	learningRate: 0.5,
	steps: "constant",
	clientMomentum: 0.9,
};

/** Rounds as jobs without privacy have them, with the momentum of a job that names no robustness. */
export const DIGITS_GRADIENTS: Task = {
	...DIGITS,
	batch: Number.POSITIVE_INFINITY,
	correctedMomentum: true,
};
export const DIGITS_EPOCHS: Task = {
	...DIGITS,
	rounds: 60,
	localEpochs: 2,
	learningRate: 0.2,
	clientMomentum: 0,
};

export const MNIST: Task = {
	...DIGITS,
	set: "mnist10k",
	split: "sorted",
	pooled: true,
	hidden: 64,
	rounds: 600,
	learningRate: 3,
	steps: "falling",
};

export interface Dealt {
	readonly model: Model;
	/** The attackers are the first. */
	readonly sites: readonly Dataset[];
	readonly test: Dataset;
	/** A few records that all trust. */
	readonly root: Dataset;
}

const DATA_FOLDER = fileURLToPath(new URL("../../data", import.meta.url));
const TEST_FRACTION = 0.2;
const LEAST_ROWS = 8;
const ROOT_ROWS = 100;
const CLASSES = 10;

/** Deals the records; which of them are for the test, and who gets what, comes from the seed. */
export function deal(task: Task, seed: number): Dealt {
	const images = prepare(loadCatalogDataset(task.set, DATA_FOLDER), catalog.get(task.set)!.description);
	const all = task.pooled ? averagePooled(images) : images;
	const random = seededRandomForTests(1000 + seed);
	const order = shuffled(all.rows, random);
	const kept = Math.round(TEST_FRACTION * all.rows);
	const training = gather(all, order.slice(kept));
	const parts =
		task.split === "sorted"
			? sortedParts(training.labels, task, random)
			: dirichletPartitionForTestnets({
					labels: training.labels,
					sites: task.sites,
					concentration: task.split,
					leastRows: LEAST_ROWS,
					seed,
				});
	return {
		model: multilayerPerceptron(all.columns.length, [task.hidden], CLASSES, "relu", "multiclass"),
		sites: parts.map((rows) => gather(training, rows)),
		test: gather(all, order.slice(0, kept)),
		root: gather(all, order.slice(-ROOT_ROWS)),
	};
}

/** Its arithmetic, for a task's model. */
export function perceptronOf({ hidden }: Task, { inputs }: Model): SparsePerceptron {
	return new SparsePerceptron(inputs, hidden, CLASSES);
}

/** Square images of even width, row by row, at half their width. */
function averagePooled({ features, columns, ...rest }: Dataset): Dataset {
	const width = Math.sqrt(columns.length);
	const half = width / 2;
	const pooled = new Float32Array(features.length / 4);
	for (let place = 0; place < pooled.length; place++) {
		const column = place % half;
		const line = (place - column) / half;
		const corner = 2 * line * width + 2 * column;
		const at = (offset: number) => features[corner + offset]!;
		pooled[place] = (at(0) + at(1) + at(width) + at(width + 1)) / 4;
	}
	return { ...rest, features: pooled, columns: columns.slice(0, half * half) };
}

/** As in Karimireddy et al. 2022: what attackers keep to themselves would be missing, whatever the rule. */
function sortedParts(labels: Float32Array, { sites, attackers }: Task, random: () => number): Int32Array[] {
	const rows = Int32Array.from(labels.keys()).sort((a, b) => labels[a]! - labels[b]! || a - b);
	const honest = sites - attackers;
	const edge = (place: number) => Math.round((rows.length * place) / honest);
	const copies = Array.from({ length: attackers }, () =>
		shuffled(rows.length, random).slice(0, Math.round(rows.length / honest)),
	);
	const runs = Array.from(shuffled(honest, random), (place) => rows.slice(edge(place), edge(place + 1)));
	return [...copies, ...runs];
}

function shuffled(count: number, random: () => number): Int32Array {
	const order = Int32Array.from({ length: count }, (_, i) => i);
	for (let i = count - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[order[i], order[j]] = [order[j]!, order[i]!];
	}
	return order;
}
