/** CSV with a header row: numeric features and one label column. */
import { CsvError, parse } from "csv-parse/sync";
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "./dataset.ts";
import { readDataFile } from "./file.ts";

export interface CsvOptions {
	readonly labelColumn: string;
	/** `class`: any text, collected into `labelNames` in order of appearance; `number`: a numeric target. */
	readonly labelKind: "class" | "number";
}

/**
 * Read a CSV file (plain or gzip). Cell contents never appear in an error: they are records.
 * @throws AlthingError `data.unreadable`, `data.empty`, `data.malformed` (ragged row, stray quote),
 *   `data.missing_label_column`, `data.duplicate_column`, `data.not_numeric`, `data.missing_label`; file, line and column are named
 */
export function readCsv(path: string, options: CsvOptions): Dataset {
	const records = parseRecords(path);
	const header = records[0]?.record;
	if (header === undefined || records.length < 2) {
		throw new AlthingError(
			"data.empty",
			`Data file ${path} has no records below its header row. Point the data set at a file with records.`,
			{ path },
		);
	}
	const duplicate = header.find((name, i) => header.indexOf(name) !== i);
	if (duplicate !== undefined) {
		throw new AlthingError(
			"data.duplicate_column",
			`Data file ${path} names column "${duplicate}" twice in its header. Rename one.`,
			{ path, column: duplicate },
		);
	}
	const labelIndex = header.indexOf(options.labelColumn);
	if (labelIndex < 0) {
		throw new AlthingError(
			"data.missing_label_column",
			`Data file ${path} has no column "${options.labelColumn}" for the label. Its header has: ${header.join(", ")}. Name one of these as the label column.`,
			{ path, column: options.labelColumn },
		);
	}
	const columns = header.filter((_, i) => i !== labelIndex);
	const rows = records.length - 1;
	const features = new Float32Array(rows * columns.length);
	const labels = new Float32Array(rows);
	const classes = new Map<string, number>();
	for (let row = 0; row < rows; row++) {
		const { record, info } = records[row + 1]!;
		let target = row * columns.length;
		for (const [i, cell] of record.entries()) {
			const isLabel = i === labelIndex;
			if (isLabel && options.labelKind === "class") {
				if (cell === "") throw missingLabel(path, info.lines, options.labelColumn);
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
	return { features, labels, rows, columns, labelNames: [...classes.keys()] };
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
		const line = error.lines as number | undefined;
		const reason = REASONS[error.code] ?? "it is not well-formed CSV";
		// The parser's own message quotes cells, so it is not passed on.
		throw new AlthingError(
			"data.malformed",
			`Data file ${path}, line ${line ?? "unknown"}: ${reason}. Correct the line or export the file again as comma-separated text.`,
			{ path, line, parserCode: error.code },
		);
	}
}

const REASONS: Readonly<Record<string, string>> = {
	CSV_RECORD_INCONSISTENT_FIELDS_LENGTH: "it has a different number of cells than the header",
	CSV_QUOTE_NOT_CLOSED: "a quoted cell is never closed",
	CSV_INVALID_CLOSING_QUOTE: "a quote stands in the middle of a cell",
	INVALID_OPENING_QUOTE: "a quote stands in the middle of a cell",
};

function notNumeric(path: string, line: number, column: string): AlthingError {
	return new AlthingError(
		"data.not_numeric",
		`Data file ${path}, line ${line}, column "${column}": the cell is empty or not a finite number. Fill or remove the record, or drop the column.`,
		{ path, line, column },
	);
}

function missingLabel(path: string, line: number, column: string): AlthingError {
	return new AlthingError(
		"data.missing_label",
		`Data file ${path}, line ${line}: the label column "${column}" is empty. Label or remove the record.`,
		{ path, line, column },
	);
}
