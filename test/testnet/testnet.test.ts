/** The whole testnet as a person runs it: five real processes, kills and returns, one model at the end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const EXECUTABLE = fileURLToPath(new URL("../../bin/testnet.mjs", import.meta.url));
const TIMEOUT_MS = 150_000;

interface TestnetEvent {
	readonly event: string;
	readonly [fact: string]: unknown;
}

let directory: string;

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-test-"));
});

afterEach(async () => {
	await rm(directory, { recursive: true, force: true });
});

/** Runs a testnet to its end; `onEvent` sees each event as it comes. */
async function testnet(
	args: readonly string[],
	onEvent: (event: TestnetEvent, interrupt: () => void) => void = () => undefined,
): Promise<{ events: TestnetEvent[]; exitCode: number | null; stderr: string }> {
	const child = spawn(process.execPath, [EXECUTABLE, "--json", ...args], {
		stdio: ["ignore", "pipe", "pipe"],
	});
	const exited = once(child, "exit") as Promise<[number | null]>;
	let stderr = "";
	child.stderr.setEncoding("utf8").on("data", (text: string) => {
		stderr += text;
	});
	const events: TestnetEvent[] = [];
	try {
		for await (const line of createInterface({ input: child.stdout })) {
			const event = JSON.parse(line) as TestnetEvent;
			events.push(event);
			onEvent(event, () => child.kill("SIGINT"));
		}
		const [exitCode] = await exited;
		return { events, exitCode, stderr };
	} finally {
		child.kill("SIGTERM");
	}
}

function named(events: readonly TestnetEvent[], name: string): TestnetEvent {
	const found = events.find(({ event }) => event === name);
	if (found !== undefined) return found;
	throw new Error(`no ${name} among ${events.map(({ event }) => event).join(", ")}`);
}

describe("the testnet", () => {
	test(
		"survives the loss of a participant and of the coordinator, and ends with one model everywhere",
		async () => {
			const { events, exitCode, stderr } = await testnet([
				"--nodes",
				"5",
				"--data",
				"breast-cancer",
				"--directory",
				directory,
			]);
			const summary = named(events, events.some(({ event }) => event === "failed") ? "failed" : "summary");
			expect(summary, stderr).toMatchObject({ event: "summary", ok: true, problems: [] });
			expect(exitCode).toBe(0);

			const models = summary.models as { organization: string; hash: string; rounds: number }[];
			expect(models).toHaveLength(5);
			expect(new Set(models.map(({ hash }) => hash)).size).toBe(1);

			const participant = named(events, "participant.killed").organization;
			const coordinator = named(events, "coordinator.killed").organization;
			expect(participant).not.toBe(coordinator);
			const takeover = named(events, "coordinator.takeover");
			expect(takeover.organization).not.toBe(coordinator);
			const returned = events
				.filter(({ event }) => event === "node.caught_up")
				.map(({ organization }) => organization);
			expect(returned).toEqual([participant, coordinator]);

			const rounds = events.filter(({ event }) => event === "round");
			expect(rounds.map(({ round }) => round)).toEqual(rounds.map((_, i) => i + 1));
			const without = (name: unknown) =>
				rounds.filter(({ survivors }) => !(survivors as unknown[]).includes(name));
			expect(without(participant)).not.toEqual([]);
			expect(without(coordinator)).not.toEqual([]);
			expect(rounds.at(-1)?.cohort).toHaveLength(5);

			// Noise may cost some accuracy, but a model that learned nothing says benign always: 63 %.
			expect((summary.privateModel as { accuracy: number }).accuracy).toBeGreaterThan(0.8);
			for (const { epsilonSpent, epsilon } of summary.budgets as {
				epsilonSpent: number;
				epsilon: number;
			}[]) {
				expect(epsilonSpent).toBeGreaterThan(0);
				expect(epsilonSpent).toBeLessThanOrEqual(epsilon);
			}
			expect(await readdir(directory)).toEqual([]);
		},
		TIMEOUT_MS,
	);

	test(
		"stops its processes and removes their directories when interrupted",
		async () => {
			const sockets: string[] = [];
			const { events, exitCode } = await testnet(
				["--nodes", "3", "--directory", directory],
				({ event }, interrupt) => {
					if (event !== "node.started" || sockets.length > 0) return;
					sockets.push(join(directory, "north-clinic", "node", "rpc.sock"));
					interrupt();
				},
			);
			expect(exitCode).toBe(130);
			expect(events.at(-1)?.event).toBe("interrupted");
			expect(sockets.filter((path) => existsSync(path))).toEqual([]);
			expect(await readdir(directory)).toEqual([]);
		},
		TIMEOUT_MS,
	);

	test(
		"leaves a directory alone in which an earlier testnet lies",
		async () => {
			const interrupted = (event: TestnetEvent, interrupt: () => void) => {
				if (event.event === "node.started") interrupt();
			};
			const kept = await testnet(["--nodes", "3", "--keep", "--directory", directory], interrupted);
			expect(kept.exitCode).toBe(130);
			const before = await readdir(directory, { recursive: true });
			const { exitCode, events } = await testnet(["--nodes", "3", "--directory", directory]);
			expect(exitCode).toBe(1);
			expect(named(events, "failed")).toMatchObject({ code: "testnet.directory_in_use" });
			expect(await readdir(directory, { recursive: true })).toEqual(before);
		},
		TIMEOUT_MS,
	);

	test.each([
		["--nodes", "2", "--nodes must be a whole number from 3 to 20"],
		["--data", "iris", "--data must be one of digits-8x8"],
		["--drop", "0.9", "--drop must be a number from 0.01 to 0.5"],
		["--rounds", "1.5", "--rounds must be a whole number"],
		["--verbose", "", "Unknown option '--verbose'"],
	])("refuses %s %s before anything starts", async (option, value, message) => {
		const { exitCode, stderr, events } = await testnet(value === "" ? [option] : [option, value]);
		expect(exitCode).toBe(2);
		expect(stderr).toContain(message);
		expect(events).toEqual([]);
	});
});
