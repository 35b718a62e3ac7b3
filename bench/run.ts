/**
 * Runs a benchmark and prints its figures with the machine, its load, versions, date and
 * commit: `npm run bench -- NAME [--option value ...] [--json]`; without a name, the list.
 */
import { parseArgs } from "node:util";
import { AlthingError } from "../crypto/error.ts";
import type { Bench, BenchOption, OptionValue, Table } from "./bench.ts";
import { describeCommit, describeMachine, loadAverage, versionsOf } from "./machine.ts";

type AnyBench = Bench<Record<string, OptionValue>>;

/** Loaded only when asked for: each pulls in what it measures. */
const benches: Readonly<Record<string, () => Promise<AnyBench>>> = {
	secagg: async () => (await import("./secagg.ts")).secagg as unknown as AnyBench,
	hierarchy: async () => (await import("./hierarchy.ts")).hierarchy as unknown as AnyBench,
	accounting: async () => (await import("./accounting.ts")).accounting as unknown as AnyBench,
	round: async () => (await import("./round.ts")).round as unknown as AnyBench,
	dpsgd: async () => (await import("./dpsgd.ts")).dpsgd as unknown as AnyBench,
	samplers: async () => (await import("./samplers.ts")).samplers as unknown as AnyBench,
	transport: async () => (await import("./transport.ts")).transport as unknown as AnyBench,
	audit: async () => (await import("./audit.ts")).audit as unknown as AnyBench,
	compression: async () => (await import("./compression.ts")).compression as unknown as AnyBench,
	heterogeneity: async () => (await import("./heterogeneity.ts")).heterogeneity as unknown as AnyBench,
	streaming: async () => (await import("./streaming.ts")).streaming as unknown as AnyBench,
	accuracy: async () => (await import("./accuracy.ts")).accuracy as unknown as AnyBench,
	robustness: async () => (await import("./robustness.ts")).robustness as unknown as AnyBench,
	screening: async () => (await import("./screening.ts")).screening as unknown as AnyBench,
	jobs: async () => (await import("./jobs.ts")).jobs as unknown as AnyBench,
	selection: async () => (await import("./selection.ts")).selection as unknown as AnyBench,
	gossip: async () => (await import("./gossip.ts")).gossip as unknown as AnyBench,
};

async function main(args: readonly string[]): Promise<void> {
	const [name, ...rest] = args;
	const load = name === undefined || !Object.hasOwn(benches, name) ? undefined : benches[name];
	if (load === undefined) {
		if (name !== undefined && name !== "--help") {
			throw new AlthingError(
				"bench.unknown",
				`There is no benchmark "${name}"; there are ${Object.keys(benches).join(", ")}.`,
			);
		}
		for (const bench of await Promise.all(Object.values(benches).map((one) => one())))
			console.log(usage(bench));
		return;
	}
	const bench = await load();
	const { options, json } = readOptions(bench, rest);
	const loadBefore = loadAverage();
	const startedAt = new Date();
	const tables = await bench.run(options);
	const report = {
		bench: bench.name,
		summary: bench.summary,
		options,
		date: startedAt.toISOString(),
		seconds: (Date.now() - startedAt.getTime()) / 1000,
		commit: describeCommit(),
		machine: describeMachine(),
		loadBefore,
		loadAfter: loadAverage(),
		versions: versionsOf(bench.libraries),
		notes: bench.notes,
		tables,
	};
	console.log(json ? JSON.stringify(report, null, "\t") : text(report));
}

function usage({ name, summary, options }: AnyBench): string {
	const lines = Object.entries(options).map(
		([key, option]) => `    --${key} ${String(option.default)}  ${option.description}`,
	);
	return [`${name}: ${summary}`, ...lines, "    --json"].join("\n");
}

/** @throws AlthingError `bench.bad_option` */
function readOptions(
	bench: AnyBench,
	args: string[],
): { options: Record<string, OptionValue>; json: boolean } {
	const declared = Object.fromEntries(
		Object.keys(bench.options).map((key) => [key, { type: "string" as const }]),
	);
	let given: Record<string, string | boolean | undefined>;
	try {
		given = parseArgs({ args, options: { ...declared, json: { type: "boolean" } }, strict: true }).values;
	} catch (cause) {
		const why = cause instanceof Error ? cause.message : String(cause);
		throw new AlthingError("bench.bad_option", `${why}\n${usage(bench)}`, {}, { cause });
	}
	const options = Object.fromEntries(
		Object.entries(bench.options).map(([key, option]) => {
			const value = given[key];
			return [key, typeof value === "string" ? parseValue(key, value, option) : option.default];
		}),
	);
	return { options, json: given.json === true };
}

function parseValue(key: string, value: string, option: BenchOption): OptionValue {
	if (typeof option.default === "string") {
		if (option.choices === undefined || option.choices.includes(value)) return value;
		throw new AlthingError(
			"bench.bad_option",
			`--${key} is one of ${option.choices.join(", ")}, not ${value}.`,
		);
	}
	const numbers = value.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
	if (numbers.every((number) => Number.isFinite(number) && number >= 0)) return numbers;
	throw new AlthingError("bench.bad_option", `--${key} takes numbers with commas between, not "${value}".`);
}

interface Report {
	readonly bench: string;
	readonly summary: string;
	readonly options: Readonly<Record<string, OptionValue>>;
	readonly date: string;
	readonly seconds: number;
	readonly commit: ReturnType<typeof describeCommit>;
	readonly machine: ReturnType<typeof describeMachine>;
	readonly loadBefore: readonly number[];
	readonly loadAfter: readonly number[];
	readonly versions: Readonly<Record<string, string>>;
	readonly notes: readonly string[];
	readonly tables: readonly Table[];
}

function text(report: Report): string {
	const { machine, commit } = report;
	const pairs = (record: Readonly<Record<string, unknown>>) =>
		Object.entries(record)
			.map(([key, value]) => `${key} ${value}`)
			.join(", ");
	return [
		`${report.bench}: ${report.summary}`,
		`options   ${pairs(report.options)}`,
		`machine   ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`,
		`load      ${report.loadBefore.join(" ")} before, ${report.loadAfter.join(" ")} after (1, 5, 15 min)`,
		`versions  ${pairs(report.versions)}`,
		`commit    ${commit === null ? "none" : `${commit.id}${commit.changed ? " with local changes" : ""}`}`,
		`date      ${report.date}, took ${figure(report.seconds)} s`,
		...report.tables.flatMap((table) => ["", table.title, ...aligned(table.rows)]),
		"",
		...report.notes.map((note) => `- ${note}`),
	].join("\n");
}

function aligned(rows: Table["rows"]): string[] {
	const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
	const lines = [
		columns,
		...rows.map((row) =>
			columns.map((column) => {
				const cell = row[column] ?? "";
				return typeof cell === "number" ? figure(cell) : cell;
			}),
		),
	];
	const widths = columns.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
	return lines.map((line) => line.map((cell, column) => cell.padStart(widths[column] ?? 0)).join("  "));
}

function figure(value: number): string {
	if (Number.isInteger(value)) return String(value);
	const magnitude = Math.abs(value);
	return magnitude >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

try {
	await main(process.argv.slice(2));
} catch (error) {
	if (!(error instanceof AlthingError)) throw error;
	console.error(error.message);
	process.exitCode = 2;
}
