/**
 * Writes a file of random records for the streaming bench, in a process of its own, so that what the
 * writer takes of memory is not in the figures: `node streamingFile.ts FILE ROWS FEATURES`.
 */
import { DuckDBInstance } from "@duckdb/node-api";

const [path = "", rows = "", features = ""] = process.argv.slice(2);
const instance = await DuckDBInstance.create(":memory:", {
	memory_limit: "2GB",
	preserve_insertion_order: "false",
});
const connection = await instance.connect();
const columns = Array.from({ length: Number(features) }, (_, i) => `CAST(random() * 16 AS FLOAT) AS x${i}`);
const format = path.endsWith(".csv") ? "FORMAT csv, HEADER" : "FORMAT parquet, ROW_GROUP_SIZE 32768";
await connection.run(
	`COPY (SELECT ${columns.join(", ")}, CAST(range % 10 AS VARCHAR) AS label FROM range(${Number(rows)})) TO '${path}' (${format})`,
);
connection.closeSync();
instance.closeSync();
