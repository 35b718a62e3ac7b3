/** Training steps with and without privacy, of both backends and of PyTorch and Opacus where the machine has them. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { BackendName } from "../src/learning/trainer.ts";
import { type Bench, type Cell, median } from "./bench.ts";
import {
	CLIPPING_NORM,
	MODELS,
	type ModelName,
	NOISE_MULTIPLIER,
	prepareSteps,
	type StepKind,
} from "./dpsgdStep.ts";

interface Options {
	readonly [name: string]: readonly number[] | string;
	readonly models: string;
	readonly backends: string;
	readonly batch: readonly number[];
	readonly seconds: readonly number[];
}

type Row = Readonly<Record<string, Cell>>;

/** Milliseconds of each step. */
interface Times {
	readonly wall: readonly number[];
	readonly cpu: readonly number[];
}

const KINDS: readonly StepKind[] = ["plain", "private"];
const MEMORY_PROCESS = fileURLToPath(new URL("./dpsgdMemory.ts", import.meta.url));
const PYTHON_SCRIPT = fileURLToPath(new URL("./dpsgd.py", import.meta.url));
/** Rounds before measuring: graphs are compiled and code is hot. */
const WARM_UP = { onnx: 10, tfjs: 2 } as const;
const LEAST_ROUNDS = 3;
const MEMORY_STEPS = { onnx: 20, tfjs: 4 } as const;
const run = promisify(execFile);

export const dpsgd: Bench<Options> = {
	name: "dpsgd",
	summary: "one training step, plain and private, noise and update of the parameters included",
	options: {
		models: {
			description: "both, dense or convolutional",
			default: "both",
			choices: ["both", ...Object.keys(MODELS)],
		},
		backends: { description: "both, onnx or tfjs", default: "both", choices: ["both", "onnx", "tfjs"] },
		batch: { description: "rows of a step", default: [256] },
		seconds: { description: "measuring time of each model and engine", default: [8] },
	},
	libraries: ["onnxruntime-node", "@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-wasm"],
	notes: [
		"dense is 784-256-10, convolutional two 5x5 convolutions of 16 and 32 with pooling and a dense layer on 28x28 images. A step takes the batch's rows, computes the sum of the gradients (private: each clipped to 1), adds noise of multiplier 1.1 on the integer grid (private) and moves the parameters. One thread.",
		"Plain and private steps alternate within one process; their ratio is between steps under the same load. CPU is that of the whole process, its garbage collector included.",
		"Memory is measured in a process for each kind of step: megabytes (10^6 bytes) that were resident before the first step, and the most there ever were.",
		"PyTorch and Opacus run in a process of their own after ours, also one thread and interleaved; Opacus materializes per-example gradients, as it does by default.",
	],
	async run({ models, backends, batch: [batch = 256], seconds: [seconds = 8] }) {
		const names = models === "both" ? (Object.keys(MODELS) as ModelName[]) : [models as ModelName];
		const engines: readonly BackendName[] =
			backends === "both" ? ["onnx", "tfjs"] : [backends as BackendName];
		const steps: Row[] = [];
		const noises: Row[] = [];
		const memory: Row[] = [];
		const overheads: Row[] = [];
		for (const model of names) {
			for (const backend of engines) {
				const { times, runtime, noise } = await measureSteps(model, backend, batch, seconds);
				const used = await measureMemory(model, backend, batch);
				steps.push(...KINDS.map((kind) => stepRow(model, runtime, kind, times[kind])));
				noises.push({ model, backend, ...noise });
				memory.push(...KINDS.map((kind) => ({ model, backend, step: kind, ...used[kind] })));
				overheads.push({
					model,
					engine: runtime,
					...overhead(times.plain, times.private),
					"peak memory": ratio(used.private["peak MB"], used.plain["peak MB"]),
				});
			}
			const python = await measurePython(model, batch, seconds);
			steps.push(...python.steps);
			overheads.push(...python.overheads);
		}
		return [
			{ title: "one step, milliseconds", rows: steps },
			{ title: "the noise of one step alone: drawn, added on the grid, scaled back", rows: noises },
			{ title: "resident memory", rows: memory },
			{ title: "private over plain", rows: overheads },
		];
	},
};

async function measureSteps(model: ModelName, backend: BackendName, batch: number, seconds: number) {
	const { step, noise, runtime, parameterCount, dispose } = await prepareSteps(model, backend, batch);
	const times = { plain: { wall: [], cpu: [] }, private: { wall: [], cpu: [] } } as Record<
		StepKind,
		{ wall: number[]; cpu: number[] }
	>;
	let end = Number.POSITIVE_INFINITY;
	for (let round = 0; round < WARM_UP[backend] + LEAST_ROUNDS || performance.now() < end; round++) {
		if (round === WARM_UP[backend]) end = performance.now() + seconds * 1000;
		for (const kind of KINDS) {
			const { wall, cpu } = await timed(() => step(kind));
			if (round < WARM_UP[backend]) continue;
			times[kind].wall.push(wall);
			times[kind].cpu.push(cpu);
		}
	}
	const alone: number[] = [];
	for (let i = 0; i < 100; i++) alone.push((await timed(noise)).wall);
	await dispose();
	const least = Math.min(...alone);
	return {
		runtime,
		times,
		noise: {
			parameters: parameterCount,
			"min ms": least,
			"median ms": median(alone),
			"million values/s": parameterCount / least / 1000,
		},
	};
}

async function timed(work: () => Promise<void> | void): Promise<{ wall: number; cpu: number }> {
	const cpuBefore = process.cpuUsage();
	const before = performance.now();
	await work();
	const wall = performance.now() - before;
	const { user, system } = process.cpuUsage(cpuBefore);
	return { wall, cpu: (user + system) / 1000 };
}

async function measureMemory(model: ModelName, backend: BackendName, batch: number) {
	const of = async (kind: StepKind) => {
		const args = [MEMORY_PROCESS, model, backend, kind, String(batch), String(MEMORY_STEPS[backend])];
		const { stdout } = await run(process.execPath, args);
		const { before, peak } = JSON.parse(stdout) as { before: number; peak: number };
		return { "before MB": before, "peak MB": peak };
	};
	return { plain: await of("plain"), private: await of("private") };
}

async function measurePython(
	model: ModelName,
	batch: number,
	seconds: number,
): Promise<{ readonly steps: Row[]; readonly overheads: Row[] }> {
	const args = [PYTHON_SCRIPT, model, batch, seconds, CLIPPING_NORM, NOISE_MULTIPLIER].map(String);
	let report: { torch?: string; opacus?: string; plain?: Times; private?: Times } = {};
	try {
		report = JSON.parse((await run("python3", args)).stdout);
	} catch (error) {
		// No Python is as good as none with PyTorch; a script that fails is not.
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
	}
	if (report.torch === undefined || report.plain === undefined)
		return { steps: [{ model, engine: "PyTorch, Opacus: not installed here" }], overheads: [] };
	const engine = `PyTorch ${report.torch}`;
	const steps = [stepRow(model, engine, "plain", report.plain)];
	if (report.private === undefined) {
		return { steps: [...steps, { model, engine: "Opacus: not installed here" }], overheads: [] };
	}
	const opacus = `Opacus ${report.opacus}`;
	return {
		steps: [...steps, stepRow(model, opacus, "private", report.private)],
		overheads: [{ model, engine: opacus, ...overhead(report.plain, report.private) }],
	};
}

function stepRow(model: ModelName, engine: string, step: StepKind, { wall, cpu }: Times): Row {
	return {
		model,
		engine,
		step,
		steps: wall.length,
		min: Math.min(...wall),
		median: median(wall),
		"CPU min": Math.min(...cpu),
		"CPU median": median(cpu),
	};
}

/** Private over plain: of the least, the median and the CPU times. */
function overhead(plain: Times, noised: Times): Row {
	return {
		min: ratio(Math.min(...noised.wall), Math.min(...plain.wall)),
		median: ratio(median(noised.wall), median(plain.wall)),
		"CPU min": ratio(Math.min(...noised.cpu), Math.min(...plain.cpu)),
		"CPU median": ratio(median(noised.cpu), median(plain.cpu)),
	};
}

function ratio(above: number, below: number): string {
	return `${(above / below).toFixed(2)}x`;
}
