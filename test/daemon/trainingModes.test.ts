/** The privacy modes of training between whole nodes, and tuning at one of them. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { runCli } from "../node/cli/cli.ts";
import { Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 120_000;
const SET = "digits-8x8";
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({ budgets: { epsilon: 60, delta: 1e-5 } }));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const shared = { mechanism: "distributed_gaussian", epsilon: 4, delta: 1e-6 };

function digitsJob(
	name: string,
	overrides: { training?: object; privacy: object; model?: object; compression?: object },
) {
	return {
		name,
		technique: "federated_learning",
		data: { set: SET },
		model: overrides.model ?? { kind: "softmax_regression" },
		training: { rounds: 6, serverLearningRate: 1, evaluateEveryRounds: 5, ...overrides.training },
		privacy: { ...shared, ...overrides.privacy },
		...(overrides.compression === undefined ? {} : { compression: overrides.compression }),
	};
}

const sampled = { samplingRate: 0.4 };
const jobs = [
	digitsJob("adaptive-adam-schedule", {
		model: {
			kind: "layers",
			inputShape: [8, 8, 1],
			layers: [
				{ kind: "conv2d", filters: 4, kernelSize: [3, 3], strides: [2, 2] },
				{ kind: "groupNorm", groups: 2 },
				{ kind: "activation", function: "tanh" },
				{ kind: "flatten" },
			],
		},
		training: { expectedBatch: 700, optimizer: "adam", momentum: 0.9, serverLearningRate: 0.02 },
		privacy: {
			...sampled,
			clipping: "adaptive",
			noiseSchedule: "geometric",
			noiseRatio: 0.5,
			server_side: true,
		},
	}),
	digitsJob("banded-noise", {
		training: { expectedBatch: 700 },
		privacy: { correlation: "banded", minimumSeparation: 3 },
	}),
	digitsJob("adaptive-noise", {
		training: { expectedBatch: 700, rounds: 8, evaluateEveryRounds: 1 },
		privacy: { ...sampled, noiseSchedule: "adaptive", noiseRatio: 0.5 },
	}),
	digitsJob("compressed", {
		training: { expectedBatch: 700 },
		privacy: { ...sampled, clipping: "adaptive" },
		compression: { coordinates: "random", share: 0.5 },
	}),
	digitsJob("compressed-organizations", {
		training: { algorithm: "fedavg" },
		privacy: { unit: "client" },
		compression: { coordinates: "informed", share: 0.4, errorFeedback: true },
	}),
	digitsJob("organizations", { privacy: { unit: "client" }, training: { algorithm: "fedavg" } }),
];

interface Charged {
	readonly job: string;
	readonly partition: string;
	readonly state: string;
}

async function chargesOf(node: FleetNode, job: string): Promise<Charged[]> {
	const { budgets } = await node.call("budget.show", { dataset: SET });
	return (budgets[0]?.charges ?? []).filter((charge) => charge.job === job) as Charged[];
}

describe.each(jobs)("the job $name", (job) => {
	it("ends with one model everywhere, paid for within its epsilon", { timeout: TEST_MS }, async () => {
		const [node] = fleet.nodes as [FleetNode, ...FleetNode[]];
		const { id } = await node.call("job.submit", { spec: job });
		const details = await Promise.all(
			fleet.nodes.map((each) => each.untilJob(id, ({ state }) => state === "completed")),
		);
		const hashes = await Promise.all(fleet.nodes.map((each) => each.modelHash(id)));
		expect(new Set(hashes).size).toBe(1);
		const { epsilonSpent } = details[0]!.history.at(-1)!;
		expect(epsilonSpent).toBeGreaterThan(0);
		expect(epsilonSpent).toBeLessThanOrEqual(4);
		const charges = await chargesOf(node, id);
		expect(charges.filter(({ state }) => state !== "released")).toEqual([]);
		expect((await node.call("budget.audit", {})).differences).toEqual([]);
	});
});

describe("tuning", () => {
	it("tells settings and a score, charged before it began, and again after a restart", {
		timeout: TEST_MS,
	}, async () => {
		const node = fleet.node(0);
		const job = digitsJob("tuned", {
			training: { rounds: 4, expectedBatch: 300 },
			privacy: { samplingRate: 0.5 },
		});
		const tuning = {
			candidates: [{ serverLearningRate: 1 }, { serverLearningRate: 2, clipping: "automatic" }],
			epsilon: 6,
			delta: 1e-6,
			meanTrials: 2,
		};
		const jobFile = join(node.directory, "..", "tuned.yaml");
		const tuningFile = join(node.directory, "..", "tuning.yaml");
		await writeFile(jobFile, stringify(job));
		await writeFile(tuningFile, stringify(tuning));
		const { code, stdout, stderr } = await runCli([
			"--data-dir",
			node.directory,
			"--json",
			"tune",
			jobFile,
			tuningFile,
		]);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const { id, chosen, score, charged } = JSON.parse(stdout);
		expect(charged).toEqual({ epsilon: 6, delta: 1e-6 });
		expect(tuning.candidates[chosen.index]).toEqual(chosen.settings);
		expect(score).toBeTypeOf("number");
		expect((await chargesOf(node, id)).map(({ partition }) => partition).sort()).toEqual([
			"heldOut",
			"train",
		]);
		expect((await node.call("budget.audit", {})).differences).toEqual([]);
		await node.stop();
		await node.start();
		expect(await node.call("tuning.show", { tuning: id })).toMatchObject({ state: "done", chosen, score });
		await expect(node.call("tuning.show", { tuning: "tuning-0" })).rejects.toMatchObject({
			code: "tuning.not_found",
		});
		await Promise.all([rm(jobFile), rm(tuningFile)]);
	});
});
