import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { DuckDBInstance } from "@duckdb/node-api";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCsv, requireWholeGzip } from "../../../node/data/streaming/csvSource.ts";
import { openLockedEngine } from "../../../node/data/streaming/lockedEngine.ts";
import { openParquet } from "../../../node/data/streaming/parquetSource.ts";
import { catalog } from "../../../src/data/catalog.ts";
import { type RecordSource, streamedLabel } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import type { Rows } from "../../../src/data/plannedBatches.ts";
import { type Part, passOver } from "../../../src/data/streamedPass.ts";
import { HELD_OUT_FRACTION, loadSiteData } from "../../../src/training/siteData.ts";
import { seededWords } from "../../src/data/seededWords.ts";

const LIMITS = { threads: 1, memoryMiB: 256 };
const splitKey = new Uint8Array(32).fill(7);
const digits = "data/digits-8x8.csv.gz";
const described = catalog.get("digits-8x8")!.description;
const digitsLabel = streamedLabel(described);

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "althing-streamed-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
	const path = join(folder, name);
	writeFileSync(path, content);
	return path;
}

/** Every record of a part, as a pass hands it on. */
async function recordsOf(source: RecordSource, description: DataDescription, part: Part): Promise<Rows> {
	const features: number[] = [];
	const labels: number[] = [];
	const every = {
		part,
		rows: 100,
		take: (block: Rows) => {
			features.push(...block.features);
			labels.push(...block.labels);
		},
	};
	await passOver({ source, description, splitKey, heldOutFraction: HELD_OUT_FRACTION, every: [every] });
	return { features: Float32Array.from(features), labels: Float32Array.from(labels), rows: labels.length };
}

async function expectSameRecords(
	source: RecordSource,
	path: string,
	description: DataDescription,
): Promise<void> {
	const inMemory = loadSiteData(path, description, splitKey);
	expect(source.columns).toEqual(inMemory.train.columns);
	for (const part of ["train", "heldOut"] as const) {
		const { features, labels, rows } = await recordsOf(source, description, part);
		expect(rows).toBe(inMemory[part].rows);
		expect(features).toEqual(inMemory[part].features);
		expect(labels).toEqual(inMemory[part].labels);
	}
	await source.close();
}

async function failure(run: () => Promise<unknown>): Promise<{ code: string; message: string }> {
	try {
		await run();
	} catch (error) {
		return error as { code: string; message: string };
	}
	throw new Error("nothing was thrown");
}

const small: DataDescription = {
	name: "small",
	label: { kind: "class", column: "kind", classes: ["a", "b", "it's"] },
	features: { count: 2, bounds: [-10, 10], scale: "symmetric" },
};
const numeric: DataDescription = { ...small, label: { kind: "number", column: "kind", bounds: [0, 5] } };

async function passOf(path: string, description: DataDescription = small): Promise<Rows> {
	const source = await openCsv(path, streamedLabel(description), LIMITS);
	try {
		return await recordsOf(source, description, "train");
	} finally {
		await source.close();
	}
}

describe("streamed CSV", () => {
	it("gives the records of the reader of whole files, bit for bit, from gzip and plain", async () => {
		await expectSameRecords(await openCsv(digits, digitsLabel, LIMITS), digits, described);
		const plain = file("digits.csv", gunzipSync(readFileSync(digits)));
		await expectSameRecords(await openCsv(plain, digitsLabel, { ...LIMITS, threads: 2 }), plain, described);
	});

	it("reads cells as the reader of whole files does", async () => {
		const text =
			'\ufeff\r\n\r\n x ,"y",kind\r\n1, 2.5 , a \r\n\r\n"3",-4e-1,"b"\r\n+5,.5,it\'s\r\n 5. ,1E+3,"a"\r\n0.1,16777217,b\r\n';
		const path = file("cells.csv", text);
		await expectSameRecords(await openCsv(path, streamedLabel(small), LIMITS), path, small);
		const numbers = file("numbers.csv", "kind,x,y\n1.5,2,3\n7,8,9\n");
		await expectSameRecords(await openCsv(numbers, streamedLabel(numeric), LIMITS), numbers, numeric);
	});

	it("rounds any number as the reader of whole files does", async () => {
		await fc.assert(
			fc.asyncProperty(
				fc.array(
					fc.tuple(
						fc.double({ min: -3e38, max: 3e38, noNaN: true }),
						fc.double({ min: -10, max: 10, noNaN: true }),
					),
					{
						minLength: 1,
						maxLength: 40,
					},
				),
				async (cells) => {
					const path = file("any.csv", `x,y,kind\n${cells.map(([x, y]) => `${x},${y},a`).join("\n")}\n`);
					await expectSameRecords(await openCsv(path, streamedLabel(small), LIMITS), path, small);
				},
			),
			{ numRuns: 30, seed: 4711 },
		);
	});

	it.each([
		["an empty cell", "x,y,kind\n1,,a\n", "data.not_numeric"],
		["a word", "x,y,kind\n1,2,a\n1,secret,a\n", "data.not_numeric"],
		["an infinity", "x,y,kind\n1,inf,a\n", "data.not_numeric"],
		["a number beyond float32", "x,y,kind\n1,1e39,a\n", "data.not_numeric"],
		["a missing label", "x,y,kind\n1,2,\n", "data.missing_label"],
		["an unknown label", "x,y,kind\n1,2,secret\n", "data.unknown_label"],
		["a ragged row", "x,y,kind\n1,2\n", "data.malformed"],
		["an open quote", 'x,y,kind\n1,2,"a\n', "data.malformed"],
		["no label column", "x,y,z\n1,2,a\n", "data.missing_label_column"],
		["a column named twice", "x,x,kind\n1,2,a\n", "data.duplicate_column"],
		["too many columns", "x,y,z,kind\n1,2,3,a\n", "data.wrong_feature_count"],
		["nothing at all", "", "data.empty"],
		["two kinds of line ends", "x,y,kind\r\n1,2,a\n3,4,b\n", "data.malformed"],
	])("refuses %s, and never quotes a cell", async (_, content, code) => {
		const path = file("bad.csv", content);
		const error = await failure(() => passOf(path));
		expect(error.code).toBe(code);
		expect(error.message).not.toContain("secret");
		expect(error).not.toHaveProperty("cause.message", expect.stringContaining("secret"));
	});

	it("names line and column of a bad cell", async () => {
		const { message } = await failure(() => passOf(file("bad.csv", "x,y,kind\n1,2,a\n\n1,word,a\n")));
		expect(message).toContain('line 4, column "y"');
	});

	it("tells a gzip file that was cut short, which the engine would read as far as it goes", async () => {
		const whole = gzipSync(`x,y,kind\n${"1,2,a\n".repeat(1000)}`);
		await requireWholeGzip(file("whole.csv.gz", whole));
		await requireWholeGzip(file("plain.csv", "x,y,kind\n1,2,a\n"));
		const cut = file("cut.csv.gz", whole.subarray(0, -9));
		expect((await failure(() => requireWholeGzip(cut))).code).toBe("data.unreadable");
	});

	it("refuses a file that is not there", async () => {
		expect((await failure(() => passOf(join(folder, "none.csv")))).code).toBe("data.unreadable");
	});
});

describe("streamed Parquet", () => {
	async function parquet(name: string, select: string): Promise<string> {
		const path = join(folder, name);
		const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
		const connection = await instance.connect();
		await connection.run(`COPY (${select}) TO '${path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)`);
		connection.closeSync();
		instance.closeSync();
		return path;
	}

	it("gives the records that the same data give as CSV", async () => {
		const path = await parquet(
			"digits.parquet",
			`SELECT * FROM read_csv('${digits}', header = true, types = {'digit': 'VARCHAR'})`,
		);
		await expectSameRecords(await openParquet(path, digitsLabel, LIMITS), digits, described);
	});

	it("gives row groups in any order, each record once and by its own number", async () => {
		const rows = 9000;
		const numbered = (y: string) =>
			`SELECT range / 16384 AS x, ${y} AS y, 'a' AS kind FROM range(${rows}) ORDER BY range`;
		const path = await parquet("numbered.parquet", numbered("0"));
		const source = await openParquet(path, streamedLabel(small), LIMITS);
		const parts = (await source.parts?.())!;
		expect(parts.map((part) => part.rows)).toEqual([2048, 2048, 2048, 2048, 808]);
		const seen: number[] = [];
		for await (const { first, rows: count, columns } of source.chunks(parts.toReversed())) {
			expect(columns[0]![0]! * 16384).toBe(first);
			seen.push(...columns[0]!.slice(0, count));
		}
		expect(seen.map((x) => x * 16384).toSorted((a, b) => a - b)).toEqual([...Array(rows).keys()]);
		const order: number[] = [];
		await passOver({
			source,
			description: small,
			splitKey,
			heldOutFraction: 0,
			knownRows: rows,
			partsBy: seededWords(3),
			every: [
				{
					part: "train",
					rows: 1000,
					take: ({ features, rows: taken }) => {
						for (let i = 0; i < taken; i++) order.push(features[2 * i]!);
					},
				},
			],
		});
		await source.close();
		expect(order).toHaveLength(rows);
		expect(order).not.toEqual(order.toSorted((a, b) => a - b));
		expect(new Set(order).size).toBe(rows);
		const broken = await openParquet(
			await parquet("hole.parquet", numbered("CASE WHEN range = 5000 THEN NULL ELSE 0.0 END")),
			streamedLabel(small),
			LIMITS,
		);
		const request = { source: broken, description: small, splitKey, heldOutFraction: 0, count: true };
		const error = await failure(() => passOver({ ...request, partsBy: seededWords(1) }));
		expect(error).toMatchObject({ code: "data.not_numeric", facts: { record: 5001 } });
		await broken.close();
	});

	it("has one order where a column hides the engine's places, and for text", async () => {
		const described = { ...small, features: { ...small.features, count: 3 } };
		const path = await parquet("hidden.parquet", "SELECT 1 AS x, 2 AS y, 3 AS FILE_ROW_NUMBER, 'a' AS kind");
		const source = await openParquet(path, streamedLabel(described), LIMITS);
		expect(await source.parts?.()).toBeUndefined();
		await source.close();
		const text = await openCsv(file("one.csv", "x,y,kind\n1,2,a\n"), streamedLabel(small), LIMITS);
		expect(await text.parts?.()).toBeUndefined();
		const { rows } = await passOver({
			source: text,
			description: small,
			splitKey,
			heldOutFraction: 0,
			partsBy: seededWords(2),
			count: true,
		});
		expect(rows).toBe(1);
		await text.close();
	});

	it("refuses missing values, other types and other files", async () => {
		const open = async (path: string) =>
			recordsOf(await openParquet(path, streamedLabel(small), LIMITS), small, "train");
		const code = async (name: string, select: string) => {
			const path = await parquet(name, select);
			return (await failure(() => open(path))).code;
		};
		expect(await code("null.parquet", "SELECT 1 AS x, NULL::DOUBLE AS y, 'a' AS kind")).toBe(
			"data.not_numeric",
		);
		expect(await code("text.parquet", "SELECT 1 AS x, '2' AS y, 'a' AS kind")).toBe("data.not_numeric");
		expect(await code("label.parquet", "SELECT 1 AS x, 2 AS y, NULL::VARCHAR AS kind")).toBe(
			"data.missing_label",
		);
		expect((await failure(() => open(file("no.parquet", "x,y,kind\n1,2,a\n")))).code).toBe("data.unreadable");
	});
});

describe("the locked engine", () => {
	it("reads the registered path and nothing else, writes nothing, loads nothing, stays locked", async () => {
		const path = file("allowed.csv", "x\n1\n");
		file("other.csv", "x\n2\n");
		const { connection, close } = await openLockedEngine([path], LIMITS);
		const run = async (sql: string) => (await connection.run(sql)).getRows();
		expect(await run(`SELECT x FROM read_csv('${path}')`)).toHaveLength(1);
		for (const statement of [
			"SELECT * FROM read_csv('/etc/passwd')",
			`SELECT * FROM read_csv('${folder}/other.csv')`,
			`SELECT * FROM read_csv('${path}/../other.csv')`,
			`SELECT * FROM read_csv('${folder}/*.csv')`,
			"SELECT * FROM glob('/tmp/*')",
			"SELECT * FROM read_parquet('https://127.0.0.1/x.parquet')",
			`COPY (SELECT 1) TO '${folder}/out.csv'`,
			`EXPORT DATABASE '${folder}/out'`,
			`ATTACH '${folder}/out.db'`,
			"INSTALL httpfs",
			"LOAD httpfs",
			"SET enable_external_access = true",
			"SET allowed_paths = ['/etc/passwd']",
			"SET threads = 8",
			"RESET lock_configuration",
			"CREATE PERSISTENT SECRET s (TYPE s3)",
			"CREATE TABLE t AS SELECT range FROM range(100000000) ORDER BY random()",
		]) {
			await expect(run(statement), statement).rejects.toThrow(
				/Permission Error|Invalid Input Error|Invalid Configuration Error|Out of Memory Error/,
			);
		}
		close();
	});
});
