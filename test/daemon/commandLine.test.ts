/** The command line against live nodes, from founding to a model's predictions, and the health endpoints. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { importLayersModel } from "../../src/learning/formats/layersModelImport.ts";
import { importOnnx } from "../../src/learning/formats/onnx.ts";
import { importSafetensors } from "../../src/learning/formats/safetensors.ts";
import { type Run, runCli } from "../node/cli/cli.ts";
import { digitsJob, digitsSlice, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const ROUNDS = 12;
let fleet: Fleet;
let job = "";

beforeAll(async () => {
	fleet = await Fleet.start(3);
}, TEST_MS);

afterAll(() => fleet?.end());

async function althing(node: FleetNode, ...args: string[]): Promise<Run> {
	return runCli(["--data-dir", node.directory, ...args]);
}

/** Runs a command that must succeed and returns its JSON. */
// biome-ignore lint/suspicious/noExplicitAny: the shapes are checked by the assertions
async function json(node: FleetNode, ...args: string[]): Promise<any> {
	const { code, stdout, stderr } = await althing(node, "--json", ...args);
	expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
	return JSON.parse(stdout);
}

describe("the command line", () => {
	it("says what is missing before there is a federation", { timeout: TEST_MS }, async () => {
		const node = fleet.node(0);
		const shown = await althing(node, "--json", "federation", "show");
		expect(shown.code).toBe(5);
		expect(JSON.parse(shown.stdout)).toMatchObject({ code: "federation.none" });
		const listed = await althing(node, "job", "ls");
		expect(listed.code).not.toBe(0);
		expect(listed.stderr).toContain("not a member");
	});

	it("founds a federation, invites and joins", { timeout: TEST_MS }, async () => {
		const founder = fleet.node(0);
		const founded = await json(founder, "federation", "create", "fleet");
		expect(founded).toMatchObject({ name: "fleet", charterVersion: 1, standing: "member", quorum: 1 });
		for (const node of fleet.nodes.slice(1)) {
			const { code, stdout } = await althing(founder, "federation", "invite", node.organization);
			expect(code).toBe(0);
			const file = join(node.directory, "ticket");
			await writeFile(file, stdout);
			await json(node, "federation", "join", "--ticket-file", file);
		}
		await fleet.connected();
		const shown = await json(fleet.node(2), "federation", "show");
		expect(shown).toMatchObject({
			name: "fleet",
			charterVersion: 3,
			quorum: 2,
			mayBeDown: 1,
			standing: "member",
		});
		expect(shown.members.map(({ organization }: { organization: string }) => organization).sort()).toEqual(
			fleet.nodes.map(({ organization }) => organization).sort(),
		);
		const text = await althing(fleet.node(2), "federation", "show");
		expect(text.stdout).toMatch(/may be down:\s+1/);
	});

	it("examines the node and lists its peers", { timeout: TEST_MS }, async () => {
		const node = fleet.node(1);
		const report = await json(node, "doctor");
		expect(report.healthy).toBe(true);
		const checks = new Map<string, { state: string; detail: string }>(
			report.checks.map((check: { name: string; state: string; detail: string }) => [check.name, check]),
		);
		expect(checks.get("peers")?.detail).toBe("all 2 other members are connected");
		expect(checks.get("federation")?.detail).toContain("up to 1 may be down");
		expect([...checks.keys()]).toEqual(
			expect.arrayContaining(["clock", "store", "engine onnx", "addresses"]),
		);
		const { peers } = await json(node, "peers");
		expect(peers).toHaveLength(2);
		for (const peer of peers) expect(peer).toMatchObject({ member: true, connected: true });
		expect(await json(node, "status")).toMatchObject({ ready: true, connectedPeers: 2, peer: node.peer });
	});

	it("adds data, trains, and shows what was done", { timeout: TEST_MS }, async () => {
		for (const [index, node] of fleet.nodes.entries()) {
			const path = join(node.directory, "digits.csv");
			await writeFile(path, digitsSlice(index, 3));
			await json(node, "data", "add", "digits-8x8", path, "--description", "digits-8x8");
		}
		const node = fleet.node(0);
		const { datasets } = await json(node, "data", "ls");
		expect(datasets).toMatchObject([{ name: "digits-8x8", rows: 599, features: 64, classes: 10 }]);

		const file = join(node.directory, "job.yaml");
		await writeFile(file, stringify(digitsJob({ rounds: ROUNDS })));
		job = (await json(node, "job", "submit", file)).id;
		const watched = await althing(node, "job", "watch", job, "--timeout", "60");
		expect({ code: watched.code, stderr: watched.stderr }).toEqual({ code: 0, stderr: "" });
		expect(watched.stdout).toContain("completed");

		const { jobs } = await json(node, "job", "ls");
		expect(jobs).toMatchObject([{ id: job, state: "completed", round: ROUNDS, rounds: ROUNDS }]);
		const shown = await json(node, "job", "show", job.slice(0, 8));
		expect(shown.history).toHaveLength(ROUNDS);
		expect(shown.participants.map(({ decision }: { decision: string }) => decision)).toEqual(
			Array(3).fill("accepted"),
		);
		const { budgets } = await json(node, "budget", "show", "digits-8x8");
		const [budget] = budgets;
		// The job keeps its promise; the data set's account, a filter for whatever may come, states more.
		const { epsilonSpent } = shown.history.at(-1);
		expect(epsilonSpent).toBeGreaterThan(0);
		expect(epsilonSpent).toBeLessThanOrEqual(6);
		expect(budget.epsilonPlanned).toBeLessThanOrEqual(6);
		expect(budget.epsilonSpent).toBeGreaterThanOrEqual(epsilonSpent);
		expect(budget.epsilonSpent).toBeLessThanOrEqual(budget.epsilon);
		expect(await althing(node, "job", "show", "ffffffff")).toMatchObject({ code: 5 });
	});

	it("exports the model in each format, and every file loads as the same model", {
		timeout: TEST_MS,
	}, async () => {
		const node = fleet.node(1);
		await node.untilJob(job, ({ state }) => state === "completed");
		const { models } = await json(node, "model", "ls");
		expect(models).toMatchObject([{ job, round: ROUNDS }]);
		const read: Record<string, (directory: string, names: string[]) => Promise<unknown>> = {
			onnx: async (directory, names) => importOnnx(await readFile(join(directory, named(names, /\.onnx$/)))),
			safetensors: async (directory, names) =>
				importSafetensors(await readFile(join(directory, named(names, /\.safetensors$/)))),
			tfjs: async (directory, names) =>
				importLayersModel({
					modelJson: await readFile(join(directory, named(names, /^model\.json$/)), "utf8"),
					weights: await readFile(join(directory, named(names, /\.bin$/))),
				}),
		};
		const loaded: unknown[] = [];
		for (const [format, load] of Object.entries(read)) {
			const directory = join(node.directory, `export-${format}`);
			await json(node, "model", "export", job, "--format", format, "--output", directory);
			const names = await readdir(directory);
			expect(names).toContain("model-card.md");
			loaded.push(await load(directory, names));
		}
		expect(loaded[1]).toEqual(loaded[0]);
		expect(loaded[2]).toEqual(loaded[0]);
		// An export never replaces what is there, unless told to.
		const again = await althing(
			node,
			"model",
			"export",
			job,
			"--output",
			join(node.directory, "export-onnx"),
		);
		expect(again.code).not.toBe(0);
	});

	it("predicts far better than chance", { timeout: TEST_MS }, async () => {
		const node = fleet.node(2);
		await node.untilJob(job, ({ state }) => state === "completed");
		const lines = digitsSlice(0, 6).trim().split("\n").slice(1, 201);
		const rows = lines.map((line) => line.split(",").slice(0, -1));
		const truth = lines.map((line) => line.split(",").at(-1));
		const file = join(node.directory, "rows.csv");
		await writeFile(file, rows.map((row) => row.join(",")).join("\n"));
		const { classes } = await json(node, "model", "predict", job, file);
		const right = truth.filter((label, index) => label === classes[index]).length;
		expect(right / truth.length).toBeGreaterThan(0.5);
		await writeFile(file, "1,2,3\n");
		const wrong = await althing(node, "model", "predict", job, file);
		expect(wrong.code).not.toBe(0);
		expect(wrong.stderr).toContain("64");
	});
});

describe("health endpoints", () => {
	it("are ready, count what happens, and answer nothing else", { timeout: TEST_MS }, async () => {
		const node = fleet.node(0);
		expect(JSON.parse((await node.health("/readyz")).body)).toEqual({
			ready: true,
			checks: { store: true, federation: true },
		});
		const metrics = await node.health("/metrics");
		expect(metrics.status).toBe(200);
		expect(metrics.body).toMatch(/^althing_\w+/m);
		expect((await node.health("/rpc/v1/node.status")).status).toBe(404);
	});
});

function named(names: readonly string[], pattern: RegExp): string {
	const name = names.find((known) => pattern.test(known));
	if (name === undefined) throw new Error(`no ${pattern} among ${names.join(", ")}`);
	return name;
}
