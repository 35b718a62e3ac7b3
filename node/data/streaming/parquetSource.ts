/** Passes over a Parquet file: numeric and boolean columns as features, the label of any type that has a text. */
import { AlthingError } from "../../../crypto/error.ts";
import type { RecordSource, StreamedLabel } from "../../../src/data/columns.ts";
import { columnPlaces } from "../../../src/data/csv.ts";
import { type EngineLimits, type LockedEngine, openLockedEngine, sqlText } from "./lockedEngine.ts";
import { type Table, type TableColumn, TableSource } from "./tableSource.ts";

const NUMERIC = /^(?:U?(?:TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT)|FLOAT|DOUBLE|BOOLEAN|DECIMAL\(\d+,\d+\))$/;

/**
 * @throws AlthingError `data.unreadable`, `data.duplicate_column`, `data.missing_label_column`,
 *   `data.not_numeric` for a feature column of another type
 */
export async function openParquet(
	path: string,
	label: StreamedLabel,
	limits: EngineLimits,
): Promise<RecordSource> {
	const engine = await openLockedEngine([path], limits);
	try {
		return await parquetIn(engine, path, `Data file ${path}`, label);
	} catch (error) {
		engine.close();
		throw error;
	}
}

/** The engine's column of a record's place in the file. */
const PLACE = "file_row_number";

/** Row groups are read in any order at no cost: the engine looks at no others. */
function seekableParquet(location: string): NonNullable<Table["seekable"]> {
	return {
		place: PLACE,
		from: `read_parquet(${sqlText(location)}, ${PLACE} = true)`,
		parts: `SELECT row_group_num_rows FROM parquet_metadata(${sqlText(location)}) WHERE column_id = 0 ORDER BY row_group_id`,
	};
}

/** A Parquet file that an engine may read, by path or address. */
export async function parquetIn(
	engine: LockedEngine,
	location: string,
	name: string,
	label: StreamedLabel,
): Promise<RecordSource> {
	const explain = () =>
		new AlthingError(
			"data.unreadable",
			`${name} cannot be read as Parquet: it is missing, damaged or no such file. Check it, and that the daemon's user may read it.`,
			{ source: name },
		);
	const from = `read_parquet(${sqlText(location)})`;
	let described: TableColumn[];
	try {
		const result = await engine.connection.run(`SELECT * FROM ${from} LIMIT 0`);
		described = result.columnNames().map((column, i) => {
			return { name: column, sqlName: column, type: String(result.columnType(i)) };
		});
	} catch {
		throw explain();
	}
	const { labelIndex } = columnPlaces(
		name,
		described.map((column) => column.name),
		{ labelColumn: label.column },
	);
	for (const [i, column] of described.entries()) {
		const isClass = i === labelIndex && label.kind === "class";
		if (isClass || NUMERIC.test(column.type)) continue;
		throw new AlthingError(
			"data.not_numeric",
			`${name}, column "${column.name}": values of type ${column.type} are no numbers. Encode or drop the column.`,
			{ source: name, column: column.name },
		);
	}
	const columns = described.filter((_, i) => i !== labelIndex);
	const table = { name, from, columns, label: described[labelIndex]!, explain };
	// A column of that name in the file hides the engine's own.
	const seekable = described.some((column) => column.name.toLowerCase() === PLACE)
		? {}
		: { seekable: seekableParquet(location) };
	return new TableSource(engine, { ...table, ...seekable }, label);
}
