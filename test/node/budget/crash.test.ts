import { spawn } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { copyFile, mkdtemp, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { auditLedger } from "../../../src/privacy/budget/audit.ts";
import { executedBy, openSite, ROUNDS, runSite } from "./siteScript.ts";

const SCRIPT = fileURLToPath(new URL("./dyingSite.ts", import.meta.url));
/** Shared by all the processes: most of a short one's time is compiling. */
const COMPILED = join(tmpdir(), `althing-compiled-${process.pid}`);
afterAll(() => rm(COMPILED, { recursive: true, force: true }));

interface Release {
	readonly chargeId: string;
	readonly round: number;
	readonly attempt: number;
}

let directory: string;
let path: string;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-budget-"));
	path = join(directory, "journal");
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function releasesIn(file: string): Promise<Release[]> {
	const text = await readFile(file, "utf8").catch(() => "");
	return text
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => JSON.parse(line) as Release);
}

/** Whatever left the site is paid for, and goes on being so unless it is proven dead. */
async function expectPaid(journal: string, releases: readonly Release[]): Promise<void> {
	const { budgets, certificates, journal: opened } = await openSite(journal);
	for (const { chargeId, round, attempt } of releases) {
		const isDead = certificates.some(
			(one) => one.kind === "dead" && one.round === round && one.attempt === attempt,
		);
		for (const partition of ["train", "heldOut"]) {
			const charge = budgets.ledger
				.chargesOf("job-1", round)
				.find((known) => known.chargeId === `${chargeId}/${partition}`);
			expect(charge).toBeDefined();
			if (!isDead) expect(charge?.liveAttempts).toContain(attempt);
			expect(charge?.deadAttempts.includes(attempt) && !isDead).toBe(false);
		}
	}
	await opened.close();
}

/** The job goes on after the crash and ends with every round paid for once. */
async function expectFinished(journal: string, releases: Release[]): Promise<void> {
	const site = await openSite(journal);
	await runSite(site, "after", (chargeId, round, attempt) => releases.push({ chargeId, round, attempt }));
	await site.journal.close();
	await expectPaid(journal, releases);
	const { budgets, entries, certificates, journal: opened } = await openSite(journal);
	const history = budgets.ledger.history();
	const finals = history.filter(({ state }) => state === "released");
	expect(finals.map(({ round, partition }) => `${round}/${partition}`).sort()).toEqual(
		Array.from({ length: ROUNDS }, (_, round) => [`${round}/heldOut`, `${round}/train`]).flat(),
	);
	const executions = finals.map(({ chargeId, event }) => ({ chargeId, event }));
	const audit = auditLedger(entries, { ...executedBy(certificates), executions });
	expect(audit.differences).toEqual([]);
	expect(audit.charges.open).toBe(0);
	// A charge is a release, or the waste of a crash; nothing counts that is neither.
	const { released, refunded, wasted, total } = audit.charges;
	expect(released + refunded + wasted).toBe(total);
	expect(released).toBe(2 * ROUNDS);
	await opened.close();
}

/** Where each write of an undisturbed run ended in the file, and what had left by which length of it. */
async function undisturbed(): Promise<{
	ends: number[];
	releases: (Release & { readonly atBytes: number })[];
}> {
	const ends: number[] = [];
	const releases: (Release & { readonly atBytes: number })[] = [];
	const site = await openSite(path, (when) => {
		if (when === "after") ends.push(statSync(path).size);
	});
	await runSite(site, "whole", (chargeId, round, attempt) =>
		releases.push({ chargeId, round, attempt, atBytes: statSync(path).size }),
	);
	await site.journal.close();
	return { ends: [...new Set(ends)], releases };
}

/** Runs the site until it kills itself. */
async function runUntilKilled(
	when: "before" | "after",
	write: number,
	releases: string,
): Promise<string | null> {
	const child = spawn(process.execPath, [SCRIPT, path, releases, when, String(write)], {
		stdio: ["ignore", "ignore", "inherit"],
		env: { ...process.env, NODE_COMPILE_CACHE: COMPILED },
	});
	const [, signal] = (await once(child, "exit")) as [number | null, string | null];
	return signal;
}

describe("a site's ledger", () => {
	it("survives kill -9 before and after every journal write", async () => {
		let kills = 0;
		for (const when of ["before", "after"] as const) {
			for (let write = 0; ; write++) {
				const releases = join(directory, "releases");
				await rm(path, { force: true });
				await rm(releases, { force: true });
				const signal = await runUntilKilled(when, write, releases);
				const left = await releasesIn(releases);
				await expectPaid(path, left);
				await expectFinished(path, left);
				if (signal === null) break;
				kills++;
			}
		}
		// Both partitions charged three times, two of them refunded, four final, three certificates, one account.
		expect(kills).toBe(2 * 16);
	});

	it("loses no charge of what had left, wherever the file is cut", async () => {
		const { ends, releases } = await undisturbed();
		expect(releases).toHaveLength(3);
		const copy = join(directory, "copy");
		let start = ends[0] ?? 0;
		for (const end of ends.slice(1)) {
			for (const size of [start, start + 1, Math.floor((start + end) / 2), end - 1]) {
				await copyFile(path, copy);
				await truncate(copy, size);
				// What left later than this was never paid for by this much of a journal, nor had it left.
				const left = releases.filter(({ atBytes }) => atBytes <= size);
				await expectPaid(copy, left);
				await expectFinished(copy, [...left]);
			}
			start = end;
		}
		expect((await stat(path)).size).toBe(start);
	});
});
