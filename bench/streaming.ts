/** Passes over a generated file larger than memory: rows and bytes a second, memory over time, rounds a pass. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { openLocation, type StreamedLocation, stampOf } from "../node/data/streaming/location.ts";
import type { DataDescription } from "../src/data/description.ts";
import { type PassRequest, passOver } from "../src/data/streamedPass.ts";
import { HELD_OUT_FRACTION } from "../src/training/siteData.ts";
import { roundsAPass } from "../src/training/streamedRound.ts";
import { type Bench, type Cell, median } from "./bench.ts";

const GB = 1e9;
const ROWS_MEASURED = 20_000;
const SAMPLE_MS = 250;

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
			default: "both",
			choices: ["poisson", "survey", "both"],
		},
		features: { description: "feature columns, float32", default: [64] },
		batch: { description: "records that a round samples on average", default: [1024] },
		"memory-mib": { description: "data.streaming.batchMemoryMiB", default: [512] },
		threads: { description: "data.streaming.engineThreads", default: [1] },
		folder: { description: "where the files are written and removed", default: tmpdir() },
	},
	libraries: ["@duckdb/node-api"],
	notes: [
		"A pass reads every record, draws the batches of `rounds a pass` rounds exactly and keeps them in memory; a survey, at registration, looks at every record (scales and hashes it) and counts.",
		"MB are 10^6 bytes of the file; random float32 features, which Parquet cannot compress.",
		"Memory is the whole process's resident set, sampled every quarter of a second: its median over each quarter of the pass, and its peak.",
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
	const description: DataDescription = {
		name: "streaming-bench",
		label: { kind: "class", column: "label", classes: Array.from({ length: 10 }, (_, i) => String(i)) },
		features: { count: features, bounds: [0, 16], scale: "unit" },
	};
	const settings = {
		batchMemoryMiB: memoryMiB,
		engineMemoryMiB: 512,
		engineThreads: options.threads[0] ?? 1,
	};
	const location: StreamedLocation = { kind: format, path, ...(await stampOf(path)) };
	const trainingRows = Math.round(rows * (1 - HELD_OUT_FRACTION));
	const sampling = { kind: "poisson" as const, rate: Math.min(1, (options.batch[0] ?? 1024) / trainingRows) };
	const steps = roundsAPass(
		{ kind: "batches", sampling, stepsPerRound: 1 },
		{ features, trainingRows, rounds: 100_000, memoryMiB },
	);
	const gb = location.sizeBytes / GB;
	const rates: Record<string, Cell>[] = [];
	const memory: Record<string, Cell>[] = [];
	const poisson = ["Poisson pass", { plan: { sampling, first: 0, steps } }] as const;
	const survey = ["survey", { count: true }] as const;
	const passes = { poisson: [poisson], survey: [survey], both: [poisson, survey] }[options.passes] ?? [];
	for (const [name, wanted] of passes) {
		const { seconds, cpuSeconds, resident, kept } = await timed(async () => {
			const source = await openLocation(location, description, settings);
			try {
				const request: PassRequest = {
					source,
					description,
					splitKey: new Uint8Array(32),
					heldOutFraction: HELD_OUT_FRACTION,
					knownRows: rows,
					...wanted,
				};
				return (await passOver(request)).batches;
			} finally {
				await source.close();
			}
		});
		const label = `${name}, ${format}`;
		rates.push({
			pass: label,
			GB: round(gb),
			rows,
			"rounds a pass": name === "survey" ? 0 : steps,
			seconds: round(seconds),
			"CPU s": round(cpuSeconds),
			"rows/s": Math.round(rows / seconds),
			"MB/s": round((gb * 1000) / seconds),
			"MB/CPU s": round((gb * 1000) / cpuSeconds),
			"hours for 1 TB": round(((1000 / gb) * seconds) / 3600),
			"s a round": name === "survey" ? 0 : round(seconds / steps),
		});
		const quarter = Math.ceil(resident.length / 4);
		const part = (i: number) => Math.round(median(resident.slice(i * quarter, (i + 1) * quarter)));
		const known = (value: number): Cell => (Number.isNaN(value) ? "" : value);
		memory.push({
			pass: label,
			"1st quarter": known(part(0)),
			"2nd quarter": known(part(1)),
			"3rd quarter": known(part(2)),
			"4th quarter": known(part(3)),
			peak: Math.round(Math.max(...resident)),
		});
		kept?.discard();
	}
	return { rates, memory };
}

async function timed<T>(run: () => Promise<T>) {
	const mib = () => process.memoryUsage.rss() / 2 ** 20;
	const resident = [mib()];
	const timer = setInterval(() => resident.push(mib()), SAMPLE_MS);
	const before = process.cpuUsage();
	const startMs = performance.now();
	try {
		const kept = await run();
		const { user, system } = process.cpuUsage(before);
		resident.push(mib());
		const seconds = (performance.now() - startMs) / 1000;
		return { seconds, cpuSeconds: (user + system) / 1e6, resident, kept };
	} finally {
		clearInterval(timer);
	}
}

function round(value: number): number {
	return Number(value.toPrecision(3));
}
