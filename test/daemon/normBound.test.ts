/** Whole nodes, one of which sends updates that are too long: it is found out, named by all, and out for good. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const ATTACKER = 3;
const preload = fileURLToPath(new URL("./fixtures/oversizedUpdates.mjs", import.meta.url));
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(5, (index) => (index === ATTACKER ? { preload } : {}));
	await fleet.found({
		minimumSurvivorFraction: 0.6,
		privacyFloor: { requireDifferentialPrivacy: false, techniques: ["none"] },
	});
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const job = (robustness: object | undefined) => ({
	name: "bounded",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { algorithm: "fedavg", rounds: 4, localEpochs: 3, localBatch: 16, evaluateEveryRounds: 1 },
	privacy: { mechanism: "none" },
	aggregation: { updateNormBound: 2 },
	...(robustness === undefined ? {} : { robustness }),
});

async function run(robustness: object | undefined) {
	const { id } = await fleet.node(0).call("job.submit", { spec: job(robustness) });
	const details = await Promise.all(
		fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
	);
	expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
	return details[0]!.history;
}

describe("a member whose updates are fifty times too long", () => {
	it("is in no sum of a job that says nothing of it, which learns without it", {
		timeout: TEST_MS,
	}, async () => {
		const history = await run(undefined);
		const attacker = fleet.node(ATTACKER).peer;
		expect(history).toHaveLength(4);
		for (const { survivors, excluded } of history) {
			expect(survivors).not.toContain(attacker);
			expect(excluded).toEqual([attacker]);
		}
		expect(history.at(-1)?.cohort).not.toContain(attacker);
		expect(history.at(-1)?.accuracy).toBeGreaterThan(0.5);
	});

	it("ruins a job that asks for the plain mean", { timeout: TEST_MS }, async () => {
		const history = await run({ mode: "none" });
		for (const { survivors, excluded } of history) {
			expect(survivors).toContain(fleet.node(ATTACKER).peer);
			expect(excluded).toBeUndefined();
		}
		expect(history.at(-1)?.accuracy ?? 0).toBeLessThan(0.5);
	});
});
