/** Robustness in the clear, of whole nodes: one of them sends the opposite of its update, and is left out. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attackingModule } from "../../testnet/attacks/nodeAttacks.ts";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const ATTACKER = 3;
let fleet: Fleet;

beforeAll(async () => {
	const preload = attackingModule("sign-flip");
	fleet = await Fleet.start(5, (index) => (index === ATTACKER ? { preload } : {}));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const job = (more: object = {}) => ({
	name: "in-the-clear",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { algorithm: "fedavg", rounds: 3, localLearningRate: 0.2, localBatch: 96 },
	privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 },
	aggregation: { minimumSurvivors: 5 },
	robustness: { mode: "clear", rule: "multi_krum", attackers: 1, clientMomentum: 0.5 },
	...more,
});

describe("a job in the clear", () => {
	it("names who is left out at every node alike, and all end with one model", {
		timeout: TEST_MS,
	}, async () => {
		const { id } = await fleet.node(0).call("job.submit", { spec: job() });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		const attacker = fleet.node(ATTACKER).peer;
		for (const { history } of details) {
			expect(history).toHaveLength(3);
			// One of five is left out in every round: -4 times an update is nobody's neighbour.
			for (const { leftOut } of history) expect(leftOut).toEqual([attacker]);
		}
	});

	it("is refused with noise in shares, and with more attackers than its rule stands", {
		timeout: TEST_MS,
	}, async () => {
		const submit = (spec: Record<string, unknown>) => fleet.node(0).call("job.submit", { spec });
		const shared = { mechanism: "distributed_gaussian", epsilon: 4, delta: 1e-6, samplingRate: 0.4 };
		await expect(
			submit(job({ privacy: shared, training: { rounds: 2, expectedBatch: 345 } })),
		).rejects.toThrow(/leaves nearly without noise/);
		const robustness = { mode: "clear", rule: "multi_krum", attackers: 2 };
		await expect(submit(job({ robustness }))).rejects.toThrow(/multi_krum stands 2 attackers among 7/);
	});
});
