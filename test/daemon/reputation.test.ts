/** Reputation, of whole nodes: one of them sends the opposite of its update, no longer than allowed, and is left out. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attackingModule } from "../../testnet/attacks/nodeAttacks.ts";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const ATTACKER = 3;
let fleet: Fleet;

beforeAll(async () => {
	const preload = attackingModule("bit-flip");
	fleet = await Fleet.start(5, (index) => (index === ATTACKER ? { preload } : {}));
	await fleet.found({ privacyFloor: { requireDifferentialPrivacy: false, techniques: ["none"] } });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const job = {
	name: "reputation",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { algorithm: "fedavg", rounds: 5, localEpochs: 2, localLearningRate: 0.2, localBatch: 32 },
	privacy: { mechanism: "none" },
	aggregation: { updateNormBound: 2 },
	robustness: { mode: "reputation", attackers: 1, clientMomentum: 0.5 },
};

describe("a member that pulls against the common model", () => {
	it("is left out by its reputation at every node alike, and is not excluded", {
		timeout: TEST_MS,
	}, async () => {
		const { id } = await fleet.node(0).call("job.submit", { spec: job });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		const attacker = fleet.node(ATTACKER).peer;
		for (const { history } of details) {
			expect(history).toHaveLength(5);
			// The first round has nothing yet to hold anybody against, the second what the first made.
			expect(history[0]?.leftOut).toEqual([]);
			for (const { leftOut, survivors, excluded } of history.slice(1)) {
				expect(leftOut).toEqual([attacker]);
				expect(survivors).not.toContain(attacker);
				expect(excluded).toBeUndefined();
			}
		}
	});
});
