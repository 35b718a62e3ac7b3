/** Passes over a generated file larger than memory: rows and bytes a second, memory over time, rounds a pass. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type StreamedLocation, stampOf } from "../node/data/streaming/location.ts";
import { HELD_OUT_FRACTION } from "../src/training/siteData.ts";
import { roundsAPass, shuffleRows } from "../src/training/streamedRound.ts";
import { type Bench, type Cell, median } from "./bench.ts";
import type { PassFigures, PassOrder } from "./streamingPass.ts";

const GB = 1e9;
const ROWS_MEASURED = 20_000;

type Options = {
	readonly "size-gb": readonly number[];
	readonly formats: string;
	readonly passes: string;
	readonly features: readonly number[];
	readonly batch: readonly number[];
	readonly "memory-mib": readonly number[];
	readonly threads: readonly number[];
	readonly folder: string;
};

export const streaming: Bench<Options> = {
	name: "streaming",
	summary: "exact Poisson passes over a file larger than memory",
	options: {
		"size-gb": { description: "size of the generated files, GB (10^9 bytes)", default: [0.05] },
		formats: {
			description: "parquet, csv or both",
			default: "both",
			choices: ["parquet", "csv", "both"],
		},
		passes: {
			description: "which are measured",
			default: "all",
			choices: ["poisson", "survey", "epoch", "all"],
		},
		features: { description: "feature columns, float32", default: [64] },
		batch: { description: "records that a round samples on average", default: [1024] },
		"memory-mib": { description: "data.streaming.batchMemoryMiB", default: [512] },
		threads: { description: "data.streaming.engineThreads", default: [1] },
		folder: { description: "where the files are written and removed", default: tmpdir() },
	},
	libraries: ["@duckdb/node-api"],
	notes: [
		"A Poisson pass reads every record, draws the batches of `rounds a pass` rounds exactly and keeps them in memory; a survey, at registration, looks at every record (scales and hashes it) and counts; an epoch trains a softmax regression on every record, shuffled in a window of three quarters of the memory, in steps of the batch.",
		"MB are 10^6 bytes of the file; random float32 features, which Parquet cannot compress.",
		"Memory is the resident set of a process that does one pass and nothing else, sampled every quarter of a second: before the pass, its median over each quarter of it, and its peak.",
		"A terabyte is worked out from the same pass: 10^12 bytes over the bytes a second.",
	],
	async run(options) {
		const { formats, folder } = options;
		const directory = await mkdtemp(join(folder, "althing-streaming-"));
		const rates: Record<string, Cell>[] = [];
		const memory: Record<string, Cell>[] = [];
		try {
			for (const sizeGb of options["size-gb"])
				for (const format of formats === "both"
					? (["parquet", "csv"] as const)
					: [formats as "parquet" | "csv"]) {
					const path = join(directory, `records.${format}`);
					const rows = await generate(path, sizeGb, options.features[0] ?? 64);
					const measured = await measure(path, format, rows, options);
					rates.push(...measured.rates);
					memory.push(...measured.memory);
					await rm(path);
				}
		} finally {
			await rm(directory, { recursive: true });
		}
		return [
			{ title: "Passes", rows: rates },
			{ title: "Resident memory, MiB", rows: memory },
		];
	},
};

/** Writes as many rows as make the size, from the bytes that a few take. @returns their number */
async function generate(path: string, sizeGb: number, features: number): Promise<number> {
	const write = async (rows: number) => {
		const script = fileURLToPath(new URL("./streamingFile.ts", import.meta.url));
		await promisify(execFile)(process.execPath, [script, path, String(rows), String(features)]);
		return (await stat(path)).size;
	};
	const rows = Math.max(1000, Math.round((sizeGb * GB * ROWS_MEASURED) / (await write(ROWS_MEASURED))));
	await write(rows);
	return rows;
}

async function measure(path: string, format: "parquet" | "csv", rows: number, options: Options) {
	const features = options.features[0] ?? 64;
	const memoryMiB = options["memory-mib"][0] ?? 512;
	const batch = options.batch[0] ?? 1024;
	const location: StreamedLocation = { kind: format, path, ...(await stampOf(path)) };
	const trainingRows = Math.round(rows * (1 - HELD_OUT_FRACTION));
	const sampling = { kind: "poisson" as const, rate: Math.min(1, batch / trainingRows) };
	const here = { features, trainingRows, memoryMiB };
	const steps = roundsAPass({ kind: "batches", sampling, stepsPerRound: 1 }, { ...here, rounds: 100_000 });
	const windowRows = shuffleRows({ algorithm: "fedavg", localEpochs: 1, localBatch: batch }, here);
	const kinds: Record<string, PassOrder["wanted"]> = {
		poisson: { kind: "poisson", sampling, steps },
		survey: { kind: "survey" },
		epoch: { kind: "epoch", windowRows, batchRows: batch },
	};
	const gb = location.sizeBytes / GB;
	const rates: Record<string, Cell>[] = [];
	const memory: Record<string, Cell>[] = [];
	for (const name of options.passes === "all" ? Object.keys(kinds) : [options.passes]) {
		const { seconds, cpuSeconds, resident } = await passOf({
			location,
			rows,
			features,
			settings: {
				batchMemoryMiB: memoryMiB,
				engineMemoryMiB: 512,
				engineThreads: options.threads[0] ?? 1,
			},
			wanted: kinds[name]!,
		});
		const label = `${name}, ${format}`;
		rates.push({
			pass: label,
			GB: round(gb),
			rows,
			"rounds a pass": name === "poisson" ? steps : 0,
			seconds: round(seconds),
			"CPU s": round(cpuSeconds),
			"rows/s": Math.round(rows / seconds),
			"MB/s": round((gb * 1000) / seconds),
			"MB/CPU s": round((gb * 1000) / cpuSeconds),
			"hours for 1 TB": round(((1000 / gb) * seconds) / 3600),
			"CPU h for 1 TB": round(((1000 / gb) * cpuSeconds) / 3600),
		});
		const [before = 0, ...during] = resident;
		const quarter = Math.ceil(during.length / 4);
		const part = (i: number): Cell => {
			const value = median(during.slice(i * quarter, (i + 1) * quarter));
			return Number.isNaN(value) ? "" : Math.round(value);
		};
		memory.push({
			pass: label,
			GB: round(gb),
			before,
			"1st quarter": part(0),
			"2nd quarter": part(1),
			"3rd quarter": part(2),
			"4th quarter": part(3),
			peak: Math.max(...resident),
		});
	}
	return { rates, memory };
}

async function passOf(order: PassOrder): Promise<PassFigures> {
	const script = fileURLToPath(new URL("./streamingPass.ts", import.meta.url));
	// The young generation of a node's streaming thread (streamThread.ts).
	const settings = ["--max-semi-space-size=1"];
	const { stdout } = await promisify(execFile)(process.execPath, [
		...settings,
		script,
		JSON.stringify(order),
	]);
	return JSON.parse(stdout) as PassFigures;
}

function round(value: number): number {
	return Number(value.toPrecision(3));
}
