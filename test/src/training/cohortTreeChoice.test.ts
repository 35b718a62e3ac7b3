import { describe, expect, test } from "vitest";
import { largestCohort } from "../../../src/training/cohortTreeChoice.ts";
import { checkJobSpec, type JobSpec } from "../../../src/training/jobSpec.ts";
import { TREE_JOB } from "./treeJob.ts";

const inTheOpen = {
	...TREE_JOB,
	training: { algorithm: "fedavg", rounds: 4 },
	privacy: { mechanism: "none" },
	robustness: { mode: "none" },
};

describe("rounds over a tree of cohorts", () => {
	test("go with shares of noise, and without privacy where the plain mean is asked for", () => {
		expect((checkJobSpec(TREE_JOB) as JobSpec).aggregation.cohortSize).toBe(4);
		expect((checkJobSpec(inTheOpen) as JobSpec).aggregation.cohortSize).toBe(4);
	});

	test.each([
		[
			"the default bound",
			{ ...inTheOpen, robustness: undefined },
			/norm_bound judges the vectors of one session/,
		],
		[
			"a rule in the clear",
			{ ...inTheOpen, robustness: { mode: "clear", rule: "coordinate_median", attackers: 1 } },
			/mode clear/,
		],
		["a selection", { ...TREE_JOB, selection: { strategy: "uniform", size: 6 } }, /leave selection out/],
		[
			"its own least survivors",
			{ ...TREE_JOB, aggregation: { cohortSize: 4, minimumSurvivors: 3 } },
			/leave aggregation.minimumSurvivors out/,
		],
		[
			"rounds that wait for nobody",
			{
				...TREE_JOB,
				training: { algorithm: "fedavg", rounds: 4, schedule: "buffered", bufferSize: 4 },
				privacy: { mechanism: "none" },
				robustness: { mode: "none" },
			},
			/for training.schedule synchronous/,
		],
		[
			"correlated noise",
			{
				...TREE_JOB,
				privacy: {
					mechanism: "distributed_gaussian",
					epsilon: 8,
					delta: 1e-6,
					clippingNorm: 1,
					correlation: "tree",
					minimumSeparation: 2,
				},
			},
			/use correlation none/,
		],
	])("do not go with %s", (_, job, message) => {
		expect(() => checkJobSpec(job)).toThrow(message);
	});

	test.each([
		[12, 4, 4],
		[14, 4, 5],
		[11, 3, 4],
		[8, 4, 4],
		[7, 4, undefined],
	])("%i participants in cohorts of at least %i", (participants, least, largest) => {
		expect(largestCohort(participants, least)).toBe(largest);
		if (largest !== undefined) {
			const count = Math.ceil(participants / largest);
			expect(Math.floor(participants / count)).toBeGreaterThanOrEqual(least);
		}
	});
});
