/** CSV with a header row: numeric features, at most one label column, at most one key column. */
import { CsvError, parse } from "csv-parse/sync";
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "./dataset.ts";
import type { DataDescription } from "./description.ts";
import { readDataFile } from "./file.ts";

export interface CsvOptions {
	/** Absent where the records have no label: labels are then zeros. */
	readonly labelColumn?: string | undefined;
	/** `class`: any text, collected into `labelNames` in order of appearance; `number`: a numeric target. */
	readonly labelKind: "class" | "number" | "none";
	/** Column that names the records. */
	readonly keyColumn?: string | undefined;
}

/** How a description's records are read from CSV. */
export function csvOptionsOf({ label, key }: DataDescription): CsvOptions {
	return {
		labelColumn: label.kind === "none" ? undefined : label.column,
		labelKind: label.kind,
		keyColumn: key,
	};
}

/**
 * Read a CSV file (plain or gzip). Cell contents never appear in an error: they are records.
 * @throws AlthingError `data.unreadable`, `data.empty`, `data.malformed` (ragged row, stray quote),
 *   `data.missing_label_column`, `data.missing_key_column`, `data.duplicate_column`, `data.not_numeric`,
 *   `data.missing_label`, `data.missing_key`, `data.duplicate_key`; file, line and column are named
 */
export function readCsv(path: string, options: CsvOptions): Dataset {
	const records = parseRecords(path);
	const header = records[0]?.record;
	if (header === undefined || records.length < 2) throw noRecords(path);
	const { labelIndex, keyIndex } = columnPlaces(path, header, options);
	const columns = header.filter((_, i) => i !== labelIndex && i !== keyIndex);
	const rows = records.length - 1;
	const features = new Float32Array(rows * columns.length);
	const labels = new Float32Array(rows);
	const classes = new Map<string, number>();
	const keys = new Set<string>();
	for (let row = 0; row < rows; row++) {
		const { record, info } = records[row + 1]!;
		let target = row * columns.length;
		for (const [i, cell] of record.entries()) {
			const isLabel = i === labelIndex;
			if (i === keyIndex) {
				if (cell === "") throw missingCell(path, info.lines, header[i]!, "key");
				if (keys.has(cell)) throw duplicateKey(path, info.lines, header[i]!);
				keys.add(cell);
				continue;
			}
			if (isLabel && options.labelKind === "class") {
				if (cell === "") throw missingCell(path, info.lines, header[i]!, "label");
				if (!classes.has(cell)) classes.set(cell, classes.size);
				labels[row] = classes.get(cell)!;
				continue;
			}
			const value = cell === "" ? Number.NaN : Math.fround(Number(cell));
			if (!Number.isFinite(value)) throw notNumeric(path, info.lines, header[i]!);
			if (isLabel) labels[row] = value;
			else features[target++] = value;
		}
	}
	const labelNames = [...classes.keys()];
	return { features, labels, rows, columns, labelNames, ...(keyIndex < 0 ? {} : { keys: [...keys] }) };
}

/**
 * Places of the label and the key column in a header; -1 where none is asked for.
 * @throws AlthingError `data.duplicate_column`, `data.missing_label_column`, `data.missing_key_column`
 */
export function columnPlaces(
	path: string,
	header: readonly string[],
	{ labelColumn, keyColumn }: Pick<CsvOptions, "labelColumn" | "keyColumn">,
): { readonly labelIndex: number; readonly keyIndex: number } {
	const duplicate = header.find((name, i) => header.indexOf(name) !== i);
	if (duplicate !== undefined) {
		throw new AlthingError(
			"data.duplicate_column",
			`Data file ${path} names column "${duplicate}" twice in its header. Rename one.`,
			{ path, column: duplicate },
		);
	}
	return {
		labelIndex: indexOf(path, header, labelColumn, "label"),
		keyIndex: indexOf(path, header, keyColumn, "key"),
	};
}

function indexOf(
	path: string,
	header: readonly string[],
	column: string | undefined,
	purpose: "label" | "key",
): number {
	const index = column === undefined ? -1 : header.indexOf(column);
	if (column === undefined || index >= 0) return index;
	throw new AlthingError(
		`data.missing_${purpose}_column`,
		`Data file ${path} has no column "${column}" for the ${purpose}. Its header has: ${header.join(", ")}. Name one of these as the ${purpose} column.`,
		{ path, column },
	);
}

interface ParsedRecord {
	readonly record: string[];
	readonly info: { readonly lines: number };
}

function parseRecords(path: string): ParsedRecord[] {
	try {
		return parse(readDataFile(path), {
			bom: true,
			info: true,
			skip_empty_lines: true,
			trim: true,
		}) as unknown as ParsedRecord[];
	} catch (error) {
		if (!(error instanceof CsvError)) throw error;
		// The parser's own message quotes cells, so it is not passed on.
		throw malformed(path, error.lines as number | undefined, REASONS[error.code]);
	}
}

/** @param reason what is wrong with the line, where that is known */
export function malformed(
	path: string,
	line: number | undefined,
	reason = "it is not well-formed CSV",
): AlthingError {
	return new AlthingError(
		"data.malformed",
		`Data file ${path}, line ${line ?? "unknown"}: ${reason}. Correct the line or export the file again as comma-separated text.`,
		{ path, line },
	);
}

export function noRecords(path: string): AlthingError {
	return new AlthingError(
		"data.empty",
		`Data file ${path} has no records below its header row. Point the data set at a file with records.`,
		{ path },
	);
}

export const RAGGED = "it has a different number of cells than the header";
const REASONS: Readonly<Record<string, string>> = {
	CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: RAGGED,
	CSV_QUOTE_NOT_CLOSED: "a quoted cell is never closed",
	CSV_INVALID_CLOSING_QUOTE: "a quote stands in the middle of a cell",
	INVALID_OPENING_QUOTE: "a quote stands in the middle of a cell",
};

export function notNumeric(path: string, line: number, column: string): AlthingError {
	return new AlthingError(
		"data.not_numeric",
		`Data file ${path}, line ${line}, column "${column}": the cell is empty or not a finite number. Fill or remove the record, or drop the column.`,
		{ path, line, column },
	);
}

function missingCell(path: string, line: number, column: string, purpose: "label" | "key"): AlthingError {
	return new AlthingError(
		`data.missing_${purpose}`,
		`Data file ${path}, line ${line}: the ${purpose} column "${column}" is empty. Fill it or remove the record.`,
		{ path, line, column },
	);
}

function duplicateKey(path: string, line: number, column: string): AlthingError {
	return new AlthingError(
		"data.duplicate_key",
		`Data file ${path}, line ${line}: the key column "${column}" repeats a key of an earlier line. Every record needs a key of its own.`,
		{ path, line, column },
	);
}
