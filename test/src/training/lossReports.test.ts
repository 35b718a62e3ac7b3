import { describe, expect, test } from "vitest";
import type { Trainer } from "../../../src/learning/trainer.ts";
import { epsilonBounds } from "../../../src/privacy/accounting/accountant.ts";
import { NO_IDEA } from "../../../src/selection/history.ts";
import { totalCharges, trainingCharges } from "../../../src/training/charges.ts";
import { checkJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { reportLoss, reportOf } from "../../../src/training/lossReports.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { WHO } from "./federation.ts";

const utility = { strategy: "utility", size: 4 };

function jobWith(selection: object | undefined, evaluateEveryRounds = 2) {
	return resolveJobSpec(
		checkJobSpec({
			name: "reports",
			technique: "federated_learning",
			data: { set: "digits-8x8" },
			model: { kind: "softmax_regression" },
			training: { rounds: 12, expectedBatch: 400, evaluateEveryRounds },
			privacy: { mechanism: "distributed_gaussian", epsilon: 4, delta: 1e-6, samplingRate: 0.4 },
			...(selection === undefined ? {} : { selection }),
		}),
	);
}

describe("the cost of reported losses", () => {
	test.each([1, 3, 12])("evaluations every %i rounds and reports together stay within epsilon", (every) => {
		const spec = jobWith(utility, every);
		const total = totalCharges(spec, planTraining(spec, WHO));
		const heldOut = total.find(({ partition }) => partition === "heldOut")!;
		const { upper } = epsilonBounds(heldOut.event, 1e-6);
		expect(upper).toBeLessThanOrEqual(4);
		expect(upper).toBeGreaterThan(3.9);
	});

	test("is a charge of its own in every round, that no dead attempt takes back", () => {
		const spec = jobWith(utility);
		const plan = planTraining(spec, WHO);
		const facts = { level: 0, samplerDistance: 0, newCycles: 0 };
		const evaluated = trainingCharges(spec, plan, WHO, { ...facts, round: 0 });
		expect(evaluated.map(({ partition, standing = false }) => [partition, standing])).toEqual([
			["train", false],
			["heldOut", false],
			["heldOut", true],
		]);
		const silent = trainingCharges(spec, plan, WHO, { ...facts, round: 1 });
		expect(silent.map(({ partition }) => partition)).toEqual(["train", "heldOut"]);
		expect(silent[1]?.standing).toBe(true);
	});

	test("is nothing where nobody reports", () => {
		for (const selection of [undefined, { strategy: "fair", size: 4 }]) {
			const spec = jobWith(selection);
			const plan = planTraining(spec, WHO);
			expect(plan.report).toBeUndefined();
			expect(
				trainingCharges(spec, plan, WHO, { round: 1, level: 0, samplerDistance: 0, newCycles: 0 }),
			).toHaveLength(1);
		}
		const [plain, reporting] = [jobWith(undefined), jobWith(utility)].map((spec) => planTraining(spec, WHO));
		expect(reporting!.noise[0]!.evaluationMultiplier).toBeCloseTo(
			plain!.noise[0]!.evaluationMultiplier * Math.SQRT2,
			6,
		);
	});
});

describe("a report", () => {
	test("is the share of the loss bound, in one byte", () => {
		expect(reportOf(0, 256)).toBe(0);
		expect(reportOf(256 * 50, 256 * 100)).toBe(127);
		expect(reportOf(256 * 500, 256 * 100)).toBe(254);
		expect(reportOf(-900, 256 * 100)).toBe(0);
	});

	test("says that it has no idea where the noise left no count", () => {
		expect(reportOf(1000, 255)).toBe(NO_IDEA);
		expect(reportOf(1000, -4)).toBe(NO_IDEA);
	});

	const trainer = (examples: number) =>
		({
			evaluate: (_: unknown, __: unknown, lossBound: number) =>
				Promise.resolve({ lossSum: (examples * lossBound) / 4, correct: 0, examples }),
		}) as unknown as Trainer;
	const nothing = { features: new Float32Array(0), labels: new Float32Array(0), rows: 0 };
	const plan = { noiseMultiplier: 10, sigma: 3600 };

	test("of many records is near their mean loss, of few it is noise", async () => {
		const values = new Set<number>();
		for (let i = 0; i < 40; i++) {
			const { report } = await reportLoss(trainer(10_000), new Float32Array(0), nothing as never, plan, 8);
			// Noise of 3,600 on 2,560,000 moves 63.5 by 0.37 in standard deviation: eight of them, and rounding.
			expect(Math.abs(report[0]! - 63.5)).toBeLessThan(3.5);
		}
		// One in ten and more is neither cut off nor without a count: 400 of them are not all alike.
		for (let i = 0; i < 400; i++)
			values.add((await reportLoss(trainer(3), new Float32Array(0), nothing as never, plan, 8)).report[0]!);
		expect(values.size).toBeGreaterThan(3);
	});
});
