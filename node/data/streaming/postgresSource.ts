/**
 * Passes over a Postgres table through a server-side cursor, in one read-only transaction of one
 * snapshot. TLS with a verified certificate unless the server is on this machine. Errors of the server
 * can quote values and are never passed on: what is told is their SQLSTATE.
 */
import { readFile } from "node:fs/promises";
import { Socket } from "node:net";
import pg from "pg";
import { AlthingError } from "../../../crypto/error.ts";
import type { ColumnChunk, RecordSource, StreamedLabel } from "../../../src/data/columns.ts";
import { columnPlaces } from "../../../src/data/csv.ts";
import { databaseCredentialsSchema, readCredentials } from "./credentials.ts";
import { sqlName } from "./lockedEngine.ts";

export interface PostgresTable {
	readonly host: string;
	readonly port: number;
	readonly database: string;
	readonly schema: string;
	readonly table: string;
	readonly credentialsFile: string;
}

const FETCHED_ROWS = 4096;
const CONNECT_TIMEOUT_MS = 15_000;
const NUMERIC = new Set(["smallint", "integer", "bigint", "numeric", "real", "double precision", "boolean"]);

/**
 * @throws AlthingError `data.credentials`, `data.untrusted_server`, `data.access_refused`, `data.unreachable`,
 *   `data.unreadable`, `data.not_numeric` for a feature column of another type, `data.missing_label_column`
 */
export async function openPostgres(table: PostgresTable, label: StreamedLabel): Promise<RecordSource> {
	const name = nameOf(table);
	const { client, socket } = await connect(table, name);
	try {
		// What is asked for has no value of a record in it: a plan, and column names.
		await client.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
		const { rows } = await client.query<[string, string]>({
			text: "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2 ORDER BY ordinal_position",
			values: [table.schema, table.table],
			rowMode: "array",
		});
		if (rows.length === 0)
			throw new AlthingError(
				"data.unreadable",
				`${name} does not exist, or the role in ${table.credentialsFile} may not read it.`,
				{ source: name },
			);
		const header = rows.map(([column]) => column);
		const { labelIndex } = columnPlaces(name, header, { labelColumn: label.column });
		const selected = rows.map(([column, type], i) =>
			expression(name, column, type, i === labelIndex && label.kind === "class"),
		);
		const query = `SELECT ${selected.join(", ")} FROM ${sqlName(table.schema)}.${sqlName(table.table)}`;
		return new PostgresSource({ name, client, socket, query, header, labelIndex, label });
	} catch (error) {
		socket.destroy();
		throw explained(error, name);
	}
}

function nameOf({ host, port, database, schema, table }: PostgresTable): string {
	return `Table ${schema}.${table} of postgres://${host}:${port}/${database}`;
}

async function connect(table: PostgresTable, name: string): Promise<{ client: pg.Client; socket: Socket }> {
	const { host, port, database } = table;
	const credentials = await readCredentials(table.credentialsFile, databaseCredentialsSchema);
	const { user, password, certificateAuthority } = credentials;
	const ca = certificateAuthority === undefined ? undefined : await readFile(certificateAuthority);
	const socket = new Socket();
	const client = new pg.Client({
		host,
		port,
		database,
		user,
		password,
		// Stated always: what is left out is taken from the environment.
		ssl: isLoopback(host)
			? false
			: { rejectUnauthorized: true, minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) },
		stream: () => socket,
		connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
		keepAlive: true,
		application_name: "althing",
		options: "-c default_transaction_read_only=on -c extra_float_digits=3",
	});
	// A connection lost between two questions is told to the next one.
	client.on("error", () => {});
	try {
		await client.connect();
		return { client, socket };
	} catch (error) {
		socket.destroy();
		throw explained(error, name);
	}
}

/** Numbers as doubles, the label of a class as text. */
function expression(name: string, column: string, type: string, isClass: boolean): string {
	const quoted = sqlName(column);
	if (isClass) return `${quoted}::text`;
	if (type === "boolean") return `${quoted}::int::float8`;
	if (NUMERIC.has(type)) return `${quoted}::float8`;
	throw new AlthingError(
		"data.not_numeric",
		`${name}, column "${column}": values of type ${type} are no numbers. Encode the column, or make a view without it.`,
		{ source: name, column },
	);
}

interface Opened {
	readonly name: string;
	readonly client: pg.Client;
	readonly socket: Socket;
	readonly query: string;
	readonly header: readonly string[];
	readonly labelIndex: number;
	readonly label: StreamedLabel;
}

type Cell = number | string | null;

class PostgresSource implements RecordSource {
	readonly name: string;
	readonly columns: readonly string[];
	readonly #opened: Opened;
	/** Place of each class in the public list. */
	readonly #classes: ReadonlyMap<string, number>;

	constructor(opened: Opened) {
		const { name, header, labelIndex, label } = opened;
		this.name = name;
		this.columns = header.filter((_, i) => i !== labelIndex);
		this.#opened = opened;
		this.#classes = new Map(label.kind === "class" ? label.classes.map((one, i) => [one, i]) : []);
	}

	async *chunks(): AsyncIterable<ColumnChunk> {
		const { client, query, name } = this.#opened;
		try {
			await client.query(`DECLARE records NO SCROLL CURSOR FOR ${query}`);
			for (;;) {
				const { rows } = await client.query<Cell[]>({
					text: `FETCH FORWARD ${FETCHED_ROWS} FROM records`,
					rowMode: "array",
				});
				if (rows.length === 0) break;
				yield this.#columnsOf(rows);
			}
			await client.query("CLOSE records");
		} catch (error) {
			throw explained(error, name);
		}
	}

	interrupt(): void {
		this.#opened.socket.destroy();
	}

	async close(): Promise<void> {
		const { client, socket } = this.#opened;
		// Nothing was written; the server drops the transaction with the connection.
		await client.end().catch(() => {});
		socket.destroy();
	}

	#columnsOf(rows: readonly (readonly Cell[])[]): ColumnChunk {
		const { header, labelIndex, label } = this.#opened;
		const all = header.map((_, column) =>
			column === labelIndex && label.kind === "class"
				? Float32Array.from(rows, (row) => this.#placeOf(row[column] as string | null))
				: Float32Array.from(rows, (row) => (row[column] as number | null) ?? Number.NaN),
		);
		const [labels] = all.splice(labelIndex, 1) as [Float32Array];
		return { rows: rows.length, columns: all, labels };
	}

	#placeOf(text: string | null): number {
		const trimmed = text?.trim() ?? "";
		return trimmed === "" ? Number.NaN : (this.#classes.get(trimmed) ?? -1);
	}
}

/** Without what the server said. */
function explained(error: unknown, name: string): AlthingError {
	if (error instanceof AlthingError) return error;
	const { code = "", message = "" } = error as { code?: string; message?: string };
	const told = (kind: string, what: string) =>
		new AlthingError(`data.${kind}`, `${name}: ${what}.`, { source: name, reason: code });
	if (message.includes("does not support SSL"))
		return told("untrusted_server", "the server does not offer TLS, which is required beyond this machine");
	if (/CERT|SELF_SIGNED|ISSUER|ALTNAME/.test(code))
		return told(
			"untrusted_server",
			`the server's certificate cannot be verified (${code}); name its authority in the credentials file`,
		);
	if (/^28/.test(code) || code === "42501")
		return told("access_refused", `the server refuses the role in the credentials file (SQLSTATE ${code})`);
	if (/^[0-9A-Z]{5}$/.test(code)) return told("unreadable", `the server cannot answer (SQLSTATE ${code})`);
	return told("unreachable", `the connection failed (${code || "it was closed"})`);
}

function isLoopback(host: string): boolean {
	return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
