import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
	type PrivateLocalTrainingPlan,
	trainLocally,
	trainLocallyInPrivate,
} from "../../../src/learning/localTraining.ts";
import { initialParameters, multilayerPerceptron, parameterCount } from "../../../src/learning/model.ts";
import { applyGradient, initialOptimizerState } from "../../../src/learning/optimizer.ts";
import { type Batch, createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import {
	randomBatch,
	randomParameters,
	referenceGradientSum,
	relativeDistance,
	seededRandomForTests,
} from "./reference.ts";

const model = multilayerPerceptron(8, [16], 4, "relu");
const common = initialParameters(model, new Uint8Array(32).fill(1));
const count = parameterCount(model);
const empty: Batch = { features: new Float32Array(0), labels: new Float32Array(0), rows: 0 };

/** Four Gaussian-like clusters around fixed centres, easy to tell apart but overlapping. */
function clusters(rows: number, seed: number): Batch {
	const centres = randomParameters(4 * 8, 99, 2);
	const random = seededRandomForTests(seed);
	const labels = Float32Array.from({ length: rows }, () => Math.floor(4 * random()));
	const features = new Float32Array(rows * 8);
	for (let i = 0; i < features.length; i++) {
		const centre = centres[labels[Math.floor(i / 8)]! * 8 + (i % 8)]!;
		features[i] = centre + random() + random() + random() - 1.5;
	}
	return { features, labels, rows };
}

const seededBytesForTests = (seed: number) => {
	const random = seededRandomForTests(seed);
	return (length: number) => Uint8Array.from({ length }, () => Math.floor(256 * random()));
};

let trainer: Trainer;
beforeAll(async () => {
	trainer = await createTrainer({ model });
});
afterAll(() => trainer.dispose());

const accuracy = async (parameters: Float32Array, data: Batch) =>
	(await trainer.evaluate(parameters, data, 10)).correct / data.rows;
const moved = (delta: Float64Array) => Float32Array.from(common, (value, i) => value + delta[i]!);

describe("plain local epochs", () => {
	test("one full batch is one gradient step", async () => {
		const data = randomBatch(model, 40, 1);
		const { delta, steps } = await trainLocally(trainer, common, data, {
			epochs: 1,
			batchSize: 64,
			learningRate: 0.5,
		});
		const { sum } = referenceGradientSum(model, common, data);
		expect(steps).toBe(1);
		expect(
			relativeDistance(
				delta,
				sum.map((g) => (-0.5 * g) / 40),
			),
		).toBeLessThan(1e-5);
	});

	test("each epoch uses each record once, in a new order", async () => {
		const seen: number[][] = [];
		const spy: Trainer = {
			...trainer,
			gradientSum: async (_, batch) => {
				seen.push([...batch.labels]);
				return { sum: new Float64Array(count), lossSum: 0, examples: batch.rows };
			},
		};
		const data: Batch = {
			features: new Float32Array(8 * 25),
			labels: Float32Array.from({ length: 25 }, (_, i) => i),
			rows: 25,
		};
		const plan = { epochs: 2, batchSize: 10, learningRate: 1 };
		const { steps } = await trainLocally(spy, common, data, plan, seededBytesForTests(3));
		expect(steps).toBe(6);
		expect(seen.map((labels) => labels.length)).toEqual([10, 10, 5, 10, 10, 5]);
		const [first, second] = [seen.slice(0, 3).flat(), seen.slice(3).flat()];
		for (const epoch of [first, second]) expect([...epoch].sort((a, b) => a - b)).toEqual([...data.labels]);
		expect(first).not.toEqual(second);
	});

	test("learns clusters it has not seen", async () => {
		const held = clusters(400, 2);
		const before = await accuracy(common, held);
		const { delta } = await trainLocally(trainer, common, clusters(600, 1), {
			epochs: 5,
			batchSize: 32,
			learningRate: 0.1,
		});
		const after = await accuracy(moved(delta), held);
		expect(before).toBeLessThan(0.6);
		expect(after).toBeGreaterThan(0.9);
	});

	test("no records, no change", async () => {
		const result = await trainLocally(trainer, common, empty, { epochs: 3, batchSize: 8, learningRate: 1 });
		expect(result).toEqual({ delta: new Float64Array(count), steps: 0 });
	});

	test("divergence is an error, not an update", async () => {
		await expect(
			trainLocally(trainer, common, clusters(200, 1), { epochs: 5, batchSize: 8, learningRate: 1e38 }),
		).rejects.toMatchObject({ code: "learning.not_finite" });
	});

	test.each([
		{ epochs: 0, batchSize: 8, learningRate: 1 },
		{ epochs: 1, batchSize: 0.5, learningRate: 1 },
		{ epochs: 1, batchSize: 8, learningRate: Number.NaN },
	])("refuses $epochs epochs of batches of $batchSize at rate $learningRate", async (plan) => {
		await expect(trainLocally(trainer, common, empty, plan)).rejects.toMatchObject({
			code: "learning.invalid_argument",
		});
	});
});

describe("private local steps", () => {
	const plan = (overrides: Partial<PrivateLocalTrainingPlan>): PrivateLocalTrainingPlan => ({
		steps: 1,
		clipping: { mode: "flat", norm: 0.5 },
		expectedBatchSize: 20,
		learningRate: 1,
		sampleRows: () => new Uint32Array(0),
		addNoise: () => {},
		...overrides,
	});

	test("a step is the clipped sum over the sample, divided by the expected batch size", async () => {
		const data = randomBatch(model, 40, 5);
		const rows = Uint32Array.of(3, 17, 39);
		const { delta } = await trainLocallyInPrivate(trainer, common, data, plan({ sampleRows: () => rows }));
		const sample: Batch = {
			features: Float32Array.from(
				[...rows].flatMap((row) => [...data.features.subarray(8 * row, 8 * row + 8)]),
			),
			labels: Float32Array.from(rows, (row) => data.labels[row]!),
			rows: 3,
		};
		const { sum } = referenceGradientSum(model, common, sample, 0.5);
		expect(
			relativeDistance(
				delta,
				sum.map((g) => -g / 20),
			),
		).toBeLessThan(1e-5);
	});

	test("an empty sample still releases noise", async () => {
		const { delta, steps } = await trainLocallyInPrivate(
			trainer,
			common,
			randomBatch(model, 5, 1),
			plan({ steps: 2, addNoise: (sum, step) => void sum.set(sum.map((value) => value + step + 1)) }),
		);
		expect(steps).toBe(2);
		for (const value of delta) expect(value).toBeCloseTo(-3 / 20, 6);
	});

	test("learns under clipping and noise", async () => {
		const random = seededRandomForTests(8);
		const data = clusters(1000, 1);
		const { delta } = await trainLocallyInPrivate(
			trainer,
			common,
			data,
			plan({
				steps: 80,
				clipping: { mode: "flat", norm: 1 },
				expectedBatchSize: 100,
				learningRate: 0.8,
				sampleRows: () => Uint32Array.from({ length: 1000 }, (_, i) => i).filter(() => random() < 0.1),
				addNoise: (sum) => {
					// Irwin-Hall(12) - 6 is close enough to a standard normal for a test of learning.
					sum.forEach((value, i) => {
						let normal = -6;
						for (let k = 0; k < 12; k++) normal += random();
						sum[i] = value + normal;
					});
				},
			}),
		);
		expect(await accuracy(moved(delta), clusters(400, 2))).toBeGreaterThan(0.85);
	});

	test("a row that is not there is refused", async () => {
		await expect(
			trainLocallyInPrivate(
				trainer,
				common,
				randomBatch(model, 5, 1),
				plan({ sampleRows: () => Uint32Array.of(5) }),
			),
		).rejects.toMatchObject({ code: "learning.invalid_argument" });
	});

	test.each([
		{ steps: 0 },
		{ expectedBatchSize: 0 },
		{ learningRate: -1 },
		{ clipping: { mode: "flat" as const, norm: 0 } },
	])("refuses %o", async (overrides) => {
		await expect(
			trainLocallyInPrivate(trainer, common, randomBatch(model, 5, 1), plan(overrides)),
		).rejects.toMatchObject({ code: "learning.invalid_argument" });
	});
});

test("three sites' summed clipped gradients train the common model as pooled data would", async () => {
	const sites = [clusters(200, 11), clusters(90, 12), clusters(310, 13)];
	const settings = { learningRate: 0.5, momentum: 0.5 };
	let state = initialOptimizerState(settings, count);
	let parameters = common;
	for (let round = 0; round < 30; round++) {
		const total = new Float64Array(count);
		for (const site of sites) {
			const { sum } = await trainer.clippedGradientSum(parameters, site, { mode: "flat", norm: 2 });
			sum.forEach((value, i) => {
				total[i]! += value;
			});
		}
		({ parameters, state } = applyGradient(
			settings,
			state,
			parameters,
			total.map((value) => value / 600),
		));
	}
	expect(await accuracy(parameters, clusters(400, 2))).toBeGreaterThan(0.9);
});
