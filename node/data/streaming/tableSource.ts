/** Passes over one table that the locked engine reads: columns as float32, labels as places in the public list. */
import type { DuckDBResult } from "@duckdb/node-api";
import bindings, { type DataChunk } from "@duckdb/node-bindings";
import type { AlthingError } from "../../../crypto/error.ts";
import type { ColumnChunk, RecordSource, SourcePart, StreamedLabel } from "../../../src/data/columns.ts";
import { type LockedEngine, sqlName, sqlText } from "./lockedEngine.ts";

/** Whitespace that the reader of whole files trims, too. */
const BLANKS = " \t\n\r\f\v\u00a0";

export interface Table {
	readonly name: string;
	/** What stands behind FROM. */
	readonly from: string;
	/** Where records can be read from any place on. */
	readonly seekable?: {
		/** A column with the records' places, and what stands behind FROM for that. */
		readonly place: string;
		readonly from: string;
		/** A query of one column: the number of records of each part, in order. */
		readonly parts: string;
	};
	/** Feature columns. */
	readonly columns: readonly TableColumn[];
	readonly label: TableColumn;
	/** The engine's error as ours: its own message may quote a record. */
	readonly explain: (error: unknown) => AlthingError;
}

export interface TableColumn {
	/** In errors. */
	readonly name: string;
	readonly sqlName: string;
	/** The engine's type. */
	readonly type: string;
}

export class TableSource implements RecordSource {
	readonly name: string;
	readonly columns: readonly string[];
	readonly #engine: LockedEngine;
	readonly #table: Table;
	/** What is asked of each record. */
	readonly #selected: string;
	#closed = false;

	constructor(engine: LockedEngine, table: Table, label: StreamedLabel) {
		this.name = table.name;
		this.columns = table.columns.map(({ name }) => name);
		this.#engine = engine;
		this.#table = table;
		const selected = [
			...table.columns.map(number),
			label.kind === "class" ? place(sqlName(table.label.sqlName), label.classes) : number(table.label),
		];
		this.#selected = selected.join(", ");
	}

	async parts(): Promise<readonly SourcePart[] | undefined> {
		const { seekable } = this.#table;
		if (seekable === undefined) return undefined;
		const result = await this.#asked(() => this.#engine.connection.runAndReadAll(seekable.parts));
		let first = 0;
		return result.getRows().map(([count]) => {
			const rows = Number(count);
			first += rows;
			return { first: first - rows, rows };
		});
	}

	async *chunks(parts?: readonly SourcePart[]): AsyncIterable<ColumnChunk> {
		const { from, seekable } = this.#table;
		const room = Array.from({ length: this.columns.length + 1 }, () => new Float32Array(0));
		if (parts === undefined || seekable === undefined) {
			yield* this.#chunksOf(`SELECT ${this.#selected} FROM ${from}`, room);
			return;
		}
		for (const { first, rows } of parts) {
			const within = `${seekable.place} BETWEEN ${first} AND ${first + rows - 1}`;
			let read = 0;
			const query = `SELECT ${this.#selected} FROM ${seekable.from} WHERE ${within}`;
			for await (const chunk of this.#chunksOf(query, room)) {
				yield { ...chunk, first: first + read };
				read += chunk.rows;
			}
		}
	}

	async *#chunksOf(query: string, room: Float32Array[]): AsyncIterable<ColumnChunk> {
		const result = await this.#asked(() => this.#engine.connection.stream(query));
		for (;;) {
			const rows = await this.#copyNext(result, room);
			if (rows === 0) return;
			yield { rows, columns: room.slice(0, -1), labels: room.at(-1)! };
		}
	}

	/**
	 * By itself, so that nothing holds the engine's chunk while its copy is worked on: an object that
	 * outlives a few collections waits for a full one, and half a megabyte with it.
	 * @returns the number of rows, 0 at the end
	 */
	async #copyNext(result: DuckDBResult, room: Float32Array[]): Promise<number> {
		const fetched = await this.#asked(() => result.fetchChunk());
		return fetched === null || fetched.rowCount === 0 ? 0 : copyColumns(fetched.chunk, room);
	}

	interrupt(): void {
		this.#engine.connection.interrupt();
	}

	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		this.#engine.close();
	}

	async #asked<T>(ask: () => Promise<T>): Promise<T> {
		try {
			return await ask();
		} catch (error) {
			throw this.#table.explain(error);
		}
	}
}

/**
 * Copies the columns of a chunk out of the engine's memory, which goes with the chunk.
 * @param room one array per column, replaced where it is too small
 * @returns the number of rows
 */
function copyColumns(chunk: DataChunk, room: Float32Array[]): number {
	const rows = bindings.data_chunk_get_size(chunk);
	for (let column = 0; column < room.length; column++) {
		if (room[column]!.length < rows) room[column] = new Float32Array(rows);
		const vector = bindings.data_chunk_get_vector(chunk, column);
		const bytes = bindings.vector_get_data(vector, rows * Float32Array.BYTES_PER_ELEMENT);
		room[column]!.set(new Float32Array(bytes.buffer, bytes.byteOffset, rows));
	}
	return rows;
}

/** Rounded to double first, then to float32, as a number in a text file is. Missing or out of range: NaN. */
function number({ sqlName: name, type }: TableColumn): string {
	const column = sqlName(name);
	const double = type === "DOUBLE" ? column : `CAST(${column} AS DOUBLE)`;
	return `coalesce(${type === "FLOAT" ? column : `TRY_CAST(${double} AS FLOAT)`}, 'NaN'::FLOAT)`;
}

/** NaN where there is no label, -1 for one outside the list. */
function place(column: string, classes: readonly string[]): string {
	const text = `trim(CAST(${column} AS VARCHAR), ${sqlText(BLANKS)})`;
	const list = classes.map(sqlText).join(", ");
	return `CAST(CASE WHEN ${column} IS NULL OR ${text} = '' THEN 'NaN'::FLOAT ELSE coalesce(enum_code(TRY_CAST(${text} AS ENUM (${list}))), -1) END AS FLOAT)`;
}
