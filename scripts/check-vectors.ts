/**
 * Checks the accountants and what stands on them against files of reference figures.
 * Usage: `npm run check:vectors -- FILE...` (schema "dp-reference-vectors/1"; without a file, the
 * one the tests use). Prints a table of families and every violation. Exit code 1 beyond tolerance
 * or for an unknown family, 2 for a file that cannot be read or has another schema.
 */
import { join, resolve } from "node:path";
import { AlthingError } from "../crypto/error.ts";
import { boundFamilies } from "./vectors/boundFamilies.ts";
import type { Family } from "./vectors/family.ts";
import { judge, type Verdict } from "./vectors/judge.ts";
import { otherFamilies } from "./vectors/otherFamilies.ts";
import { renyiFamilies } from "./vectors/renyiFamilies.ts";
import { readVectorFile, type VectorEntry } from "./vectors/vectorFile.ts";

const FAMILIES: Readonly<Record<string, Family>> = { ...boundFamilies, ...renyiFamilies, ...otherFamilies };

const PUBLIC_FILE = join(import.meta.dirname, "../test/vectors/dp-accounting/dp-accounting.public.json");

/** A checked entry. */
export interface CheckedEntry extends Verdict {
	readonly id: string;
	readonly family: string;
	/** Processor time of computing the figures here. */
	readonly cpuMs: number;
}

/** Checks one entry; whatever goes wrong in computing it is a violation. */
export function checkEntry(entry: VectorEntry): CheckedEntry {
	const { id, family: name } = entry;
	const failed = (violation: string, cpuMs: number): CheckedEntry => ({
		id,
		family: name,
		cpuMs,
		relativeError: Number.POSITIVE_INFINITY,
		belowTruth: 0,
		violations: [violation],
		isAboveBySeries: false,
	});
	const family = Object.hasOwn(FAMILIES, name) ? FAMILIES[name] : undefined;
	if (family === undefined) return failed(`there is no family "${name}" here`, 0);
	const before = process.cpuUsage();
	const elapsedMs = (): number => {
		const { user, system } = process.cpuUsage(before);
		return (user + system) / 1000;
	};
	try {
		const figures = family.evaluate(entry.params, entry.primary);
		const cpuMs = elapsedMs();
		return { id, family: name, cpuMs, ...judge(entry, figures, family) };
	} catch (error) {
		return failed(error instanceof Error ? error.message : String(error), elapsedMs());
	}
}

/** The printed report: one line a family, then one a violation. */
export function report(checked: readonly CheckedEntry[]): string {
	const rows = [
		[
			"family",
			"entries",
			"worst error",
			"below truth",
			"violations",
			"above by series",
			"median ms",
			"worst ms",
		],
	];
	for (const [name, entries] of Map.groupBy(checked, (entry) => entry.family)) {
		const cpuMs = entries.map((entry) => entry.cpuMs).sort((a, b) => a - b);
		rows.push([
			name,
			String(entries.length),
			scientific(Math.max(...entries.map((entry) => entry.relativeError))),
			scientific(Math.max(...entries.map((entry) => entry.belowTruth))),
			String(entries.filter((entry) => entry.violations.length > 0).length),
			String(entries.filter((entry) => entry.isAboveBySeries).length),
			cpuMs[Math.floor(cpuMs.length / 2)]!.toFixed(1),
			cpuMs.at(-1)!.toFixed(1),
		]);
	}
	const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
	const lines = rows.map((row) =>
		row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  "),
	);
	const failing = checked.filter((entry) => entry.violations.length > 0);
	lines.push("");
	for (const { id, violations } of failing) for (const one of violations) lines.push(`${id}: ${one}`);
	if (checked.some((entry) => entry.isAboveBySeries)) {
		lines.push(
			"above by series: the reference's RDP between integer orders is the library's sum of absolute values of an",
			"alternating series, above the divergence; that sum is reproduced, and the exact figure is below it.",
		);
	}
	lines.push(`${checked.length - failing.length} of ${checked.length} entries within tolerance`);
	return lines.join("\n");
}

const scientific = (value: number): string => (value === 0 ? "0" : value.toExponential(1));

function main(paths: readonly string[]): number {
	let entries: VectorEntry[];
	try {
		entries = (paths.length === 0 ? [PUBLIC_FILE] : paths).flatMap((path) => readVectorFile(resolve(path)));
	} catch (error) {
		if (!(error instanceof AlthingError)) throw error;
		console.error(error.message);
		return 2;
	}
	const checked = entries.map(checkEntry);
	console.log(report(checked));
	return checked.some((entry) => entry.violations.length > 0) ? 1 : 0;
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	process.exitCode = main(process.argv.slice(2));
}
