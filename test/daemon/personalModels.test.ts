/** Jobs whose sites keep something for themselves, between whole nodes of which one is killed on the way. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../node/cli/cli.ts";
import { Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 120_000;
const ROUNDS = 8;
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3);
	await fleet.found({ privacyFloor: { requireDifferentialPrivacy: false, techniques: ["none"] } });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

function job(name: string, training: object, personalization: object) {
	return {
		name,
		technique: "federated_learning",
		data: { set: "digits-8x8" },
		model: { kind: "softmax_regression" },
		training: { rounds: ROUNDS, localEpochs: 2, localBatch: 32, localLearningRate: 0.3, ...training },
		privacy: { mechanism: "none" },
		personalization,
		// Clusters cannot have a bound; a job that names none has one.
		...("method" in personalization && personalization.method === "clustered"
			? { robustness: { mode: "none" } }
			: {}),
		aggregation: { phaseTimeoutMs: 1000 },
	};
}

/** This organization's own model of a job, as its command line exports it. */
async function personalParameters(node: FleetNode, id: string): Promise<Buffer> {
	const output = join(node.directory, "exported", id);
	const { code, stderr } = await runCli([
		"--data-dir",
		node.directory,
		"model",
		"export",
		id,
		"--personal",
		"--format",
		"safetensors",
		"--output",
		output,
	]);
	expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
	return await readFile(join(output, "model.safetensors"));
}

describe("what an organization keeps for itself", () => {
	it("outlives a kill in mid-job, beside one common model everywhere", { timeout: TEST_MS }, async () => {
		const [first, victim] = fleet.nodes as [FleetNode, FleetNode, FleetNode];
		const jobs = [
			job("scaffold", { algorithm: "scaffold" }, { method: "ditto", epochs: 2 }),
			job("clusters", { algorithm: "fedavg" }, { method: "clustered", jointRounds: 2 }),
		];
		const ids: string[] = [];
		for (const spec of jobs) ids.push((await first.call("job.submit", { spec })).id);
		await Promise.all(ids.map((id) => victim.untilJob(id, ({ history }) => history.length >= 3)));
		await victim.kill();
		await victim.start();
		await Promise.all(
			ids.flatMap((id) => fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed"))),
		);
		for (const id of ids) {
			const shown = await Promise.all(
				fleet.nodes.map((node) =>
					node.until("its own model", async () => {
						const model = await node.call("model.show", { job: id });
						return model.personal?.rounds === ROUNDS ? model : undefined;
					}),
				),
			);
			expect(new Set(shown.map(({ hash }) => hash)).size).toBe(1);
			for (const { personal } of shown) expect(personal!.personal!.accuracy).toBeGreaterThan(0.8);
		}
		const [ditto, clusters] = ids as [string, string];
		const models = await Promise.all(fleet.nodes.map((node) => personalParameters(node, ditto)));
		expect(new Set(models.map((model) => model.toString("hex"))).size).toBe(3);
		await personalParameters(first, clusters);
		await expect(first.call("model.export", { job: clusters, format: "onnx" })).rejects.toMatchObject({
			code: "model.clustered",
		});
		const rows = [new Array<number>(64).fill(1)];
		const { classes } = await victim.call("model.predict", { job: ditto, rows, personal: true });
		expect(classes).toHaveLength(1);
		await expect(victim.call("model.predict", { job: clusters, rows })).rejects.toMatchObject({
			code: "model.clustered",
		});
	});
});
