/** Rounds that ask a selection, of whole nodes one of which attacks: under an enforced bound, and in the clear. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attackingModule } from "../../testnet/attacks/nodeAttacks.ts";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const ATTACKER = 3;
let fleet: Fleet;

beforeAll(async () => {
	const preload = attackingModule("garbage-masks");
	fleet = await Fleet.start(5, (index) => (index === ATTACKER ? { preload } : {}));
	await fleet.found({
		minimumSurvivorFraction: 0.6,
		privacyFloor: { requireDifferentialPrivacy: false, techniques: ["none"] },
	});
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

async function run(more: object) {
	const spec = {
		technique: "federated_learning",
		data: { set: "digits-8x8" },
		model: { kind: "softmax_regression" },
		...more,
	};
	const { id } = await fleet.node(0).call("job.submit", { spec });
	const details = await Promise.all(
		fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
	);
	expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
	return details;
}

describe("selection with an enforced bound", () => {
	it("excludes the attacker in the first round that asks it, and asks it no more", {
		timeout: TEST_MS,
	}, async () => {
		const details = await run({
			name: "selected-and-bounded",
			training: { algorithm: "fedavg", rounds: 4, localEpochs: 2, localBatch: 16 },
			privacy: { mechanism: "none" },
			aggregation: { updateNormBound: 2 },
			robustness: { mode: "norm_bound" },
			selection: { strategy: "fair", size: 4 },
		});
		const attacker = fleet.node(ATTACKER).peer;
		const { history } = details[0]!;
		const first = history.findIndex(({ cohort }) => cohort.includes(attacker));
		// Four of five in each round, whoever was asked least often: the second at the latest.
		expect([0, 1]).toContain(first);
		for (const [index, { cohort, survivors, excluded, attempt }] of history.entries()) {
			expect(survivors).not.toContain(attacker);
			expect(excluded ?? []).toEqual(index < first ? [] : [attacker]);
			if (attempt === 0) expect(cohort).toHaveLength(4);
			if (index > first) expect(cohort).not.toContain(attacker);
		}
	});
});

describe("selection of vectors in the clear", () => {
	it("takes the median of those asked, at every node alike", { timeout: TEST_MS }, async () => {
		const details = await run({
			name: "selected-in-the-clear",
			training: { algorithm: "fedavg", rounds: 4, localEpochs: 3, localBatch: 16, evaluateEveryRounds: 1 },
			privacy: { mechanism: "none" },
			aggregation: { updateNormBound: 4 },
			robustness: { mode: "clear", rule: "coordinate_median", attackers: 1, clientMomentum: 0 },
			selection: { strategy: "uniform", size: 4 },
		});
		for (const { history } of details) {
			expect(history.map(({ survivors }) => survivors)).toEqual(
				details[0]!.history.map(({ survivors }) => survivors),
			);
			for (const { cohort, survivors, attempt } of history) {
				expect(cohort).toEqual(expect.arrayContaining(survivors));
				if (attempt === 0) expect(cohort).toHaveLength(4);
			}
		}
		// The attacker's numbers are among those asked in most rounds, and are no median of them.
		expect(details[0]!.history.at(-1)?.accuracy).toBeGreaterThan(0.5);
	});
});
