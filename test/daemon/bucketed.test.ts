/** Buckets of whole nodes: one of them turns its updates around, the median of the buckets' means goes on without. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attackingModule } from "../../testnet/attacks/nodeAttacks.ts";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const NODES = 6;
const ATTACKER = 3;
let fleet: Fleet;

beforeAll(async () => {
	const preload = attackingModule("bit-flip");
	fleet = await Fleet.start(NODES, (index) => (index === ATTACKER ? { preload } : {}));
	await fleet.found({
		// Of six nobody is assumed to collude: buckets of two hide each member behind the other.
		assumedCorruptFraction: 0.1,
		minimumSurvivorFraction: 0.6,
		privacyFloor: { requireDifferentialPrivacy: false, techniques: ["none"] },
	});
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const job = (robustness: object) => ({
	name: "in-buckets",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { algorithm: "fedavg", rounds: 4, localEpochs: 3, localBatch: 16, evaluateEveryRounds: 1 },
	privacy: { mechanism: "none" },
	// All three buckets are needed: nobody is to be left behind by a busy machine.
	aggregation: { updateNormBound: 2, phaseTimeoutMs: 60_000 },
	robustness: { mode: "bucketed", rule: "coordinate_median", attackers: 1, clientMomentum: 0, ...robustness },
});

describe("a job in buckets", () => {
	it("learns beside an attacker, and all end with one model", { timeout: TEST_MS }, async () => {
		const { id } = await fleet.node(0).call("job.submit", { spec: job({ bucketSize: 2 }) });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		const { history } = details[0]!;
		expect(history).toHaveLength(4);
		for (const { survivors } of history) expect(survivors).toHaveLength(NODES);
		expect(history.at(-1)?.accuracy).toBeGreaterThan(0.5);
	});

	it("is refused where the attackers could be in most of its buckets", { timeout: TEST_MS }, async () => {
		const submit = (robustness: object) => fleet.node(0).call("job.submit", { spec: job(robustness) });
		await expect(submit({ bucketSize: 3 })).rejects.toThrow(
			/needs 3 buckets, and 6 participants fill 2 of 3/,
		);
	});
});
