/**
 * As much of a Postgres server as a cursor needs (protocol 3.0, postgresql.org/docs/current/protocol.html):
 * password in clear, simple and extended queries answered from a script, TLS if it has a certificate.
 */
import { createServer, type Socket } from "node:net";
import { TLSSocket } from "node:tls";

export type Cell = string | null;

export interface ScriptedTable {
	/** Name and SQL type, in order. */
	readonly columns: readonly (readonly [name: string, type: string])[];
	readonly rows: readonly (readonly Cell[])[];
}

export interface Script {
	readonly password: string;
	readonly table: ScriptedTable;
	readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
	/** SQLSTATE that answers a statement which contains the text; the message quotes a record. */
	readonly fails?: { readonly on: string; readonly sqlState: string };
}

export interface ScriptedPostgres {
	readonly port: number;
	/** Statements that were run, in order. */
	readonly statements: string[];
	/** What clients sent before anything else. */
	readonly greetings: ("tls" | "plain")[];
	close(): Promise<void>;
}

const FLOAT8 = 701;
const TEXT = 25;
const SSL_REQUEST = 80877103;

export async function scriptedPostgres(script: Script): Promise<ScriptedPostgres> {
	const statements: string[] = [];
	const greetings: ("tls" | "plain")[] = [];
	const sockets = new Set<Socket>();
	const server = createServer((socket) => {
		sockets.add(socket);
		socket.on("error", () => {});
		socket.on("close", () => sockets.delete(socket));
		new Session(socket, script, statements, greetings).greet(socket);
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	if (address === null || typeof address === "string") throw new Error("no port");
	return {
		port: address.port,
		statements,
		greetings,
		close: async () => {
			for (const socket of sockets) socket.destroy();
			await new Promise((resolve) => server.close(resolve));
		},
	};
}

class Session {
	readonly #raw: Socket;
	readonly #script: Script;
	readonly #statements: string[];
	readonly #greetings: ("tls" | "plain")[];
	#out: Socket;
	#bytes = Buffer.alloc(0);
	#started = false;
	#cursor = 0;
	#parsed = "";

	constructor(raw: Socket, script: Script, statements: string[], greetings: ("tls" | "plain")[]) {
		this.#raw = raw;
		this.#out = raw;
		this.#script = script;
		this.#statements = statements;
		this.#greetings = greetings;
	}

	greet(socket: Socket): void {
		socket.on("data", (data: Buffer) => {
			this.#bytes = Buffer.concat([this.#bytes, data]);
			while (this.#next()) {}
		});
	}

	/** Handles one message; false when none is complete. */
	#next(): boolean {
		const head = this.#started ? 1 : 0;
		if (this.#bytes.length < head + 4) return false;
		const length = this.#bytes.readUInt32BE(head);
		if (this.#bytes.length < head + length) return false;
		const type = this.#started ? String.fromCharCode(this.#bytes[0]!) : "";
		const body = this.#bytes.subarray(head + 4, head + length);
		this.#bytes = this.#bytes.subarray(head + length);
		if (this.#started) this.#message(type, body);
		else this.#startup(body);
		return true;
	}

	#startup(body: Buffer): void {
		if (body.readUInt32BE(0) !== SSL_REQUEST) {
			if (this.#out === this.#raw) this.#greetings.push("plain");
			this.#started = true;
			this.#send("R", int32(3));
			return;
		}
		this.#greetings.push("tls");
		const { tls } = this.#script;
		this.#raw.write(tls === undefined ? "N" : "S");
		if (tls === undefined) return;
		this.#raw.removeAllListeners("data");
		const secure = new TLSSocket(this.#raw, { isServer: true, ...tls });
		secure.on("error", () => {});
		this.#out = secure;
		this.greet(secure);
	}

	#message(type: string, body: Buffer): void {
		const steps: Readonly<Record<string, () => void>> = {
			p: () => this.#authenticate(text(body)),
			Q: () => {
				this.#answer(text(body), true);
				this.#ready();
			},
			P: () => {
				this.#parsed = text(body.subarray(body.indexOf(0) + 1));
				this.#send("1");
			},
			B: () => this.#send("2"),
			D: () => this.#describe([TEXT, TEXT]),
			E: () => this.#answer(this.#parsed, false),
			S: () => this.#ready(),
			X: () => this.#out.end(),
		};
		steps[type]?.();
	}

	#authenticate(password: string): void {
		if (password === this.#script.password) {
			this.#send("R", int32(0));
			this.#ready();
		} else this.#error("28P01");
	}

	#answer(statement: string, described: boolean): void {
		this.#statements.push(statement);
		const { table, fails } = this.#script;
		if (fails !== undefined && statement.includes(fails.on)) this.#error(fails.sqlState);
		else if (statement.includes("information_schema")) {
			// The one extended query: described before it is run.
			this.#rowsOf([TEXT, TEXT], table.columns, described);
			this.#send("C", zeroed(`SELECT ${table.columns.length}`));
		} else if (statement.startsWith("FETCH")) {
			const count = Number(/\d+/.exec(statement)?.[0]);
			const rows = table.rows.slice(this.#cursor, this.#cursor + count);
			this.#cursor += rows.length;
			const types = table.columns.map(([, kind]) => (kind === "text" ? TEXT : FLOAT8));
			this.#rowsOf(types, rows, true);
			this.#send("C", zeroed(`FETCH ${rows.length}`));
		} else {
			if (statement.startsWith("DECLARE")) this.#cursor = 0;
			this.#send("C", zeroed(statement.split(" ")[0] ?? ""));
		}
	}

	#rowsOf(types: readonly number[], rows: readonly (readonly Cell[])[], described: boolean): void {
		if (described) this.#describe(types);
		for (const row of rows) {
			const cells = row.map((cell) =>
				cell === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(cell)), Buffer.from(cell)]),
			);
			this.#send("D", Buffer.concat([int16(row.length), ...cells]));
		}
	}

	#describe(types: readonly number[]): void {
		const fields = types.map((type, i) =>
			Buffer.concat([zeroed(`f${i}`), int32(0), int16(0), int32(type), int16(8), int32(-1), int16(0)]),
		);
		this.#send("T", Buffer.concat([int16(types.length), ...fields]));
	}

	#error(sqlState: string): void {
		const message = `SERROR\0C${sqlState}\0Minvalid input "a secret record"\0\0`;
		this.#send("E", Buffer.from(message));
	}

	#ready(): void {
		this.#send("Z", Buffer.from("I"));
	}

	#send(type: string, body: Buffer = Buffer.alloc(0)): void {
		this.#out.write(Buffer.concat([Buffer.from(type), int32(body.length + 4), body]));
	}
}

function text(body: Buffer): string {
	return body.subarray(0, body.indexOf(0)).toString("utf8");
}

function zeroed(value: string): Buffer {
	return Buffer.from(`${value}\0`);
}

function int32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeInt32BE(value);
	return bytes;
}

function int16(value: number): Buffer {
	const bytes = Buffer.alloc(2);
	bytes.writeInt16BE(value);
	return bytes;
}
