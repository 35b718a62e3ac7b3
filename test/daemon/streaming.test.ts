/** Data sets that are read in passes, in whole nodes: trained on, asked, and refused what needs them in memory. */
import { appendFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../node/cli/cli.ts";
import { type ScriptedPostgres, scriptedPostgres } from "../node/data/scriptedPostgres.ts";
import { digitsJob, digitsSlice, Fleet } from "./fleet.ts";

const TEST_MS = 90_000;
const SET = "digits-8x8";
let fleet: Fleet;

let database: ScriptedPostgres;

/** A slice of the digits as a table of a database. */
function digitsTable(index: number) {
	const [header = "", ...lines] = digitsSlice(index, 3).trim().split("\n");
	return {
		columns: header.split(",").map((name) => [name, name === "digit" ? "text" : "real"] as const),
		rows: lines.map((line) => line.split(",")),
	};
}

beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({ budgets: { epsilon: 30, delta: 1e-5 } }));
	await fleet.found();
	database = await scriptedPostgres({ password: "of a reader", table: digitsTable(1) });
	// One site streams a file, one a table, the third holds its records in memory: nobody else can tell.
	for (const [index, node] of fleet.nodes.entries()) {
		const path = join(node.directory, "digits.csv");
		const credentials = join(node.directory, "reader.yaml");
		await writeFile(path, digitsSlice(index, 3));
		await writeFile(credentials, "user: reader\npassword: of a reader\n", { mode: 0o600 });
		const table = `postgres://127.0.0.1:${database.port}/clinic`;
		const where = [[path, "--stream"], [table, "--table", "digits", "--credentials", credentials], [path]][
			index
		]!;
		const { code, stdout, stderr } = await runCli([
			...["--data-dir", node.directory, "--json"],
			...["data", "add", SET, "--description", SET, ...where],
		]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		expect(JSON.parse(stdout).streamed ?? false).toBe(index < 2);
		expect(JSON.parse(stdout).rows).toBe(599);
	}
}, TEST_MS);

afterAll(async () => {
	await fleet?.end();
	await database?.close();
});

describe("a streamed data set", () => {
	it("takes part in trainings beside one in memory", { timeout: TEST_MS }, async () => {
		const [node] = fleet.nodes;
		const sampled = digitsJob({ rounds: 5, epsilon: 6, phaseTimeoutMs: 30_000 });
		const cycled = {
			...sampled,
			name: "cycled",
			privacy: {
				mechanism: "distributed_gaussian",
				epsilon: 6,
				delta: 1e-6,
				correlation: "banded",
				minimumSeparation: 3,
			},
		};
		const epochs = {
			...digitsJob(),
			name: "epochs",
			training: { algorithm: "scaffold", rounds: 2, localEpochs: 2, localLearningRate: 0.5 },
			privacy: { mechanism: "distributed_gaussian", unit: "client", epsilon: 6, delta: 1e-6 },
		};
		for (const spec of [sampled, cycled, epochs]) {
			const { id } = await node!.call("job.submit", { spec });
			const details = await Promise.all(
				fleet.nodes.map((each) => each.untilJob(id, ({ state }) => state === "completed")),
			);
			const hashes = await Promise.all(fleet.nodes.map((each) => each.modelHash(id)));
			expect(new Set(hashes).size).toBe(1);
			// Each site was in sums that were released, and paid for it.
			const survivors = new Set(details[0]!.history.flatMap((round) => round.survivors));
			expect(survivors.size).toBe(3);
			for (const detail of details) expect(detail.history.at(-1)!.epsilonSpent).toBeGreaterThan(0);
		}
	});

	it("answers the federation's question and one of its own", { timeout: TEST_MS }, async () => {
		const ask = async (...args: string[]) => {
			const run = await runCli([
				...["--data-dir", fleet.node(0).directory, "--json", "query", "count", "--where", "digit=3"],
				...["--data", SET, ...args],
			]);
			expect({ code: run.code, stderr: run.stderr }).toEqual({ code: 0, stderr: "" });
			const { count } = JSON.parse(run.stdout).answer;
			return count as { readonly value: number; readonly standardError: number };
		};
		const threes = (index: number, of: number) =>
			digitsSlice(index, of)
				.split("\n")
				.filter((line) => line.endsWith(",3")).length;
		const all = await ask("--epsilon", "1", "--delta", "1e-6", "--federation");
		// Seven standard errors of Gaussian noise, forty of Laplace noise: false alarms below 1e-11.
		expect(Math.abs(all.value - threes(0, 1))).toBeLessThan(7 * all.standardError + 1);
		const own = await ask("--epsilon", "0.5");
		expect(Math.abs(own.value - threes(0, 3))).toBeLessThan(40 * own.standardError + 1);
	});

	it("refuses what needs its records in memory, and says why", { timeout: TEST_MS }, async () => {
		const personal = {
			...digitsJob(),
			name: "personal",
			training: { algorithm: "fedavg", rounds: 2 },
			privacy: { mechanism: "distributed_gaussian", unit: "client", epsilon: 6, delta: 1e-6 },
			personalization: { method: "fine_tuning" },
		};
		const { id } = await fleet.node(2).call("job.submit", { spec: personal });
		// All three must accept: the first refusal ends the job, whichever of the two it comes from.
		const { participants } = await fleet.node(2).untilJob(id, (job) => job.state === "rejected");
		const refusals = participants.filter(({ decision }) => decision === "rejected");
		expect(refusals.length).toBeGreaterThanOrEqual(1);
		for (const { reason } of refusals) expect(reason).toContain("read in passes");
		await expect(
			fleet.node(0).call("query.release", {
				dataset: SET,
				release: { epsilon: 1, queries: [{ kind: "count", answers: { least: 0, largest: 10, step: 1 } }] },
			}),
		).rejects.toMatchObject({ code: "data.cannot_stream" });
	});

	it("leaves a training when its file changes, with the reason", { timeout: TEST_MS }, async () => {
		const node = fleet.node(0);
		await appendFile(join(node.directory, "digits.csv"), digitsSlice(0, 300).split("\n")[1]!);
		const spec = digitsJob({ name: "changed", rounds: 2, epsilon: 4 });
		const { id } = await fleet.node(1).call("job.submit", { spec });
		const { reason } = await node.untilJob(id, (job) => job.reason?.includes("has changed") ?? false);
		expect(reason).toContain("add it again");
	});
});
