import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { gossipDegree, mixingRadius } from "../../../src/gossip/gossipChoice.ts";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import { checkJobSpec, parseJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";

const WHO = { participants: 8, corruption: 1, minimumSurvivors: 6 };

function job(changes: { training?: object; privacy?: object; aggregation?: object; more?: object } = {}) {
	return {
		name: "gossip",
		technique: "federated_learning",
		data: { set: "digits-8x8" },
		model: { kind: "softmax_regression" },
		training: { schedule: "gossip", algorithm: "fedavg", rounds: 10, ...changes.training },
		privacy: { mechanism: "none", ...changes.privacy },
		aggregation: { ...changes.aggregation },
		...changes.more,
	};
}

describe("a gossip job's file", () => {
	it("is taken with its defaults", () => {
		const spec = checkJobSpec(
			job({ training: { serverLearningRate: 0.5 }, aggregation: { updateNormBound: 3 } }),
		);
		expect(gossipDegree(spec)).toBe(4);
		expect(mixingRadius(spec)).toBe(6);
		expect(mixingRadius(checkJobSpec(job({ training: { gossip: { radius: 2 } } })))).toBe(2);
	});

	it.each(["digits-gossip", "digits-gossip-private"])("%s.yaml of configs/jobs is one", (name) => {
		const file = new URL(`../../../configs/jobs/${name}.yaml`, import.meta.url);
		expect(parseJobSpec(readFileSync(file, "utf8"), name).training.schedule).toBe("gossip");
	});

	it.each([
		[{ training: { gossip: { degree: 3 } } }, /must be even/],
		[{ training: { gossip: { degree: 0 } } }, /degree/],
		[{ training: { schedule: "synchronous", gossip: {} } }, /needs training.schedule gossip/],
		[{ training: { bufferSize: 5 } }, /belong to training.schedule buffered/],
		[{ training: { optimizer: "adam" } }, /no common optimizer/],
		[{ training: { momentum: 0.5 } }, /no common optimizer/],
		[{ training: { algorithm: "scaffold" } }, /corrected by a sum/],
		[{ training: { algorithm: "fednova" } }, /corrected by a sum/],
		[{ aggregation: { minimumSurvivors: 4 } }, /no sum is opened/],
		[
			{
				training: { algorithm: "fedsgd", expectedBatch: 500 },
				privacy: { mechanism: "distributed_gaussian", epsilon: 4, delta: 1e-6, samplingRate: 0.3 },
			},
			/no sum to add noise in shares to/,
		],
		[{ more: { selection: { strategy: "uniform", count: 4 } } }, /about a sum of all participants|selection/],
		[
			{ more: { personalization: { method: "fineTuning" } } },
			/about a sum of all participants|personalization/,
		],
	])("is refused where it contradicts itself: %j", (changes, why) => {
		expect(() => checkJobSpec(job(changes))).toThrowError(why);
	});
});

describe("what a gossip job charges", () => {
	const spec = resolveJobSpec(
		checkJobSpec(
			job({
				privacy: { mechanism: "site_gaussian", epsilon: 4, delta: 1e-5, samplingRate: 0.25 },
			}),
		),
	);
	const plan = planJob(spec, WHO);

	it("is each round's private steps, and no evaluation: that stays at the site", () => {
		const charges = plan.charges({ round: 0, level: 0, samplerDistance: 0, newCycles: 0 });
		expect(charges.map(({ partition }) => partition)).toEqual(["train"]);
		const synchronous = planJob(
			resolveJobSpec(
				checkJobSpec(
					job({
						training: { schedule: "synchronous" },
						privacy: { mechanism: "site_gaussian", epsilon: 4, delta: 1e-5, samplingRate: 0.25 },
					}),
				),
			),
			WHO,
		);
		expect(synchronous.charges({ round: 0, level: 0, samplerDistance: 0, newCycles: 0 })[0]?.event).toEqual(
			charges[0]?.event,
		);
	});

	it("is nothing without privacy", () => {
		const open = planJob(resolveJobSpec(checkJobSpec(job())), WHO);
		expect(open.charges({ round: 0, level: 0, samplerDistance: 0, newCycles: 0 })).toEqual([]);
	});
});
