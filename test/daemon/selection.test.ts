/** Rounds that ask a selection of whole nodes, by what their organizations declare; and rounds without waiting. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Fleet } from "./fleet.ts";

const TEST_MS = 120_000;
const REGIONS = ["north", "north", "south", "south"];
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(4, (index) => ({ characteristics: { region: REGIONS[index]!, size: "small" } }));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

const job = (selection: object) => ({
	name: "selected",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { rounds: 4, expectedBatch: 345, evaluateEveryRounds: 4 },
	privacy: {
		mechanism: "distributed_gaussian",
		epsilon: 4,
		delta: 1e-6,
		samplingRate: 0.4,
	},
	selection,
});

describe("a stratified job", () => {
	it("sums one of the north and two of the south in every round, and charges nobody else", {
		timeout: TEST_MS,
	}, async () => {
		const spec = job({ strategy: "stratified", characteristic: "region", strata: { north: 1, south: 2 } });
		const { id } = await fleet.node(0).call("job.submit", { spec });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		const regionOf = new Map(fleet.nodes.map((node, index) => [node.peer, REGIONS[index]]));
		const rounds = details[0]!.history;
		expect(rounds).toHaveLength(4);
		for (const { cohort, survivors, attempt } of rounds) {
			expect(cohort).toEqual(expect.arrayContaining(survivors));
			if (attempt > 0) continue;
			expect(cohort.map((peer) => regionOf.get(peer)).sort()).toEqual(["north", "south", "south"]);
		}
		for (const [index, node] of fleet.nodes.entries()) {
			const { budgets } = await node.call("budget.show", { dataset: "digits-8x8" });
			const paid = (budgets[0]?.charges ?? []).filter(
				(charge) => charge.job === id && charge.partition === "train" && charge.state === "released",
			);
			const summed = details[index]!.history.filter(({ survivors }) => survivors.includes(node.peer));
			expect(paid).toHaveLength(summed.length);
		}
	});

	it("is refused where the corrupt could be too many of a sum", { timeout: TEST_MS }, async () => {
		const spec = {
			...job({ strategy: "uniform", size: 3 }),
			aggregation: { minimumSurvivors: 4 },
		};
		await expect(fleet.node(0).call("job.submit", { spec })).rejects.toMatchObject({
			code: "job.cohort_too_small",
		});
	});
});

describe("a job that selects by reported losses", () => {
	it("asks the same at every node, and charges each report to the held-out records of the site it is of", {
		timeout: TEST_MS,
	}, async () => {
		const spec = job({ strategy: "utility", size: 3, exploration: 0.34 });
		const { id } = await fleet.node(0).call("job.submit", { spec });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		const { history } = details[0]!;
		for (const [index, node] of fleet.nodes.entries()) {
			expect(details[index]!.history.map(({ cohort }) => cohort)).toEqual(
				history.map(({ cohort }) => cohort),
			);
			const { budgets } = await node.call("budget.show", { dataset: "digits-8x8" });
			const paid = (budgets[0]?.charges ?? []).filter(
				(charge) => charge.job === id && charge.partition === "heldOut" && charge.state === "released",
			);
			// A report in each round that it is in the sum of, and in the first the figures of the evaluation.
			const contributed = history.filter(({ survivors }) => survivors.includes(node.peer));
			expect(new Set(paid.map(({ round }) => round)).size).toBe(contributed.length);
			const evaluated = contributed.includes(history[0]!) ? 1 : 0;
			expect(paid.length).toBeGreaterThanOrEqual(contributed.length + evaluated);
			expect((await node.call("budget.audit", {})).differences).toEqual([]);
		}
	});

	it("is refused together with robustness, and without noise for the reports", {
		timeout: TEST_MS,
	}, async () => {
		const spec = job({ strategy: "power_of_choice", size: 3, candidates: 4 });
		const submit = (more: object) => fleet.node(0).call("job.submit", { spec: { ...spec, ...more } });
		const robustness = { mode: "norm_bound" };
		await expect(submit({ robustness })).rejects.toMatchObject({ code: "job.invalid" });
		const training = { rounds: 2 };
		await expect(submit({ training, privacy: { mechanism: "none" } })).rejects.toThrow(/power_of_choice/);
	});
});

describe("a buffered job", () => {
	it("takes three contributions a round, and each site pays for those that were taken", {
		timeout: TEST_MS,
	}, async () => {
		const spec = {
			...job({ strategy: "fair", size: 3 }),
			name: "buffered",
			selection: undefined,
			training: { rounds: 5, expectedBatch: 345, schedule: "buffered", bufferSize: 3 },
		};
		const { id } = await fleet.node(0).call("job.submit", { spec: JSON.parse(JSON.stringify(spec)) });
		const details = await Promise.all(
			fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")),
		);
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
		for (const { survivors } of details[0]!.history) expect(survivors).toHaveLength(3);
		for (const [index, node] of fleet.nodes.entries()) {
			const { budgets } = await node.call("budget.show", { dataset: "digits-8x8" });
			const paid = (budgets[0]?.charges ?? []).filter(
				(charge) => charge.job === id && charge.partition === "train" && charge.state === "released",
			);
			const summed = details[index]!.history.filter(({ survivors }) => survivors.includes(node.peer));
			expect(paid).toHaveLength(summed.length);
			expect((await node.call("budget.audit", {})).differences).toEqual([]);
		}
	});
});
