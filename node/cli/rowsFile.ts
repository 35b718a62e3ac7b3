/** Reads rows of numbers for predictions: JSON `[[...], ...]`, or CSV without a header. */
import { AlthingError } from "../../crypto/error.ts";
import { readInput } from "./inputFile.ts";

/** Throws `usage.invalid_file` naming row and column. */
export async function readRows(path: string): Promise<number[][]> {
	const text = await readInput(path);
	const rows = text.trimStart().startsWith("[") ? parseJson(text, path) : await parseCsv(text, path);
	if (rows.length === 0) throw invalid(path, "holds no rows");
	return rows;
}

function parseJson(text: string, path: string): number[][] {
	let value: unknown;
	try {
		value = JSON.parse(text);
	} catch (cause) {
		throw invalid(path, `is not valid JSON: ${(cause as Error).message}`);
	}
	if (!Array.isArray(value)) throw invalid(path, "must hold an array of rows");
	return value.map((row, index) => {
		if (!Array.isArray(row)) throw invalid(path, `row ${index + 1} is not an array`);
		return row.map((cell, column) => checked(cell, path, index, column));
	});
}

async function parseCsv(text: string, path: string): Promise<number[][]> {
	const { parse } = await import("csv-parse/sync");
	let records: string[][];
	try {
		records = parse(text, { skip_empty_lines: true, trim: true });
	} catch (cause) {
		throw invalid(path, (cause as Error).message);
	}
	return records.map((record, row) =>
		record.map((cell, column) => checked(cell === "" ? Number.NaN : Number(cell), path, row, column)),
	);
}

function checked(cell: unknown, path: string, row: number, column: number): number {
	if (typeof cell === "number" && Number.isFinite(cell)) return cell;
	throw invalid(path, `row ${row + 1}, column ${column + 1} is not a number`);
}

function invalid(path: string, what: string): AlthingError {
	return new AlthingError("usage.invalid_file", `${path}: ${what}.`, { path });
}
