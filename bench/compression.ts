/**
 * What compression saves and costs: bytes of a round beside the accuracy that is reached, over settings
 * of the job-file key `compression`, and the error of a mean by the bits of its values.
 */
import { packedSize } from "../crypto/ringPacking.ts";
import { rotate, rotateBack } from "../src/compression/rotation.ts";
import { roundAtRandom } from "../src/compression/stochasticRounding.ts";
import { seededRandomForTests } from "../src/data/testnetPartition.ts";
import { compressionSchema } from "../src/training/compressionChoice.ts";
import { planCompression, planQuantization } from "../src/training/compressionPlan.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../src/training/jobSpec.ts";
import { planTraining } from "../src/training/plan.ts";
import type { Bench, Table } from "./bench.ts";
import { dealToSites, trainTogether } from "./sitesInOneProcess.ts";

const WHO = { participants: 5, corruption: 1, minimumSurvivors: 4 };

interface Task {
	readonly set: string;
	readonly model: object;
	readonly training: object;
	readonly privacy: object;
	readonly aggregation?: object;
	/** What is run beside no compression. */
	readonly settings: readonly Setting[];
	/** Minutes rather than seconds: not among all. */
	readonly large?: boolean;
}

type Setting = readonly [name: string, compression: object];

/** `largestWeight`: about the training records of a site. */
function plainSettings(largestWeight: number, columns: number): Setting[] {
	return [
		["8 bits", { bits: 8, largestWeight }],
		["4 bits", { bits: 4, largestWeight }],
		["4 bits, not rotated", { bits: 4, largestWeight, rotation: "none" }],
		["2 bits", { bits: 2, largestWeight }],
		["8 bits, random half", { bits: 8, largestWeight, coordinates: "random", share: 0.5 }],
		["8 bits, random quarter", { bits: 8, largestWeight, coordinates: "random", share: 0.25 }],
		[
			"8 bits, random quarter, feedback",
			{ bits: 8, largestWeight, coordinates: "random", share: 0.25, errorFeedback: true },
		],
		[
			"8 bits, informed quarter, feedback",
			{ bits: 8, largestWeight, coordinates: "informed", share: 0.25, errorFeedback: true },
		],
		[
			"8 bits, informed tenth, feedback",
			{ bits: 8, largestWeight, coordinates: "informed", share: 0.1, errorFeedback: true },
		],
		["8 bits, sketch", { bits: 8, largestWeight, sketch: { rows: 5, columns, recovered: columns / 5 } }],
	];
}

const privateSettings: readonly Setting[] = [
	["rotated", {}],
	["not rotated", { rotation: "none" }],
	["random half", { coordinates: "random", share: 0.5 }],
	["random quarter", { coordinates: "random", share: 0.25 }],
	["informed half", { coordinates: "informed", share: 0.5 }],
	["informed quarter", { coordinates: "informed", share: 0.25 }],
];

const tasks: Readonly<Record<string, Task>> = {
	"digits-8x8": {
		set: "digits-8x8",
		model: { kind: "softmax_regression" },
		training: { algorithm: "fedavg", rounds: 30, localLearningRate: 0.5 },
		privacy: { mechanism: "none" },
		aggregation: { updateNormBound: 3 },
		settings: plainSettings(290, 50),
	},
	"digits-8x8, epsilon 8": {
		set: "digits-8x8",
		model: { kind: "softmax_regression" },
		training: { rounds: 30, serverLearningRate: 2, momentum: 0.7, expectedBatch: 720 },
		privacy: {
			mechanism: "distributed_gaussian",
			epsilon: 8,
			delta: 1e-6,
			clippingNorm: 2,
			samplingRate: 0.5,
		},
		settings: privateSettings,
	},
	mnist10k: {
		set: "mnist10k",
		model: { kind: "multilayer_perceptron", hidden: [126], activation: "tanh" },
		training: { algorithm: "fedavg", rounds: 12, localLearningRate: 0.1, localBatch: 32 },
		privacy: { mechanism: "none" },
		aggregation: { updateNormBound: 3 },
		settings: plainSettings(1600, 5000),
	},
	"mnist10k, epsilon 8": {
		set: "mnist10k",
		model: { kind: "multilayer_perceptron", hidden: [126], activation: "tanh" },
		training: { rounds: 30, serverLearningRate: 2, momentum: 0.5, expectedBatch: 1600 },
		privacy: {
			mechanism: "distributed_gaussian",
			epsilon: 8,
			delta: 1e-6,
			clippingNorm: 4,
			samplingRate: 0.2,
		},
		settings: privateSettings,
	},
	"mnist10k, five million parameters": {
		set: "mnist10k",
		model: { kind: "multilayer_perceptron", hidden: [2048, 1648], activation: "tanh" },
		training: {
			algorithm: "fedavg",
			rounds: 3,
			localLearningRate: 0.2,
			localBatch: 128,
			evaluateEveryRounds: 3,
		},
		privacy: { mechanism: "none" },
		aggregation: { updateNormBound: 3 },
		settings: [
			["8 bits", { bits: 8, largestWeight: 1600 }],
			["8 bits, random quarter", { bits: 8, largestWeight: 1600, coordinates: "random", share: 0.25 }],
			[
				"8 bits, random quarter, feedback",
				{ bits: 8, largestWeight: 1600, coordinates: "random", share: 0.25, errorFeedback: true },
			],
		],
		large: true,
	},
	"mnist10k, five million parameters, epsilon 8": {
		set: "mnist10k",
		model: { kind: "multilayer_perceptron", hidden: [2048, 1648], activation: "tanh" },
		training: {
			rounds: 5,
			serverLearningRate: 0.25,
			momentum: 0.5,
			expectedBatch: 1600,
			evaluateEveryRounds: 5,
		},
		privacy: {
			mechanism: "distributed_gaussian",
			epsilon: 8,
			delta: 1e-6,
			clippingNorm: 1,
			samplingRate: 0.2,
		},
		settings: [
			["rotated", {}],
			["random quarter", { coordinates: "random", share: 0.25 }],
			["informed quarter", { coordinates: "informed", share: 0.25 }],
			["random twentieth", { coordinates: "random", share: 0.05 }],
		],
		large: true,
	},
};

function specOf(
	{ settings: _, large: __, set, ...task }: Task,
	compression: object | undefined,
): ResolvedJobSpec {
	const spec = {
		name: set,
		technique: "federated_learning",
		data: { set },
		robustness: { mode: "none" },
		...task,
	};
	return resolveJobSpec(checkJobSpec(compression === undefined ? spec : { ...spec, compression }));
}

async function accuracies(task: Task, seeds: number): Promise<Table["rows"]> {
	const rows: Table["rows"][number][] = [];
	let whole = 0;
	for (const [name, compression] of [["none", undefined] as const, ...task.settings]) {
		const spec = specOf(task, compression);
		const { length, encoding } = planTraining(spec, WHO);
		const bytes = packedSize(length, encoding.modulusBits);
		if (compression === undefined) whole = bytes;
		const found: number[] = [];
		for (let seed = 1; seed <= seeds; seed++) {
			const sites = dealToSites(spec, WHO.participants, seed);
			found.push(100 * (await trainTogether(spec, WHO, sites, seed)).accuracy);
		}
		rows.push({
			compression: name,
			coordinates: length,
			"bits each": encoding.modulusBits,
			"KB up": bytes / 1000,
			"KB up and down": (2 * bytes) / 1000,
			"times fewer": whole / bytes,
			"accuracy %": (found.reduce((sum, one) => sum + one, 0) / seeds).toFixed(1),
			"worst %": Math.min(...found).toFixed(1),
		});
	}
	return rows;
}

/** Design, section 3.1: the figures that the encoding was chosen by. */
const DESIGNED: Readonly<Record<number, number>> = {
	4: 6.0e-3,
	6: 3.7e-4,
	8: 2.3e-5,
	10: 1.5e-6,
	12: 9.1e-8,
};
const MEAN_OF = 32;
const MEAN_LENGTH = 2 ** 16;

/** Error of the mean of 32 sites that hold one vector, by bits; the vector has a few large coordinates. */
function errorsOfMeans(): Table["rows"] {
	const random = seededRandomForTests(1);
	const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
	const vector = Float64Array.from({ length: MEAN_LENGTH }, (_, i) => normal() * (i % 64 === 0 ? 10 : 1));
	const norm = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
	const errorOf = (bits: number, rotation: "hadamard" | "none"): number => {
		const compression = planCompression(compressionSchema.parse({ rotation }), MEAN_LENGTH);
		const { scale, coordinateBound } = planQuantization(compression, bits, norm, MEAN_OF, false);
		const seed = new Uint8Array(32).fill(bits);
		const sum = new Float64Array(MEAN_LENGTH);
		for (let site = 0; site < MEAN_OF; site++) {
			const values = vector.slice();
			if (compression.rotated) rotate(values, seed);
			roundAtRandom(values, scale);
			for (let i = 0; i < sum.length; i++)
				sum[i]! += Math.max(-coordinateBound, Math.min(coordinateBound, values[i]!)) / scale / MEAN_OF;
		}
		if (compression.rotated) rotateBack(sum, seed);
		let squares = 0;
		for (let i = 0; i < sum.length; i++) squares += (sum[i]! - vector[i]!) ** 2;
		return squares / norm ** 2;
	};
	const all = planCompression(compressionSchema.parse({}), MEAN_LENGTH);
	return Object.entries(DESIGNED).map(([text, designed]) => {
		const bits = Number(text);
		return {
			"bits of a value": bits,
			"bits under masks": planQuantization(all, bits, 1, MEAN_OF, false).modulusBits,
			"error rotated": errorOf(bits, "hadamard").toExponential(1),
			designed: designed.toExponential(1),
			"error not rotated": errorOf(bits, "none").toExponential(1),
		};
	});
}

export const compression: Bench<{ data: string; seeds: readonly number[] }> = {
	name: "compression",
	summary: "bytes of a round and accuracy by setting of compression; error of a mean by bits",
	options: {
		data: {
			description: "one task, or all but the large ones, which take some minutes each",
			default: "all",
			choices: ["all", ...Object.keys(tasks)],
		},
		seeds: { description: "random deals of the records", default: [3] },
	},
	libraries: ["onnxruntime-node"],
	notes: [
		"Five sites in one process, summed in the clear: the same integers as under masks. Noise as for four survivors of which one may leave out its own.",
		"Bytes are those of one masked vector; a participant sends one and receives one, the masked sum. Keys, shares and votes come to some 30 KB more in either direction at five sites, whatever the model.",
		"Accuracy is over all sites' held-out records, without noise, mean and worst over the deals. Differences below a point are chance.",
		"Without compression: 32 bits a coordinate without privacy; with it the least ring for the plain encoding.",
		"Error of a mean: squared distance over the squared length of the vector that all 32 sites hold, one in 64 coordinates ten times as large as the others.",
	],
	async run({ data, seeds }) {
		const names = data === "all" ? Object.keys(tasks).filter((name) => !tasks[name]!.large) : [data];
		const tables: Table[] = [];
		for (const name of names) tables.push({ title: name, rows: await accuracies(tasks[name]!, seeds[0]!) });
		return [...tables, { title: "error of the mean of 32", rows: errorsOfMeans() }];
	},
};
