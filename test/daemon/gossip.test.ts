/** A job without a coordinator between whole nodes: private, killed and taken up again, paid for release by release. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 150_000;
const SET = "digits-8x8";
const ROUNDS = 8;
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(4, () => ({ budgets: { epsilon: 20, delta: 1e-5 } }));
	await fleet.found({ privacyFloor: { techniques: ["site_gaussian"], maximumEpsilon: 8 } });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

function gossipJob(name: string, privacy: object): Record<string, unknown> {
	return {
		name,
		technique: "federated_learning",
		data: { set: SET },
		model: { kind: "softmax_regression" },
		training: {
			schedule: "gossip",
			gossip: { degree: 2 },
			algorithm: "fedavg",
			rounds: ROUNDS,
			localBatch: 250,
			localLearningRate: 0.5,
		},
		privacy,
		aggregation: { phaseTimeoutMs: 10_000 },
	};
}

const PRIVATE = { mechanism: "site_gaussian", epsilon: 6, delta: 1e-6, samplingRate: 0.5 };

describe("a gossip job", () => {
	it("ends at every node with a model of its own, one paid release a round, over a kill", {
		timeout: TEST_MS,
	}, async () => {
		const [first, , third] = fleet.nodes as [FleetNode, FleetNode, FleetNode, FleetNode];
		const { id } = await first.call("job.submit", { spec: gossipJob("private-gossip", PRIVATE) });
		await third.untilEvent("job.round", ({ job, data }) => job === id && Number(data.round) >= 1);
		await third.kill();
		await third.start();
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		for (const { neighbours, spectralGap, round, coordinator, history } of details) {
			expect(neighbours?.length).toBe(2);
			expect(spectralGap).toBeGreaterThan(0.3);
			expect(round).toBe(ROUNDS);
			expect(coordinator).toBeUndefined();
			expect(history.at(-1)?.epsilonSpent).toBeLessThanOrEqual(6);
		}
		const hashes = await Promise.all(fleet.nodes.map((node) => node.modelHash(id)));
		expect(new Set(hashes).size).toBe(4);
		const { budgets } = await first.call("budget.show", { dataset: SET });
		const charges = (budgets[0]?.charges ?? []).filter(({ job }) => job === id);
		expect(charges.length).toBeGreaterThan(0);
		expect(charges.every(({ partition, state }) => partition === "train" && state === "released")).toBe(true);
		for (const node of fleet.nodes) {
			const audit = await node.call("budget.audit", {});
			expect(audit.differences).toEqual([]);
			expect(audit.releases).toBeGreaterThan(0);
		}
		await first.stop();
		await first.start();
		expect((await first.untilJob(id, ({ state }) => state === "completed")).round).toBe(ROUNDS);
		expect(await first.modelHash(id)).toBe(hashes[0]);
	});

	it("is refused without privacy where the charter asks for it", { timeout: TEST_MS }, async () => {
		const spec = gossipJob("open-gossip", { mechanism: "none" });
		await expect(fleet.node(1).call("job.submit", { spec })).rejects.toMatchObject({
			code: "job.below_privacy_floor",
		});
	});
});
