import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openPostgres, type PostgresTable } from "../../../node/data/streaming/postgresSource.ts";
import { type ColumnChunk, streamedLabel } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import { passOver } from "../../../src/data/streamedPass.ts";
import { type Script, type ScriptedPostgres, scriptedPostgres } from "./scriptedPostgres.ts";

const description: DataDescription = {
	name: "visits",
	label: { kind: "class", column: "kind", classes: ["a", "b"] },
	features: { count: 2, bounds: [0, 10_000], scale: "unit" },
};
const label = streamedLabel(description);
const ROWS = 5000;
const table = {
	columns: [
		["x", "integer"],
		["kind", "text"],
		["y", "double precision"],
	],
	rows: Array.from({ length: ROWS }, (_, i) => [String(i), i % 2 ? " b " : "a", "0.1"]),
} as const;
const script: Script = { password: "pa'ss", table };

let folder: string;
let credentialsFile: string;
const servers: ScriptedPostgres[] = [];
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "althing-postgres-"));
	credentialsFile = credentials("reader.yaml", "user: reader\npassword: pa'ss\n");
});
afterEach(async () => {
	for (const server of servers.splice(0)) await server.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

function credentials(name: string, text: string, mode = 0o600): string {
	const path = join(folder, name);
	writeFileSync(path, text);
	chmodSync(path, mode);
	return path;
}

async function serve(
	changes: Partial<Script> = {},
): Promise<{ server: ScriptedPostgres; address: PostgresTable }> {
	const server = await scriptedPostgres({ ...script, ...changes });
	servers.push(server);
	const address = {
		host: "127.0.0.1",
		port: server.port,
		database: "clinic",
		schema: "public",
		table: 'vi"sits',
		credentialsFile,
	};
	return { server, address };
}

async function failure(run: () => Promise<unknown>): Promise<{ code: string; message: string }> {
	try {
		await run();
	} catch (error) {
		return error as { code: string; message: string };
	}
	throw new Error("nothing was thrown");
}

describe("a Postgres table", () => {
	it("is read through a cursor, column by column, in a read-only transaction, as often as asked", async () => {
		const { server, address } = await serve();
		const source = await openPostgres(address, label);
		expect(source.columns).toEqual(["x", "y"]);
		const chunks: ColumnChunk[] = [];
		for await (const chunk of source.chunks()) chunks.push(chunk);
		expect(chunks.map(({ rows }) => rows)).toEqual([4096, ROWS - 4096]);
		expect(chunks[1]!.columns[0]![3]).toBe(4099);
		expect(chunks[1]!.columns[1]![3]).toBe(Math.fround(0.1));
		expect([...chunks[0]!.labels.subarray(0, 4)]).toEqual([0, 1, 0, 1]);
		const counted = await passOver({
			source,
			description,
			splitKey: new Uint8Array(32),
			heldOutFraction: 0.2,
			count: true,
		});
		expect(counted.rows).toBe(ROWS);
		await source.close();
		expect(server.greetings).toEqual(["plain"]);
		expect(server.statements[0]).toBe("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY");
		const declared = server.statements.filter((statement) => statement.startsWith("DECLARE"));
		expect(declared).toEqual(
			Array(2).fill(
				'DECLARE records NO SCROLL CURSOR FOR SELECT "x"::float8, "kind"::text, "y"::float8 FROM "public"."vi""sits"',
			),
		);
		expect(server.statements.every((statement) => !statement.includes("pa'ss"))).toBe(true);
	});

	it("refuses missing values and labels outside the list", async () => {
		const survey = async (row: readonly (string | null)[]) => {
			const { address } = await serve({ table: { ...table, rows: [...table.rows.slice(0, 2), row] } });
			const source = await openPostgres(address, label);
			try {
				return await failure(() =>
					passOver({ source, description, splitKey: new Uint8Array(32), heldOutFraction: 0.2, count: true }),
				);
			} finally {
				await source.close();
			}
		};
		expect((await survey(["1", "a", null])).code).toBe("data.not_numeric");
		expect((await survey(["NaN", "a", "1"])).code).toBe("data.not_numeric");
		expect((await survey(["1", null, "1"])).code).toBe("data.missing_label");
		const unknown = await survey(["1", "secret", "1"]);
		expect(unknown.code).toBe("data.unknown_label");
		expect(unknown.message).toContain("Record 3");
		expect(unknown.message).not.toContain("secret");
	});

	it.each([
		["a wrong password", { password: "other" }, "data.access_refused"],
		["no such table", { table: { columns: [], rows: [] } }, "data.unreadable"],
		[
			"a column that holds no numbers",
			{
				table: {
					...table,
					columns: [
						["x", "text"],
						["kind", "text"],
					],
				},
			},
			"data.not_numeric",
		],
		["no label column", { table: { ...table, columns: [["x", "integer"]] } }, "data.missing_label_column"],
		[
			"a right that is not granted",
			{ fails: { on: "information_schema", sqlState: "42501" } },
			"data.access_refused",
		],
	] as const)("is refused for %s", async (_, changes, code) => {
		const { address } = await serve(changes as Partial<Script>);
		expect((await failure(() => openPostgres(address, label))).code).toBe(code);
	});

	it("tells of an error by its code alone, for the server's words may quote a record", async () => {
		const { address } = await serve({ fails: { on: "FETCH", sqlState: "22P02" } });
		const source = await openPostgres(address, label);
		const error = await failure(async () => {
			for await (const chunk of source.chunks()) expect(chunk.rows).toBeGreaterThan(0);
		});
		expect(error).toMatchObject({ code: "data.unreadable" });
		expect(error.message).toContain("22P02");
		expect(error.message).not.toContain("secret");
		expect(error).not.toHaveProperty("cause");
		await source.close();
	});

	it("ends a pass that is interrupted, and one whose server goes away", async () => {
		for (const stop of ["interrupt", "server"]) {
			const { server, address } = await serve();
			const source = await openPostgres(address, label);
			const chunks = source.chunks()[Symbol.asyncIterator]();
			await chunks.next();
			if (stop === "interrupt") source.interrupt();
			else await server.close();
			expect((await failure(() => chunks.next())).code).toBe("data.unreachable");
			await source.close();
		}
	});

	it("is read over TLS with a verified certificate alone, beyond this machine", async () => {
		// An address of this machine that does not look like one.
		const elsewhere = { host: "127.1" };
		const plain = await serve();
		const refused = await failure(() => openPostgres({ ...plain.address, ...elsewhere }, label));
		expect(refused).toMatchObject({ code: "data.untrusted_server" });
		expect(refused.message).toContain("does not offer TLS");
		expect(plain.server.greetings).toEqual(["tls"]);
		const authority = "test/node/rpc/tls/localhost.crt";
		const tls = { cert: readFileSync(authority), key: readFileSync("test/node/rpc/tls/localhost.key") };
		const secured = await serve({ tls });
		const unknown = await failure(() => openPostgres({ ...secured.address, ...elsewhere }, label));
		expect(unknown).toMatchObject({ code: "data.untrusted_server" });
		const known = credentials(
			"authority.yaml",
			`user: reader\npassword: pa'ss\ncertificateAuthority: ${authority}\n`,
		);
		const misnamed = { ...secured.address, ...elsewhere, credentialsFile: known };
		expect((await failure(() => openPostgres(misnamed, label))).message).toContain("ALTNAME");
		expect(secured.server.statements).toEqual([]);
	});

	it("needs a credentials file that is the node's alone and says what it must", async () => {
		const { address, server } = await serve();
		const opening = async (path: string) =>
			failure(() => openPostgres({ ...address, credentialsFile: path }, label));
		const open = credentials("open.yaml", "user: reader\npassword: pa'ss\n", 0o640);
		expect((await opening(open)).code).toBe("keystore.permissions");
		expect((await opening(join(folder, "none.yaml"))).code).toBe("data.credentials");
		for (const text of ["user: reader\n", "user: reader\npassword: x\nhost: elsewhere\n", "user: [\n"]) {
			const error = await opening(credentials("wrong.yaml", text));
			expect(error.code).toBe("data.credentials");
			expect(error.message).not.toContain("elsewhere");
		}
		expect(server.greetings).toEqual([]);
	});

	it("cannot be reached where nobody listens", async () => {
		const { address, server } = await serve();
		await server.close();
		expect((await failure(() => openPostgres(address, label))).code).toBe("data.unreachable");
	});
});
