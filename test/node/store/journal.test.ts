import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, mkdtemp, open, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Journal, type JournalRecord, openJournal } from "../../../node/store/journal.ts";

let directory: string;
let path: string;
const key = new Uint8Array(32).fill(7);
const bytes = (text: string) => new TextEncoder().encode(text);

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-journal-"));
	path = join(directory, "journal");
});
afterEach(() => rm(directory, { recursive: true }));

async function records(journal: Journal, kind?: string): Promise<JournalRecord[]> {
	const found: JournalRecord[] = [];
	for await (const record of journal.replay(kind)) found.push(record);
	return found;
}

async function written(count: number, options: { key?: Uint8Array } = { key }): Promise<number[]> {
	const journal = await openJournal({ path, ...options });
	const ends: number[] = [];
	for (let i = 0; i < count; i += 1) {
		await journal.append("vote", bytes(`vote number ${i}`));
		ends.push((await stat(path)).size);
	}
	await journal.close();
	return ends;
}

async function flip(offset: number): Promise<void> {
	const file = await open(path, "r+");
	const byte = new Uint8Array(1);
	await file.read(byte, 0, 1, offset);
	byte[0] = byte[0]! ^ 0x10;
	await file.write(byte, 0, 1, offset);
	await file.close();
}

describe.each([
	["sealed", { key }],
	["unsealed", {}],
])("%s journal", (_name, options) => {
	test("keeps records in order across reopening, and finds them by kind", async () => {
		const first = await openJournal({ path, ...options });
		expect(await first.append("vote", bytes("a"))).toBe(1);
		expect(await first.append("charge", new Uint8Array(0))).toBe(2);
		await first.close();
		const again = await openJournal({ path, ...options });
		expect(again.recovery).toEqual({ records: 2, truncatedBytes: 0 });
		expect(await again.append("vote", bytes("b"))).toBe(3);
		expect((await records(again)).map(({ sequence, kind }) => [sequence, kind])).toEqual([
			[1, "vote"],
			[2, "charge"],
			[3, "vote"],
		]);
		expect((await records(again, "vote")).map(({ body }) => body)).toEqual([bytes("a"), bytes("b")]);
		await again.close();
	});

	test("a write torn at any byte of the last record is cut off, and what was acknowledged stays", async () => {
		const ends = await written(3, options);
		const whole = await readFile(path);
		for (let size = ends[1]! + 1; size < ends[2]!; size += 1) {
			await writeFile(path, whole.subarray(0, size));
			const journal = await openJournal({ path, ...options });
			expect(journal.recovery).toEqual({ records: 2, truncatedBytes: size - ends[1]! });
			await journal.close();
		}
		const journal = await openJournal({ path, ...options });
		expect(await journal.append("vote", bytes("after the crash"))).toBe(3);
		expect((await records(journal)).length).toBe(3);
		await journal.close();
	});

	test("a flipped bit at any byte of any record is refused, the last one included", async () => {
		const ends = await written(3, options);
		const whole = await readFile(path);
		for (let offset = 40; offset < ends[2]!; offset += 1) {
			await writeFile(path, whole);
			await flip(offset);
			const sequence = ends.findIndex((end) => offset < end) + 1;
			await expect(openJournal({ path, ...options }), `offset ${offset}`).rejects.toMatchObject({
				code: "store.corrupt",
				facts: { file: path, offset: sequence === 1 ? 40 : ends[sequence - 2], sequence },
			});
			expect((await stat(path)).size).toBe(whole.length);
		}
	});
});

test("concurrent appends get consecutive sequences in call order and survive", async () => {
	const journal = await openJournal({ path, key });
	const sequences = await Promise.all(
		Array.from({ length: 200 }, (_, i) => journal.append("n", bytes(`${i}`))),
	);
	expect(sequences).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
	await journal.close();
	const again = await openJournal({ path, key });
	expect((await records(again)).map(({ body }) => new TextDecoder().decode(body))).toEqual(
		Array.from({ length: 200 }, (_, i) => `${i}`),
	);
	await again.close();
});

test("any sequence of records comes back as written", async () => {
	await fc.assert(
		fc.asyncProperty(
			fc.array(
				fc.tuple(
					fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" }),
					fc.uint8Array({ maxLength: 300 }),
				),
				{
					maxLength: 20,
				},
			),
			async (entries) => {
				await rm(path, { force: true });
				const journal = await openJournal({ path, key });
				await Promise.all(entries.map(([kind, body]) => journal.append(kind, body)));
				await journal.close();
				const again = await openJournal({ path, key });
				const found = (await records(again)).map(({ kind, body }) => [kind, body]);
				await again.close();
				expect(found).toEqual(entries);
			},
		),
		{ numRuns: 25 },
	);
});

test("zeros left by a file system that extended the file before the data came are cut off", async () => {
	const [, end] = await written(2);
	await appendFile(path, new Uint8Array(5000));
	const journal = await openJournal({ path, key });
	expect(journal.recovery).toEqual({ records: 2, truncatedBytes: 5000 });
	await journal.close();
	expect((await stat(path)).size).toBe(end);
});

test("zeros in the middle are corruption, not a torn write", async () => {
	const ends = await written(3);
	const file = await open(path, "r+");
	await file.write(new Uint8Array(ends[1]! - ends[0]!), 0, ends[1]! - ends[0]!, ends[0]!);
	await file.close();
	await expect(openJournal({ path, key })).rejects.toMatchObject({ code: "store.corrupt" });
});

test("a record cut out of the middle is noticed", async () => {
	const ends = await written(3);
	const whole = await readFile(path);
	await writeFile(path, Buffer.concat([whole.subarray(0, ends[0]), whole.subarray(ends[1])]));
	await expect(openJournal({ path, key })).rejects.toMatchObject({
		code: "store.corrupt",
		facts: { sequence: 2 },
	});
});

test("records of one journal are not accepted in another of the same key", async () => {
	const ends = await written(1);
	const other = (await readFile(path)).subarray(40, ends[0]);
	await rm(path);
	await written(0);
	await appendFile(path, other);
	await expect(openJournal({ path, key })).rejects.toMatchObject({
		code: "store.corrupt",
		facts: { sequence: 1 },
	});
});

test("bodies are sealed on the disk", async () => {
	await written(1);
	expect((await readFile(path)).includes("vote number")).toBe(false);
});

test("another key, a foreign file, a missing directory", async () => {
	await written(1);
	const before = await readFile(path);
	await expect(openJournal({ path, key: new Uint8Array(32) })).rejects.toMatchObject({
		code: "store.wrong_key",
	});
	await expect(openJournal({ path })).rejects.toMatchObject({ code: "store.wrong_key" });
	expect(await readFile(path)).toEqual(before);
	await writeFile(path, "x".repeat(100));
	await expect(openJournal({ path, key })).rejects.toMatchObject({ code: "store.corrupt" });
	await expect(openJournal({ path: join(directory, "no", "journal"), key })).rejects.toMatchObject({
		code: "store.unreadable",
	});
});

test("a file torn during its creation starts over", async () => {
	await written(0);
	await truncate(path, 17);
	const journal = await openJournal({ path, key });
	expect(journal.recovery).toEqual({ records: 0, truncatedBytes: 17 });
	expect(await journal.append("vote", bytes("a"))).toBe(1);
	await journal.close();
});

test("records out of bounds and appends after close are refused", async () => {
	const journal = await openJournal({ path, key });
	await expect(journal.append("", bytes("a"))).rejects.toMatchObject({ code: "store.bad_record" });
	await expect(journal.append("k".repeat(256), bytes("a"))).rejects.toMatchObject({
		code: "store.bad_record",
	});
	await expect(journal.append("k", new Uint8Array(16 * 1024 * 1024 + 1))).rejects.toMatchObject({
		code: "store.bad_record",
	});
	await journal.close();
	await expect(journal.append("k", bytes("a"))).rejects.toMatchObject({ code: "store.closed" });
});

const writer = `
	import { openJournal } from ${JSON.stringify(new URL("../../../node/store/journal.ts", import.meta.url).href)};
	const journal = await openJournal({ path: process.argv[1], key: new Uint8Array(32).fill(7) });
	for (let i = 0; ; i += 1) {
		try {
			const sequence = await journal.append("vote", new Uint8Array(2000).fill(i));
			process.stdout.write(sequence + "\\n");
		} catch (error) {
			const again = await journal.append("vote", new Uint8Array(1)).catch((second) => second);
			process.stdout.write([error, again, await journal.failed].map((e) => e.code).join(" ") + "\\n");
			break;
		}
	}`;

test("kill -9 loses nothing that was acknowledged", async () => {
	const child = spawn(process.execPath, ["--input-type=module", "-e", writer, path], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	let acknowledged = 0;
	for await (const line of createInterface({ input: child.stdout })) {
		acknowledged = Number(line);
		if (acknowledged === 40) child.kill("SIGKILL");
	}
	expect(acknowledged).toBeGreaterThanOrEqual(40);
	const journal = await openJournal({ path, key });
	const found = await records(journal);
	expect(found.length).toBeGreaterThanOrEqual(acknowledged);
	for (const { sequence, body } of found) expect(body).toEqual(new Uint8Array(2000).fill(sequence - 1));
	await journal.close();
});

test("a write error makes the journal unusable and loses nothing acknowledged", async () => {
	// A file size limit of 64 KiB stands in for a full disk.
	const child = spawn(
		"bash",
		["-c", 'ulimit -f 64; exec "$0" --input-type=module -e "$1" "$2"', process.execPath, writer, path],
		{
			stdio: ["ignore", "pipe", "inherit"],
		},
	);
	const exited = once(child, "exit");
	const lines: string[] = [];
	for await (const line of createInterface({ input: child.stdout })) lines.push(line);
	await exited;
	expect(lines.at(-1)).toBe("store.journal_failed store.journal_failed store.journal_failed");
	const journal = await openJournal({ path, key });
	expect(journal.recovery.records).toBe(lines.length - 1);
	expect(journal.recovery.truncatedBytes).toBeGreaterThan(0);
	await journal.close();
});
