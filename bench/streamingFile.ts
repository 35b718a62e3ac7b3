/**
 * Writes a file of random records for the streaming bench, in a process of its own, so that what the
 * writer takes of memory is not in the figures: `node streamingFile.ts FILE ROWS FEATURES`.
 */
import { DuckDBInstance } from "@duckdb/node-api";

/** Drawn once and written again and again: no row group is long enough to see a value twice. */
const BASE_ROWS = 131_072;

const [path = "", rows = "", features = ""] = process.argv.slice(2);
const instance = await DuckDBInstance.create(":memory:", {
	memory_limit: "2GB",
	preserve_insertion_order: "false",
});
const connection = await instance.connect();
const names = Array.from({ length: Number(features) }, (_, i) => `x${i}`);
const columns = names.map((name) => `CAST(random() * 16 AS FLOAT) AS ${name}`);
await connection.run(
	`CREATE TABLE base AS SELECT ${columns.join(", ")}, CAST(range % 10 AS VARCHAR) AS label FROM range(${Math.min(BASE_ROWS, Number(rows))})`,
);
const repeats = Math.ceil(Number(rows) / BASE_ROWS);
const format = path.endsWith(".csv")
	? "FORMAT csv, HEADER"
	: "FORMAT parquet, ROW_GROUP_SIZE 122880, COMPRESSION uncompressed, DICTIONARY_SIZE_LIMIT 1";
await connection.run(
	`COPY (SELECT base.* FROM range(${repeats}) CROSS JOIN base LIMIT ${Number(rows)}) TO '${path}' (${format})`,
);
connection.closeSync();
instance.closeSync();
