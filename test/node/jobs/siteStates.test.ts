/** What an organization keeps of a job for itself counts if, and only if, its contribution did. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PeerId } from "../../../crypto/identity.ts";
import { SiteStates } from "../../../node/jobs/siteStates.ts";
import { openStore, type Store } from "../../../node/store/store.ts";
import type { RoundResult } from "../../../protocols/training/index.ts";

const SELF = "self" as PeerId;
const OTHER = "other" as PeerId;
const key = new Uint8Array(32).fill(9);

let directory: string;
let store: Store;
let states: SiteStates;

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-site-states-"));
	store = await openStore({ directory, key });
	states = new SiteStates(store, SELF);
});
afterEach(async () => {
	await store.close();
	await rm(directory, { recursive: true });
});

const bytes = (value: number) => new Uint8Array(100).fill(value);

function certified(round: number, attempt: number, over: Partial<RoundResult> = {}): RoundResult {
	return { round, attempt, outcome: "released", survivors: [SELF, OTHER], ...over } as RoundResult;
}

async function blobCount(): Promise<number> {
	const files = await readdir(join(directory, "blobs"), { recursive: true, withFileTypes: true });
	return files.filter((file) => file.isFile()).length;
}

describe("a proposal", () => {
	it("counts when a certificate names its attempt and this organization among the survivors", async () => {
		expect(await states.latest("job")).toBeUndefined();
		await states.propose("job", 0, 0, bytes(1));
		await states.propose("job", 0, 1, bytes(2));
		expect(await states.latest("job")).toBeUndefined();
		await states.settle("job", certified(0, 1));
		expect(await states.latest("job")).toEqual(bytes(2));
		expect(await states.latest("another")).toBeUndefined();
		expect(await blobCount()).toBe(1);
	});

	it.each<[string, RoundResult]>([
		["of an attempt that was not opened", certified(1, 1)],
		["of a site left out of the sum", certified(1, 0, { survivors: [OTHER] })],
		["of a round that was voided", certified(1, 0, { outcome: "void" as never, survivors: [] })],
		["of a round whose certificate was never seen", certified(3, 0)],
	])("%s leaves what counted before", async (_, result) => {
		await states.propose("job", 0, 0, bytes(1));
		await states.settle("job", certified(0, 0));
		await states.propose("job", 1, 0, bytes(2));
		await states.settle("job", result);
		expect(await states.latest("job")).toEqual(bytes(1));
		await states.settle("job", certified(1, 0));
		expect(await states.latest("job")).toEqual(bytes(1));
		expect(await blobCount()).toBe(1);
	});

	it("that stands counts whatever becomes of its round: the newest, or the one that was summed", async () => {
		const standing = async (round: number, attempt: number, value: number) =>
			states.propose("job", round, attempt, bytes(value), true);
		await standing(0, 0, 1);
		await states.settle("job", certified(0, 0, { outcome: "void", survivors: [] }));
		expect(await states.latest("job")).toEqual(bytes(1));
		await standing(1, 0, 2);
		await standing(1, 1, 3);
		await states.settle("job", certified(1, 1));
		expect(await states.latest("job")).toEqual(bytes(3));
		await standing(2, 0, 4);
		await standing(2, 1, 5);
		await states.settle("job", certified(3, 0));
		expect(await states.latest("job")).toEqual(bytes(5));
		expect(await blobCount()).toBe(1);
	});

	it("counts over a tree of cohorts, whose certificate names attempt 0, if it went with the cohort's last", async () => {
		await states.propose("job", 0, 0, bytes(1));
		await states.propose("job", 0, 1, bytes(2));
		await states.settle("job", certified(0, 0));
		expect(await states.latest("job")).toEqual(bytes(2));
	});

	it("is not lost where a round is settled while the next one is proposed", async () => {
		await states.propose("job", 0, 0, bytes(1));
		await Promise.all([
			states.settle("job", certified(0, 0)),
			states.propose("job", 1, 0, bytes(2)),
			states.settle("job", certified(0, 0)),
		]);
		expect(await states.latest("job")).toEqual(bytes(1));
		await states.settle("job", certified(1, 0));
		expect(await states.latest("job")).toEqual(bytes(2));
		expect(await blobCount()).toBe(1);
	});

	it("outlives a restart between its contribution and the certificate, which may come twice", async () => {
		await states.propose("job", 0, 0, bytes(1));
		await store.close();
		store = await openStore({ directory, key });
		states = new SiteStates(store, SELF);
		await states.settle("job", certified(0, 0));
		await states.settle("job", certified(0, 0));
		expect(await states.latest("job")).toEqual(bytes(1));
	});

	it("that is the same as what counts is not deleted with what it replaces", async () => {
		await states.propose("job", 0, 0, bytes(1));
		await states.settle("job", certified(0, 0));
		await states.propose("job", 1, 0, bytes(1));
		await states.settle("job", certified(1, 0));
		expect(await states.latest("job")).toEqual(bytes(1));
	});
});

describe("the end of a job", () => {
	it("is written once, and tells that it is done", async () => {
		await states.propose("job", 0, 0, bytes(1));
		expect(await states.finished("job")).toBe(false);
		await states.finish("job", bytes(3));
		expect(await states.finished("job")).toBe(true);
		expect(await states.latest("job")).toEqual(bytes(3));
		expect(await blobCount()).toBe(1);
	});

	it("finds nothing readable on the disk", async () => {
		const secret = new TextEncoder().encode("a personal model, in the clear".repeat(20));
		await states.finish("job", secret);
		const { readFile } = await import("node:fs/promises");
		const files = await readdir(directory, { recursive: true, withFileTypes: true });
		for (const file of files.filter((entry) => entry.isFile()))
			expect((await readFile(join(file.parentPath, file.name))).includes("a personal model")).toBe(false);
	});
});
