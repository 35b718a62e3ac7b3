import { describe, expect, test } from "vitest";
import { coordinateMedian } from "../../../src/robustness/coordinates.ts";
import {
	bucketDealing,
	bucketedMean,
	setAsideFrom,
	totalOfBuckets,
} from "../../../src/training/bucketedUpdate.ts";
import { initialState } from "../../../src/training/commonState.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";

function job(robustness: object = {}, more: object = {}): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "buckets",
			technique: "federated_learning",
			data: { set: "digits-8x8" },
			model: { kind: "softmax_regression" },
			training: { algorithm: "fedavg", rounds: 2, localLearningRate: 0.5, serverLearningRate: 1 },
			privacy: { mechanism: "none" },
			aggregation: { updateNormBound: 2 },
			robustness: { mode: "bucketed", attackers: 1, bucketSize: 4, rule: "coordinate_median", ...robustness },
			...more,
		}),
	);
}

const plan = (spec: ResolvedJobSpec, participants: number, minimumSurvivors: number, corruption = 1) =>
	planTraining(spec, { participants, corruption, minimumSurvivors });

describe("a job in buckets", () => {
	test("leaves two honest vectors in every sum that is opened, and a majority of honest buckets", () => {
		expect(bucketDealing(job(), { corruption: 1 }, 0)).toEqual({ size: 4, survivors: 3, attackers: 1 });
		// Attackers that are out of the job spoil no bucket any more.
		expect(bucketDealing(job(), { corruption: 1 }, 1)).toEqual({ size: 4, survivors: 3, attackers: 0 });
		expect(bucketDealing({ robustness: { mode: "none" } }, { corruption: 1 }, 0)).toBeUndefined();
	});

	test("is planned where that holds, with a bound that follows the updates", () => {
		const planned = plan(job(), 12, 11);
		expect(initialState(job(), planned, "job", new Uint8Array(32)).normBound).toBe(2);
	});

	test("is refused where it does not", () => {
		expect(() => plan(job({ bucketSize: 2 }), 12, 12)).toThrow(/set robustness.bucketSize to 3 or more/);
		expect(() => plan(job({ bucketSize: 3 }), 12, 10)).toThrow(/sums 9 of 12 .* fewer than the 10/);
		expect(() => plan(job({ attackers: 2 }), 12, 12)).toThrow(/against 2 attackers needs 5 buckets/);
		expect(() => job({}, { selection: { strategy: "uniform", size: 8 } })).toThrow(
			/does not go with selection/,
		);
		expect(() => job({}, { compression: { method: "quantization", bits: 8 } })).toThrow(/compression/);
	});

	test("moves by the rule over the bucket means, and evaluates by the whole sum", () => {
		const spec = job();
		const planned = plan(spec, 12, 11);
		const { length, layout, encoding } = planned;
		const state = initialState(spec, planned, "job", new Uint8Array(32));
		const units = (value: number) => Math.round(value * encoding.scale);
		const mask = encoding.modulusBits === 32 ? 0xffffffff : 2 ** encoding.modulusBits - 1;
		// Three buckets of four, of which one has lost a member, and one is spoiled.
		const buckets = [
			[0, 1, 2, 3],
			[4, 5, 6],
			[8, 9, 10, 11],
		];
		const means = [0.01, 0.02, -0.5];
		const sums = new Uint32Array(3 * length);
		for (const [bucket, members] of buckets.entries()) {
			const sum = sums.subarray(bucket * length, (bucket + 1) * length);
			for (let i = 0; i < layout.update; i++) sum[i] = (units(means[bucket]!) * members.length) & mask;
		}
		const { mean, kept } = bucketedMean(spec, planned, state, sums, buckets);
		const expected = coordinateMedian(
			means.map((value) => new Float64Array(layout.update).fill(units(value) / encoding.scale)),
			1,
		);
		expect(mean[0]).toBeCloseTo(expected[0]!, 12);
		// Without an aggregate before there is nothing to agree with.
		expect([...kept.reputations!]).toEqual(new Array(12).fill(0));
		expect(mean[0]).toBeCloseTo(0.01, 4);
		const applied = applyRelease({ spec, plan: planned, round: 0, state, sum: sums, survivors: 11, buckets });
		expect(applied.state.parameters[0]! - state.parameters[0]!).toBeCloseTo(-0.01, 4);
		expect([...totalOfBuckets(Uint32Array.of(1, 2, 3, 4, 5, 6), 2)]).toEqual([9, 12]);
	});

	test("leaves a bucket of which nothing was opened out of the rule", () => {
		const spec = job({ rule: "trimmed_mean" });
		const planned = plan(spec, 12, 11);
		const sums = new Uint32Array(4 * planned.length);
		const first = (bucket: number, value: number) => {
			sums[bucket * planned.length] = Math.round(3 * value * planned.encoding.scale);
		};
		for (const [bucket, value] of [0.1, 0.2, 0, 0.4].entries()) first(bucket, value);
		const { mean } = bucketedMean(spec, planned, {}, sums, [[0, 1, 2], [3, 4, 5], [], [9, 10, 11]]);
		// Of 0.1, 0.2 and 0.4 one is cut off at each end.
		expect(mean[0]).toBeCloseTo(0.2, 4);
	});

	test("remembers in which buckets everybody was, and sets aside who pulls against the others for rounds", () => {
		const spec = job({ bucketSize: 3 });
		const planned = plan(spec, 12, 9);
		const { length, layout, encoding } = planned;
		const lastAggregate = new Float64Array(layout.update).fill(0.05);
		const random = seededRandomForTests(3);
		let state: Parameters<typeof bucketedMean>[2] = { lastAggregate, normBound: 2 };
		for (let round = 0; round < 60; round++) {
			const order = [...Array(12).keys()].sort(() => random() - 0.5);
			const buckets = [0, 1, 2, 3].map((bucket) => order.slice(3 * bucket, 3 * bucket + 3));
			const sums = new Uint32Array(4 * length);
			for (const [bucket, members] of buckets.entries()) {
				// Member 7 sends the opposite of what the others do.
				const value = members.reduce((sum, member) => sum + (member === 7 ? -0.05 : 0.05), 0);
				const mask = encoding.modulusBits === 32 ? 0xffffffff : 2 ** encoding.modulusBits - 1;
				const units = Math.round(value * encoding.scale) & mask;
				sums.subarray(bucket * length, bucket * length + layout.update).fill(units >>> 0);
			}
			state = { ...bucketedMean(spec, planned, state, sums, buckets).kept, normBound: 2 };
		}
		expect(setAsideFrom(spec, state, [])).toEqual([7]);
		// Nobody beside an attacker that is out already, nor where the others would fill too few buckets.
		expect(setAsideFrom(spec, state, [4])).toEqual([]);
		expect(setAsideFrom(job(), state, [])).toEqual([]);
		expect(setAsideFrom({ robustness: { mode: "none" } }, state, [])).toEqual([]);
		expect(setAsideFrom(spec, {}, [])).toEqual([]);
	});
});
