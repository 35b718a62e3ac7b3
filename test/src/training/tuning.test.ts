import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../src/privacy/accounting/accountant.ts";
import { planTuning, runTuning, type Tuning, tuningSchema } from "../../../src/training/tuning.ts";
import { digitsJob, digitsSites } from "./federation.ts";

const job = digitsJob({
	training: { rounds: 10, expectedBatch: 600 },
	privacy: { mechanism: "distributed_gaussian", epsilon: 1, delta: 1e-6, samplingRate: 0.3 },
});
const tuning: Tuning = tuningSchema.parse({
	candidates: [{ serverLearningRate: 2 }, { serverLearningRate: 1e-6 }],
	epsilon: 8,
	delta: 1e-6,
	meanTrials: 3,
});

describe("tuning at one organization", () => {
	const plan = planTuning(job, tuning, 1400);

	it("charges both parts of the data within its epsilon, delta's spare part included", () => {
		expect(plan.charges.map(({ partition }) => partition)).toEqual(["train", "heldOut"]);
		for (const { event, extraDelta } of plan.charges) {
			expect(event.kind).toBe("repeatAndSelect");
			const { upper } = epsilonBounds(event, 1e-6 - extraDelta);
			expect(upper).toBeLessThanOrEqual(8);
			expect(upper).toBeGreaterThan(7.5);
		}
	});

	it("gives a trial less than the whole, and every candidate the same", () => {
		const epsilons = plan.jobs.map(({ privacy }) => (privacy.mechanism === "none" ? 0 : privacy.epsilon));
		expect(new Set(epsilons).size).toBe(1);
		expect(epsilons[0]).toBeLessThan(7);
		expect(plan.jobs.map(({ training }) => training.serverLearningRate)).toEqual([2, 1e-6]);
	});

	it("tells settings that learn rather than ones that do not", async () => {
		const [data] = digitsSites(1) as [ReturnType<typeof digitsSites>[number]];
		const { candidate, score } = await runTuning(plan, data, {});
		// About 360 held-out records: whoever learns gets 200 and more of them, whoever guesses 36.
		expect(score).toBeGreaterThan(candidate === 0 ? 150 : 0);
	}, 60_000);

	it("refuses what it cannot account alike for all candidates, and targets out of reach", () => {
		expect(() => planTuning(digitsJob({ privacy: { mechanism: "none" } }), tuning, 1)).toThrowError(
			/Tuning runs/,
		);
		expect(() => planTuning(job, tuning, 1e6)).toThrowError(/samples/);
		expect(() =>
			planTuning(job, { ...tuning, epsilon: 0.01, delta: 1e-12, meanTrials: 1000 }, 1400),
		).toThrowError(/fewer trials/);
		expect(() => tuningSchema.parse({ ...tuning, candidates: [{ rounds: 3 }] })).toThrowError(/rounds/);
	});
});
