/**
 * Passes over a CSV file, plain or gzip, by the rules of the reader of whole files (src/data/csv.ts):
 * the same header, cells and refusals. Two things it does not see: digits grouped by underscores count
 * as a number, and blanks inside a quoted label are trimmed, too.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { CsvError, parse } from "csv-parse";
import { AlthingError } from "../../../crypto/error.ts";
import type { RecordSource, StreamedLabel } from "../../../src/data/columns.ts";
import { columnPlaces, malformed, noRecords, notNumeric, RAGGED } from "../../../src/data/csv.ts";
import { type EngineLimits, openLockedEngine, sqlText } from "./lockedEngine.ts";
import { TableSource } from "./tableSource.ts";

/**
 * @throws AlthingError `data.unreadable`, `data.malformed`, `data.empty`, `data.duplicate_column`,
 *   `data.missing_label_column`; a pass over it also `data.not_numeric`
 */
export async function openCsv(
	path: string,
	label: StreamedLabel,
	limits: EngineLimits,
): Promise<RecordSource> {
	const gzip = await startsLikeGzip(path);
	const { header, linesAbove } = await readHeader(path, gzip);
	const { labelIndex } = columnPlaces(path, header, { labelColumn: label.column });
	const named = header.map((name, i) => ({
		name,
		sqlName: `c${i}`,
		type: i === labelIndex && label.kind === "class" ? "VARCHAR" : "DOUBLE",
	}));
	const types = named.map(({ sqlName, type }) => `${sqlText(sqlName)}: ${sqlText(type)}`);
	const from =
		`read_csv(${sqlText(path)}, auto_detect = false, strict_mode = true, header = true, skip = ${linesAbove}, ` +
		`delim = ',', quote = '"', escape = '"', comment = '', nullstr = '', compression = '${gzip ? "gzip" : "none"}', ` +
		`columns = {${types.join(", ")}})`;
	const engine = await openLockedEngine([path], limits);
	const columns = named.filter((_, i) => i !== labelIndex);
	const table = { name: `Data file ${path}`, from, columns, label: named[labelIndex]! };
	return new TableSource(engine, { ...table, explain: explainer(path, header) }, label);
}

/**
 * Unpacks a gzip file once, for its checksum: the engine reads a file that was cut short as far as it
 * goes and says nothing. Does nothing for a plain file.
 * @throws AlthingError `data.unreadable`
 */
export async function requireWholeGzip(path: string): Promise<void> {
	if (!(await startsLikeGzip(path))) return;
	const discard = new Writable({ write: (_chunk, _encoding, done) => done() });
	await pipeline(createReadStream(path), createGunzip(), discard).catch((cause) => {
		throw unreadable(path, "it starts like gzip but cannot be unpacked; it may be cut short", cause);
	});
}

async function startsLikeGzip(path: string): Promise<boolean> {
	const file = await open(path).catch((cause: NodeJS.ErrnoException) => {
		throw unreadable(path, cause.code ?? "unknown reason", cause);
	});
	try {
		const { buffer, bytesRead } = await file.read(Buffer.alloc(2), 0, 2, 0);
		if (bytesRead === 0) throw noRecords(path);
		return buffer[0] === 0x1f && buffer[1] === 0x8b;
	} finally {
		await file.close();
	}
}

/** The header's names, and how many empty lines stand above it. */
async function readHeader(
	path: string,
	gzip: boolean,
): Promise<{ readonly header: string[]; readonly linesAbove: number }> {
	const file = createReadStream(path);
	const parser = parse({ bom: true, info: true, skip_empty_lines: true, trim: true, to: 1 });
	try {
		const bytes = gzip ? file.pipe(createGunzip()) : file;
		for (const stream of [file, bytes]) stream.on("error", (error: Error) => parser.destroy(error));
		for await (const { record, info } of bytes.pipe(parser)) {
			return { header: record, linesAbove: info.lines - 1 };
		}
	} catch (error) {
		if (error instanceof CsvError) throw malformed(path, error.lines as number | undefined);
		throw unreadable(path, (error as NodeJS.ErrnoException).code ?? "broken gzip");
	} finally {
		file.destroy();
	}
	throw noRecords(path);
}

function unreadable(path: string, why: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"data.unreadable",
		`Cannot read data file ${path} (${why}). Check that it exists, that the daemon's user may read it, and that it is whole.`,
		{ path },
		cause === undefined ? {} : { cause },
	);
}

/** What the engine says quotes lines of the file, so that only places are taken from it. */
function explainer(path: string, header: readonly string[]): (error: unknown) => AlthingError {
	return (error) => {
		const said = error instanceof Error ? error.message : "";
		const line = /^.*CSV Error on Line: (\d+)$/m.exec(said)?.[1];
		const at = line === undefined ? undefined : Number(line);
		const column = /^Error when converting column "c(\d+)"\./m.exec(said)?.[1];
		if (column !== undefined && at !== undefined) {
			return notNumeric(path, at, header[Number(column)] ?? "");
		}
		if (/^Expected Number of Columns: /m.test(said)) return malformed(path, at, RAGGED);
		if (/^Value with unterminated quote found/m.test(said))
			return malformed(path, at, "a quoted cell is never closed");
		return said.startsWith("IO Error")
			? unreadable(path, "it cannot be read to its end")
			: malformed(path, at);
	};
}
