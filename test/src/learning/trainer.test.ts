import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Clipping } from "../../../src/learning/clipping.ts";
import {
	linearRegression,
	logisticRegression,
	type Model,
	multilayerPerceptron,
	parameterCount,
	softmaxRegression,
} from "../../../src/learning/model.ts";
import {
	type BackendName,
	type Batch,
	createTrainer,
	describeBackends,
	type Trainer,
} from "../../../src/learning/trainer.ts";
import {
	exampleGradient,
	numericalGradientSum,
	randomBatch,
	randomParameters,
	referenceGradientSum,
	relativeDistance,
	rowOf,
} from "./reference.ts";

const MODELS: Record<string, Model> = {
	"linear regression": linearRegression(5),
	"logistic regression": logisticRegression(5),
	"softmax regression": softmaxRegression(4, 3),
	"relu perceptron": multilayerPerceptron(6, [7, 5], 3, "relu"),
	"tanh perceptron, binary": multilayerPerceptron(4, [6], 1, "tanh", "binary"),
	"sigmoid perceptron, regression": multilayerPerceptron(4, [6, 3], 1, "sigmoid"),
	"perceptron without biases": {
		inputs: 4,
		layers: [
			{ kind: "activation", function: "tanh" },
			{ kind: "dense", units: 5, useBias: false },
			{ kind: "activation", function: "relu" },
			{ kind: "dense", units: 3, useBias: false },
		],
		task: "multiclass",
	},
};
const FLOAT32_TOLERANCE = 3e-5;

const flat = (norm: number): Clipping => ({ mode: "flat", norm });

const slice = (batch: Batch, inputs: number, start: number, end: number): Batch => ({
	features: batch.features.slice(start * inputs, end * inputs),
	labels: batch.labels.slice(start, end),
	rows: end - start,
});

describe.each<BackendName>(["onnx", "tfjs"])("trainer on %s", (backend) => {
	describe.each(Object.entries(MODELS))("%s", (_, model) => {
		let trainer: Trainer;
		const parameters = randomParameters(parameterCount(model), 1);
		const batch = randomBatch(model, 37, 2);
		beforeAll(async () => {
			trainer = await createTrainer({ model, backend });
		});
		afterAll(() => trainer.dispose());

		test("plain gradient sum equals numerical differentiation and materialized gradients", async () => {
			const { sum, lossSum, examples } = await trainer.gradientSum(parameters, batch);
			const reference = referenceGradientSum(model, parameters, batch);
			expect(relativeDistance(sum, reference.sum)).toBeLessThan(FLOAT32_TOLERANCE);
			expect(relativeDistance(sum, numericalGradientSum(model, parameters, batch))).toBeLessThan(1e-4);
			expect(lossSum).toBeCloseTo(reference.lossSum, 3);
			expect(examples).toBe(37);
		});

		test.each([0.01, 0.3, 1, 1000])(
			"clipped sum at C = %d equals clipped materialized gradients",
			async (clip) => {
				const { sum } = await trainer.clippedGradientSum(parameters, batch, flat(clip));
				const reference = referenceGradientSum(model, parameters, batch, clip);
				expect(relativeDistance(sum, reference.sum)).toBeLessThan(FLOAT32_TOLERANCE);
			},
		);

		test("one example moves the clipped sum by at most the clipping norm", async () => {
			for (let row = 0; row < 8; row++) {
				const { sum } = await trainer.clippedGradientSum(
					parameters,
					slice(batch, model.inputs, row, row + 1),
					flat(0.1),
				);
				const { gradient } = exampleGradient(
					model,
					parameters,
					rowOf(batch, model.inputs, row),
					batch.labels[row]!,
				);
				const norm = Math.hypot(...sum);
				expect(norm).toBeLessThanOrEqual(0.1);
				expect(norm).toBeCloseTo(Math.min(0.1, Math.hypot(...gradient)), 4);
			}
		});

		test("a row that is not finite counts as zero in the clipped sum", async () => {
			const spoiled = { ...batch, features: batch.features.slice() };
			const bad = [3, 11, 12];
			[Number.NaN, Number.POSITIVE_INFINITY, 1e38].forEach((value, i) => {
				spoiled.features.fill(value, bad[i]! * model.inputs, (bad[i]! + 1) * model.inputs);
			});
			// With a bounded first activation an enormous value is an ordinary one: compare with the reference.
			const bounded = model.layers[0]!.kind === "activation";
			const { sum, lossSum, examples } = await trainer.clippedGradientSum(parameters, spoiled, flat(0.5));
			const dropped = bounded ? [3] : bad;
			const keep = Array.from({ length: 37 }, (_, row) => row).filter((row) => !dropped.includes(row));
			const kept: Batch = {
				features: Float32Array.from(keep.flatMap((row) => rowOf(spoiled, model.inputs, row))),
				labels: Float32Array.from(keep.map((row) => batch.labels[row]!)),
				rows: keep.length,
			};
			expect(relativeDistance(sum, referenceGradientSum(model, parameters, kept, 0.5).sum)).toBeLessThan(
				FLOAT32_TOLERANCE,
			);
			expect(Number.isFinite(lossSum)).toBe(true);
			expect(examples).toBe(37);
		});

		test("the sum over a batch is the sum over its parts, whatever the padding", async () => {
			const whole = await trainer.clippedGradientSum(parameters, batch, flat(0.3));
			const parts = [
				[0, 1],
				[1, 6],
				[6, 37],
			].map(([start, end]) => slice(batch, model.inputs, start!, end!));
			const sum = new Float64Array(parameters.length);
			for (const part of parts) {
				const { sum: partial } = await trainer.clippedGradientSum(parameters, part, flat(0.3));
				partial.forEach((value, i) => {
					sum[i]! += value;
				});
			}
			expect(relativeDistance(whole.sum, sum)).toBeLessThan(FLOAT32_TOLERANCE);
		});

		test("an empty batch gives zeros", async () => {
			const empty: Batch = { features: new Float32Array(0), labels: new Float32Array(0), rows: 0 };
			for (const result of [
				await trainer.clippedGradientSum(parameters, empty, flat(1)),
				await trainer.gradientSum(parameters, empty),
			]) {
				expect(result).toMatchObject({ sum: new Float64Array(parameters.length), lossSum: 0, examples: 0 });
			}
			expect(await trainer.evaluate(parameters, empty, 1)).toEqual({ lossSum: 0, correct: 0, examples: 0 });
			expect(await trainer.predict(parameters, empty.features)).toHaveLength(0);
		});

		test("evaluation counts bounded losses and right answers", async () => {
			const bound = 0.7;
			let lossSum = 0;
			let correct = 0;
			for (let row = 0; row < batch.rows; row++) {
				const label = batch.labels[row]!;
				const { loss, logits } = exampleGradient(model, parameters, rowOf(batch, model.inputs, row), label);
				lossSum += Math.min(loss, bound);
				if (model.task === "binary" && (logits[0]! > 0 ? 1 : 0) === label) correct++;
				if (model.task === "multiclass" && logits.indexOf(Math.max(...logits)) === label) correct++;
			}
			const evaluation = await trainer.evaluate(parameters, batch, bound);
			expect(evaluation.lossSum).toBeCloseTo(lossSum, 4);
			expect(evaluation).toMatchObject({ correct, examples: 37 });
		});

		test("a row that is not finite counts as the loss bound and as a wrong answer", async () => {
			const features = new Float32Array(model.inputs).fill(Number.NaN);
			const evaluation = await trainer.evaluate(
				parameters,
				{ features, labels: Float32Array.of(0), rows: 1 },
				0.7,
			);
			expect(evaluation).toEqual({ lossSum: 0.7, correct: 0, examples: 1 });
		});

		test("predictions are the model's output function of its logits", async () => {
			const predictions = await trainer.predict(parameters, batch.features);
			const expected = Array.from({ length: batch.rows }, (_, row) => {
				const { logits } = exampleGradient(model, parameters, rowOf(batch, model.inputs, row), 0);
				if (model.task === "regression") return logits;
				if (model.task === "binary") return [1 / (1 + Math.exp(-logits[0]!))];
				const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
				return logits.map((z) => Math.exp(z) / total);
			}).flat();
			expect(relativeDistance(predictions, expected)).toBeLessThan(FLOAT32_TOLERANCE);
		});
	});

	test("a target that is not finite counts as zero in the clipped sum and as the bound in evaluation", async () => {
		const model = MODELS["sigmoid perceptron, regression"]!;
		const trainer = await createTrainer({ model, backend });
		const parameters = randomParameters(parameterCount(model), 3);
		const batch = randomBatch(model, 3, 4);
		batch.labels.set([Number.NaN, Number.NEGATIVE_INFINITY], 1);
		const { sum } = await trainer.clippedGradientSum(parameters, batch, flat(0.2));
		const reference = referenceGradientSum(model, parameters, slice(batch, 4, 0, 1), 0.2);
		expect(relativeDistance(sum, reference.sum)).toBeLessThan(FLOAT32_TOLERANCE);
		const evaluation = await trainer.evaluate(parameters, slice(batch, 4, 1, 3), 0.5);
		expect(evaluation).toEqual({ lossSum: 1, correct: 0, examples: 2 });
		await trainer.dispose();
	});

	test.each([true, false])(
		"enormous features with a tiny error do not escape clipping (bias: %s)",
		async (useBias) => {
			const model: Model = { inputs: 1, layers: [{ kind: "dense", units: 1, useBias }], task: "regression" };
			const trainer = await createTrainer({ model, backend });
			const parameters = new Float32Array(parameterCount(model));
			for (const [feature, label] of [
				[1.8e19, -1e-24],
				[1e-24, -4e18],
				[1.8e19, -1e-10],
			]) {
				const batch = { features: Float32Array.of(feature!), labels: Float32Array.of(label!), rows: 1 };
				const { sum } = await trainer.clippedGradientSum(parameters, batch, flat(1e-7));
				expect(Math.hypot(...sum)).toBeLessThanOrEqual(1e-7);
			}
			await trainer.dispose();
		},
	);

	test("no example exceeds the clipping norm by rounding, however wide the layers", async () => {
		const model = multilayerPerceptron(700, [90], 3, "relu");
		const trainer = await createTrainer({ model, backend });
		const parameters = randomParameters(parameterCount(model), 7, 0.1);
		for (let seed = 0; seed < 12; seed++) {
			const { sum } = await trainer.clippedGradientSum(parameters, randomBatch(model, 1, seed), flat(0.1));
			expect(Math.hypot(...sum)).toBeLessThanOrEqual(0.1);
			expect(Math.hypot(...sum)).toBeGreaterThan(0.0999);
		}
		await trainer.dispose();
	});

	test("batches longer than the largest compiled size are summed in chunks", async () => {
		const model = MODELS["relu perceptron"]!;
		const trainer = await createTrainer({ model, backend });
		const parameters = randomParameters(parameterCount(model), 3);
		const batch = randomBatch(model, 1100, 4);
		const { sum, examples } = await trainer.clippedGradientSum(parameters, batch, flat(0.2));
		const reference = referenceGradientSum(model, parameters, batch, 0.2);
		expect(relativeDistance(sum, reference.sum)).toBeLessThan(FLOAT32_TOLERANCE);
		expect(examples).toBe(1100);
		expect((await trainer.evaluate(parameters, batch, 100)).lossSum).toBeCloseTo(reference.lossSum, 2);
		await trainer.dispose();
	});
});

test("both backends agree closely", async () => {
	const model = MODELS["relu perceptron"]!;
	const parameters = randomParameters(parameterCount(model), 5);
	const batch = randomBatch(model, 200, 6);
	const results = [];
	for (const backend of ["onnx", "tfjs"] as const) {
		const trainer = await createTrainer({ model, backend });
		results.push(await trainer.clippedGradientSum(parameters, batch, flat(0.3)));
		await trainer.dispose();
	}
	expect(relativeDistance(results[0]!.sum, results[1]!.sum)).toBeLessThan(1e-5);
	expect(results[0]!.lossSum).toBeCloseTo(results[1]!.lossSum, 3);
});

test("concurrent calls on one trainer do not disturb each other", async () => {
	const model = MODELS["tanh perceptron, binary"]!;
	const trainer = await createTrainer({ model });
	const batch = randomBatch(model, 50, 8);
	const vectors = [1, 2, 3, 4].map((seed) => randomParameters(parameterCount(model), seed));
	const together = await Promise.all(
		vectors.map((vector) => trainer.clippedGradientSum(vector, batch, flat(1))),
	);
	for (const [i, vector] of vectors.entries()) {
		expect(together[i]).toEqual(await trainer.clippedGradientSum(vector, batch, flat(1)));
	}
	await trainer.dispose();
});

test("describeBackends runs each backend and names its runtime", async () => {
	const [onnx, tfjs] = await describeBackends();
	expect(onnx).toEqual({ backend: "onnx", runtime: "onnxruntime-node (CPU)", available: true });
	expect(tfjs).toMatchObject({ backend: "tfjs", available: true });
	expect(["tfjs (WASM)", "tfjs-node (native)"]).toContain(tfjs!.runtime);
	expect(tfjs!.note === undefined).toBe(tfjs!.runtime === "tfjs-node (native)");
});

describe("refusals", () => {
	const model = softmaxRegression(2, 3);
	const good: Batch = { features: Float32Array.of(1, 2), labels: Float32Array.of(1), rows: 1 };
	const parameters = new Float32Array(9);

	test.each<[string, Float32Array, Batch, number, string]>([
		["a vector of another model", new Float32Array(8), good, 1, "learning.parameter_count"],
		["parameters that are not finite", new Float32Array(9).fill(Number.NaN), good, 1, "learning.not_finite"],
		["too few features", parameters, { ...good, features: Float32Array.of(1) }, 1, "learning.invalid_batch"],
		["too few labels", parameters, { ...good, labels: new Float32Array(0) }, 1, "learning.invalid_batch"],
		["a fraction of a row", parameters, { ...good, rows: 0.5 }, 1, "learning.invalid_batch"],
		[
			"a label beyond the classes",
			parameters,
			{ ...good, labels: Float32Array.of(3) },
			1,
			"learning.invalid_batch",
		],
		["a negative label", parameters, { ...good, labels: Float32Array.of(-1) }, 1, "learning.invalid_batch"],
		[
			"a label that is no number",
			parameters,
			{ ...good, labels: Float32Array.of(Number.NaN) },
			1,
			"learning.invalid_batch",
		],
		["a clipping norm of zero", parameters, good, 0, "learning.invalid_argument"],
		["an infinite clipping norm", parameters, good, Number.POSITIVE_INFINITY, "learning.invalid_argument"],
	])("%s", async (_, vector, batch, clip, code) => {
		const trainer = await createTrainer({ model });
		await expect(trainer.clippedGradientSum(vector, batch, flat(clip))).rejects.toMatchObject({ code });
		await trainer.dispose();
	});

	test("a plain gradient that is not finite", async () => {
		const trainer = await createTrainer({ model });
		const batch = { ...good, features: Float32Array.of(Number.NaN, 1) };
		await expect(trainer.gradientSum(parameters, batch)).rejects.toMatchObject({
			code: "learning.not_finite",
		});
		await trainer.dispose();
	});

	test("an invalid model", async () => {
		await expect(createTrainer({ model: { ...model, inputs: 0 } })).rejects.toMatchObject({
			code: "learning.invalid_model",
		});
	});
});
