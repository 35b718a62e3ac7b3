import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Level } from "level";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { openStore, type TrainingJob } from "../../../node/store/index.ts";
import { migrate } from "../../../node/store/schemaVersion.ts";

let directory: string;
const key = new Uint8Array(32).fill(3);
const noteSchema = z.strictObject({ text: z.string(), at: z.int() });

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-store-"));
});
afterEach(() => rm(directory, { recursive: true }));

const job: TrainingJob = {
	id: "job-1",
	name: "readmission",
	technique: "federated_learning",
	privacyParameters: { epsilon: 2, delta: 1e-6 },
	dataSet: { records: 300 },
	modelConfig: { layers: [{ units: 10 }] },
	status: "proposed",
	createdBy: "a person",
	createdAt: "2026-01-01T00:00:00.000Z",
};

async function inIndex(change: (level: Level<string, Uint8Array>) => Promise<void>): Promise<void> {
	const level = new Level<string, Uint8Array>(join(directory, "index"), { valueEncoding: "view" });
	await change(level);
	await level.close();
}

describe("collections", () => {
	test("put, get, list, entries, delete, across reopening", async () => {
		const store = await openStore({ directory, key });
		await store.jobs.put("job-1", job);
		await store.jobs.put("job-0", { ...job, id: "job-0" });
		const notes = store.collection("notes", noteSchema, "index");
		await notes.put("b", { text: "kept", at: 1 });
		await notes.put("a", { text: "dropped", at: 2 });
		await notes.delete("a");
		await store.close();

		const again = await openStore({ directory, key });
		expect(again.recovery).toEqual({
			journalRecords: 2,
			truncatedBytes: 0,
			repairedRecords: 0,
			damagedIndex: undefined,
		});
		expect(await again.jobs.get("job-1")).toEqual(job);
		expect((await again.jobs.list()).map(({ id }) => id)).toEqual(["job-0", "job-1"]);
		const entries = [];
		for await (const entry of again.collection("notes", noteSchema, "index").entries()) entries.push(entry);
		expect(entries).toEqual([["b", { text: "kept", at: 1 }]]);
		await again.jobs.delete("job-1");
		expect(await again.jobs.get("job-1")).toBeUndefined();
		await again.close();
	});

	test("concurrent changes of one key end with the last one asked for", async () => {
		const store = await openStore({ directory, key });
		const notes = store.collection("notes", noteSchema);
		await Promise.all(Array.from({ length: 30 }, (_, at) => notes.put("n", { text: "x", at })));
		expect(await notes.get("n")).toEqual({ text: "x", at: 29 });
		await store.close();
	});

	test("a value that does not fit, a bad key, a bad name, a second definition are refused", async () => {
		const store = await openStore({ directory, key });
		const wrong = { ...job, surprise: true } as TrainingJob;
		await expect(store.jobs.put("job-1", wrong)).rejects.toMatchObject({ code: "store.bad_record" });
		expect(await store.jobs.get("job-1")).toBeUndefined();
		await expect(store.sessions.get("a\u0000b")).rejects.toMatchObject({ code: "store.bad_record" });
		expect(() => store.collection("No Name", noteSchema)).toThrowError(/lower-case/);
		store.collection("notes", noteSchema);
		expect(() => store.collection("notes", z.string())).toThrowError(/already/);
		await store.close();
	});

	test("values are sealed on the disk", async () => {
		const store = await openStore({ directory, key });
		await store.jobs.put("job-1", job);
		await store.participants.put("p", participant);
		await store.close();
		for (const name of await readdir(join(directory, "index"))) {
			expect((await readFile(join(directory, "index", name))).includes("secret-address")).toBe(false);
		}
		expect((await readFile(join(directory, "journal"))).includes("readmission")).toBe(false);
	});
});

const participant = {
	id: "p",
	jobId: "job-1",
	peer: "12D3",
	type: "client" as const,
	connection: { address: "secret-address" },
	dataCharacteristics: {},
	participationRounds: 0,
	status: "active",
	registeredAt: "2026-01-01T00:00:00.000Z",
	lastSeenAt: "2026-01-01T00:00:00.000Z",
};

describe("damage", () => {
	test("a damaged record that only the index holds is named", async () => {
		const store = await openStore({ directory, key });
		await store.participants.put("p", participant);
		await store.close();
		await inIndex(async (level) => {
			const value = (await level.get("participants\u0000p"))!;
			value[20] = value[20]! ^ 1;
			await level.put("participants\u0000p", value);
		});
		const again = await openStore({ directory, key });
		await expect(again.participants.get("p")).rejects.toMatchObject({
			code: "store.corrupt_record",
			facts: { collection: "participants", record: "p" },
		});
		await expect(again.participants.list()).rejects.toMatchObject({ code: "store.corrupt_record" });
		await again.close();
	});

	test("a record moved to another key does not open", async () => {
		const store = await openStore({ directory, key });
		await store.participants.put("p", participant);
		await store.close();
		await inIndex(async (level) =>
			level.put("participants\u0000q", (await level.get("participants\u0000p"))!),
		);
		const again = await openStore({ directory, key });
		await expect(again.participants.get("q")).rejects.toMatchObject({ facts: { record: "q" } });
		await again.close();
	});

	test("a record of an earlier shape is named with the place that does not fit", async () => {
		const store = await openStore({ directory, key });
		await store.collection("notes", z.strictObject({ text: z.string() })).put("n", { text: "x" });
		await store.close();
		const again = await openStore({ directory, key });
		await expect(again.collection("notes", noteSchema).get("n")).rejects.toMatchObject({
			code: "store.corrupt_record",
			message: expect.stringContaining(" at at: "),
		});
		await again.close();
	});

	test("what the index lost, damaged or kept too long is mended from the journal", async () => {
		const store = await openStore({ directory, key });
		for (const id of ["a", "b", "c", "d"]) await store.jobs.put(id, { ...job, id });
		await store.jobs.delete("d");
		await store.close();
		await inIndex(async (level) => {
			const old = (await level.get("jobs\u0000a"))!;
			await level.del("jobs\u0000a");
			await level.put("jobs\u0000b", new Uint8Array(5));
			await level.put("jobs\u0000d", old);
		});
		const again = await openStore({ directory, key });
		expect(again.recovery.repairedRecords).toBe(3);
		expect((await again.jobs.list()).map(({ id }) => id)).toEqual(["a", "b", "c"]);
		await again.close();
	});

	test.each([
		["a missing file", "MANIFEST-999999\n"],
		["garbage", "garbage"],
	])("an index too damaged to open (%s) is moved aside and rebuilt", async (_what, current) => {
		const store = await openStore({ directory, key });
		await store.jobs.put("job-1", job);
		await store.close();
		await writeFile(join(directory, "index", "CURRENT"), current);
		const again = await openStore({ directory, key });
		expect(again.recovery.repairedRecords).toBe(1);
		expect((await stat(again.recovery.damagedIndex!)).isDirectory()).toBe(true);
		expect(await again.jobs.get("job-1")).toEqual(job);
		await again.close();
	});

	test("a journal cut back to an earlier, whole record is noticed", async () => {
		const store = await openStore({ directory, key });
		await store.jobs.put("a", job);
		const { size } = await stat(join(directory, "journal"));
		await store.jobs.put("b", job);
		await store.close();
		await truncate(join(directory, "journal"), size);
		await expect(openStore({ directory, key })).rejects.toMatchObject({
			code: "store.corrupt",
			facts: { sequence: 1, expected: 2 },
		});
	});

	test("a second opener is refused while the first has it open, and the wrong key always", async () => {
		const store = await openStore({ directory, key });
		await expect(openStore({ directory, key })).rejects.toMatchObject({ code: "store.locked" });
		await store.close();
		await expect(openStore({ directory, key: new Uint8Array(32) })).rejects.toMatchObject({
			code: "store.wrong_key",
		});
	});
});

describe("blobs", () => {
	test("put, get, has, delete", async () => {
		const store = await openStore({ directory, key });
		const bytes = new Uint8Array(100_000).fill(9);
		const hash = await store.blobs.put(bytes);
		expect(await store.blobs.put(bytes)).toBe(hash);
		expect(await store.blobs.has(hash)).toBe(true);
		expect(Buffer.compare((await store.blobs.get(hash))!, bytes)).toBe(0);
		await store.blobs.delete(hash);
		await store.blobs.delete(hash);
		expect(await store.blobs.get(hash)).toBeUndefined();
		expect(await store.blobs.has(hash)).toBe(false);
		await store.close();
	});

	test("a damaged blob is refused by name; a name that is no hash never reaches the disk", async () => {
		const store = await openStore({ directory, key });
		const hash = await store.blobs.put(new Uint8Array(1000));
		const file = await open(join(directory, "blobs", hash.slice(0, 2), hash), "r+");
		await file.write(new Uint8Array([1, 2, 3]), 0, 3, 500);
		await file.close();
		await expect(store.blobs.get(hash)).rejects.toMatchObject({
			code: "store.corrupt_record",
			facts: { record: hash },
		});
		await expect(store.blobs.get("../../../../etc/passwd")).rejects.toMatchObject({ code: "store.bad_hash" });
		await store.close();
	});

	test("what an interrupted write left is removed at the next start", async () => {
		await (await openStore({ directory, key })).close();
		await writeFile(join(directory, "blobs", ".writing-0011"), "half");
		await (await openStore({ directory, key })).close();
		expect(await readdir(join(directory, "blobs"))).toEqual([]);
	});
});

describe("schema version", () => {
	test("a newer store is refused and left alone", async () => {
		await (await openStore({ directory, key })).close();
		await writeFile(join(directory, "version.json"), '{"format":"althing-store","version":99}');
		await expect(openStore({ directory, key })).rejects.toMatchObject({
			code: "store.newer_version",
			facts: { found: 99, supported: 1 },
		});
	});

	test("an unreadable version is corruption", async () => {
		await writeFile(join(directory, "version.json"), "{}");
		await expect(openStore({ directory, key })).rejects.toMatchObject({ code: "store.corrupt" });
	});

	test("an older store is brought up step by step, a failed step is tried again", async () => {
		const path = join(directory, "version.json");
		await migrate(directory, path, 1, []);
		const ran: number[] = [];
		const steps = [1, 2].map((from) => ({
			from,
			run: async () => {
				ran.push(from);
				if (ran.length === 2) throw new Error("power lost");
			},
		}));
		await expect(migrate(directory, path, 3, steps)).rejects.toThrow("power lost");
		expect(await migrate(directory, path, 3, steps)).toBe(2);
		expect(ran).toEqual([1, 2, 2]);
		expect(await migrate(directory, path, 3, steps)).toBe(3);
		await expect(migrate(directory, path, 5, steps)).rejects.toMatchObject({ code: "store.no_migration" });
	});
});
