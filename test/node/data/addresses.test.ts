import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAddress } from "../../../node/data/streaming/address.ts";
import { locate } from "../../../node/data/streaming/locate.ts";
import { openRemote } from "../../../node/data/streaming/remoteSource.ts";
import type { StreamedLabel } from "../../../src/data/columns.ts";

const LIMITS = { threads: 1, memoryMiB: 128 };
const label: StreamedLabel = { kind: "class", column: "kind", classes: ["a", "b"] };
const postgres = { table: "visits", credentials: "/etc/althing/reader.yaml" };

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "althing-addresses-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
	const path = join(folder, name);
	writeFileSync(path, content);
	chmodSync(path, 0o600);
	return path;
}

describe("addresses of records", () => {
	it("name a table of a database, or one Parquet file", () => {
		expect(parseAddress("postgres://db.example/clinic", postgres)).toEqual({
			kind: "postgres",
			host: "db.example",
			port: 5432,
			database: "clinic",
			schema: "public",
			table: "visits",
			credentialsFile: postgres.credentials,
		});
		expect(parseAddress("postgresql://[::1]:6000/a%20b", { ...postgres, table: "s.t" })).toMatchObject({
			host: "::1",
			port: 6000,
			database: "a b",
			schema: "s",
			table: "t",
		});
		expect(parseAddress("https://data.example/a/b.parquet", {})).toEqual({
			kind: "remote",
			url: "https://data.example/a/b.parquet",
		});
		expect(parseAddress("s3://bucket/b.parquet", { credentials: "/c.yaml" })).toEqual({
			kind: "remote",
			url: "s3://bucket/b.parquet",
			credentialsFile: "/c.yaml",
		});
	});

	it.each([
		["postgres://reader:secret@db.example/clinic", postgres],
		["postgres://db.example/clinic?sslmode=disable", postgres],
		["postgres://db.example", postgres],
		["postgres://db.example/a/b", postgres],
		["postgres://db.example/clinic", { table: "visits" }],
		["postgres://db.example/clinic", { credentials: "/c.yaml" }],
		["postgres://db.example/clinic", { ...postgres, table: "a.b.c" }],
		["postgres://db.example/clinic", { ...postgres, table: ".visits" }],
		["http://data.example/b.parquet", {}],
		["https://data.example/b.csv", {}],
		["https://data.example/*.parquet", {}],
		["https://data.example/%2A.parquet", {}],
		["https://data.example/b.parquet?token=secret", {}],
		["https://key:secret@data.example/b.parquet", {}],
		["https://data.example/b.parquet", { credentials: "/c.yaml" }],
		["s3://bucket/b.parquet", { table: "visits" }],
		["file:///etc/passwd", {}],
		["ftp://data.example/b.parquet", {}],
		["postgres://", postgres],
	] as const)("are refused: %s", (address, options) => {
		let message = "";
		try {
			parseAddress(address, options);
		} catch (error) {
			expect(error).toMatchObject({ code: "data.bad_address" });
			message = (error as Error).message;
		}
		expect(message).not.toBe("");
		expect(message).not.toContain("secret");
	});
});

describe("files", () => {
	const located = (path: string, options: object = {}) =>
		locate({ path, stream: false, thresholdMiB: 1, ...options });

	it("are read whole, or in passes from a size on, when asked for, and when they are Parquet", async () => {
		const small = file("small.csv", "x,kind\n1,a\n");
		expect(await located(small)).toBeUndefined();
		expect(await located(small, { stream: true })).toMatchObject({ kind: "csv", path: small, sizeBytes: 11 });
		expect(await located(file("large.csv", "x".repeat(2 ** 20)))).toMatchObject({ kind: "csv" });
		expect(await located(file("any.parquet", ""))).toMatchObject({ kind: "parquet" });
		expect(await located(file("images.idx3-ubyte", ""))).toBeUndefined();
	});

	it("are refused where they are missing or cannot be streamed, and with what belongs to an address", async () => {
		await expect(located(join(folder, "none.csv"))).rejects.toMatchObject({ code: "data.unreadable" });
		await expect(located(join(folder, "images.idx3-ubyte"), { stream: true })).rejects.toMatchObject({
			code: "data.cannot_stream",
		});
		await expect(located(join(folder, "small.csv"), { table: "t" })).rejects.toMatchObject({
			code: "data.bad_address",
		});
	});
});

describe("a remote file", () => {
	const url = "https://127.0.0.1/records.parquet";

	it("is not read unless the configuration says so", async () => {
		await expect(openRemote({ url }, label, LIMITS, undefined)).rejects.toMatchObject({
			code: "data.remote_not_allowed",
		});
	});

	it("needs the extension, which is never fetched", async () => {
		await expect(openRemote({ url }, label, LIMITS, { extensionDirectory: folder })).rejects.toMatchObject({
			code: "data.extension_missing",
			message: expect.stringContaining(folder),
		});
	});

	it("keeps the bucket's secret out of every error", async () => {
		const credentialsFile = file("bucket.yaml", "keyId: someone\nsecret: unspeakable\n");
		const error = await openRemote({ url: "s3://bucket/records.parquet", credentialsFile }, label, LIMITS, {
			extensionDirectory: folder,
		}).then(
			() => new Error("opened"),
			(caught: Error) => caught,
		);
		expect(error).toMatchObject({ code: "data.extension_missing" });
		expect(JSON.stringify(error) + String(error.stack)).not.toContain("unspeakable");
		expect(error).not.toHaveProperty("cause");
	});
});
