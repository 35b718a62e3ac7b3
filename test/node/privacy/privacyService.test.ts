/** The planning service over a real ledger and its real worker thread. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Budgets } from "../../../node/budget/budgets.ts";
import { Privacy } from "../../../node/privacy/privacyService.ts";
import type { CallContext } from "../../../node/rpc/services.ts";
import { roundEvent } from "../../../src/privacy/accounting/calibration.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";

const DAY = 86_400_000;
const START = Date.parse("2026-01-01T00:00:00Z");
const context: CallContext = {
	caller: { tokenId: "t", tokenName: "officer", role: "privacy_officer" },
	signal: new AbortController().signal,
};
const description = {
	name: "small",
	label: { kind: "class" as const, column: "y", classes: ["a", "b"] },
	features: { count: 12, bounds: [-1, 1] as [number, number], scale: "symmetric" as const },
};
const event = roundEvent(0.02, 2);
const clock = { atMs: START };
let directory: string;
let budgets: Budgets;
let privacy: Privacy;

beforeAll(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-privacy-"));
	const random = seededRandomForTests(8);
	const header = [...Array.from({ length: 12 }, (_, i) => `x${i}`), "y"].join();
	const rows = Array.from({ length: 100 }, (_, row) =>
		[...Array.from({ length: 12 }, () => (2 * random() - 1).toFixed(3)), row % 2 === 0 ? "a" : "b"].join(),
	);
	const path = join(directory, "small.csv");
	await writeFile(path, `${[header, ...rows].join("\n")}\n`);
	let sequence = 0;
	budgets = new Budgets({
		journal: { append: async () => sequence++ },
		records: [],
		defaults: { epsilon: 2, delta: 1e-6 },
		nowMs: () => clock.atMs,
	});
	await budgets.openAccount("small");
	for (let day = 0; day < 10; day++) {
		clock.atMs = START + day * DAY;
		for (let round = 0; round < 10; round++) {
			const chargeId = `job-${day}-${round}`;
			const charge = {
				dataset: "small",
				jobId: `job-${day}`,
				round,
				chargeId,
				attempt: 0,
				event,
				extraDelta: 0,
			};
			await budgets.charge([{ ...charge, partition: "train" }]);
		}
	}
	clock.atMs = START + 10 * DAY;
	const registered = {
		name: "small",
		path,
		source: "inline",
		description,
		splitKey: new Uint8Array(32),
		trainingRows: 80,
		heldOutRows: 20,
		columns: [],
		addedAt: "2026-01-01T00:00:00Z",
	};
	privacy = new Privacy({
		ledger: budgets.ledger,
		datasets: { get: (name) => (name === "small" ? registered : undefined) },
		engine: { backend: "onnx", threads: 1 },
		nowMs: () => clock.atMs,
	});
});
afterAll(async () => {
	await privacy.stop();
	await rm(directory, { recursive: true, force: true });
});

describe("planning", () => {
	it("divides a budget over phases", async () => {
		const phase = { rounds: 4, samplingProbability: 1, sensitivity: 1, weight: 1 };
		const phases = [
			{ ...phase, name: "early" },
			{ ...phase, name: "late", weight: 16 },
		];
		const plan = await privacy.plan(
			{ epsilon: 1, delta: 1e-6, strategy: "optimal", ratio: 1, phases },
			context,
		);
		expect(plan.epsilon).toBeLessThanOrEqual(1);
		expect(plan.phases[0]!.noiseMultiplier / plan.phases[1]!.noiseMultiplier).toBeCloseTo(
			Math.sqrt(4 / 1),
			2,
		);
	});

	it("costs rounds without charging them, and agrees with the ledger on what fits", async () => {
		const before = budgets.ledger.spent("small").epsilon;
		const ask = (rounds: number) =>
			privacy.cost({ dataset: "small", samplingProbability: 0.02, noiseMultiplier: 2, rounds }, context);
		const some = await ask(50);
		expect(some.before).toBeCloseTo(before, 9);
		expect(some.fits).toBe(true);
		expect((await ask(some.largestRounds)).fits).toBe(true);
		expect((await ask(some.largestRounds + 1)).fits).toBe(false);
		expect(budgets.ledger.spent("small").epsilon).toBeCloseTo(before, 12);
	});

	it("forecasts the end of the budget from the charges' times", async () => {
		const forecast = await privacy.forecast({ dataset: "small", windowDays: 10.5 }, context);
		expect(forecast.recentCharges).toBe(100);
		expect(forecast.epsilonSpent).toBeCloseTo(budgets.ledger.spent("small").epsilon, 9);
		expect(Date.parse(forecast.exhaustedAt!)).toBeGreaterThan(clock.atMs);
		expect(forecast.course.at(-1)!.epsilon).toBeGreaterThan(forecast.epsilonLimit);
	});

	it("optimizes noise and says what would meet a limit that is missed", async () => {
		const found = await privacy.optimize(
			{
				epsilon: 1,
				delta: 1e-6,
				records: 1000,
				parameters: 100_000,
				utilityLimit: 0.1,
				clipping: [{ norm: 1, signal: 0.3 }],
				samplingProbabilities: [0.1, 1],
				rounds: [10, 100],
				frontier: [0.5, 4],
			},
			context,
		);
		expect(found.meetsLimit).toBe(false);
		expect(found.wouldMeet!.records).toBeGreaterThan(1000);
		expect(found.frontier.map(({ epsilon }) => epsilon)).toEqual([0.5, 4]);
	});

	it("agrees with the ledger after the limit was raised, whose filter keeps its weights", async () => {
		const limits = { type: "limits" as const, account: "small", epsilonLimit: 6, deltaLimit: 1e-6 };
		await budgets.change(limits, "officer");
		const forecast = await privacy.forecast({ dataset: "small", windowDays: 10.5 }, context);
		expect(forecast.epsilonLimit).toBe(6);
		expect(forecast.epsilonSpent).toBeCloseTo(budgets.ledger.spent("small").epsilon, 9);
	});

	it("knows no other data sets", async () => {
		await expect(privacy.forecast({ dataset: "none", windowDays: 1 }, context)).rejects.toThrowError(
			/no data set/,
		);
	});
});

describe("an audit of a job on the node's own records", () => {
	const spec = {
		name: "job",
		technique: "federated_learning",
		data: { set: "elsewhere", description },
		model: { kind: "multilayer_perceptron", hidden: [24] },
		training: { rounds: 3, expectedBatch: 50 },
		privacy: { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 1 },
	};
	const params = {
		dataset: "small",
		spec,
		attacker: "sums" as const,
		canaries: 300,
		participants: 3,
		corruption: 0,
		significance: 1e-6,
	};

	it("trains with canaries in the worker and finds no violation in a sound job", async () => {
		const result = await privacy.audit(params, context);
		expect(result).toMatchObject({ canaries: 300, rounds: 3, violated: false });
		expect(result.claimedEpsilon).toBeLessThanOrEqual(8);
		expect(result.claimedEpsilon).toBeGreaterThan(7);
	});

	it("refuses a job without a claim", async () => {
		const open = { ...spec, privacy: { mechanism: "none" }, training: { rounds: 3 } };
		await expect(privacy.audit({ ...params, spec: open }, context)).rejects.toThrowError(
			/no privacy mechanism/,
		);
	});
});
