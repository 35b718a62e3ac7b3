import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Clipping, equalLayerNorms } from "../../../src/learning/clipping.ts";
import { ghostIsCheaper } from "../../../src/learning/gradientCost.ts";
import { layerSchema } from "../../../src/learning/layers.ts";
import { parameterCount, parameterLayout } from "../../../src/learning/model.ts";
import { type BackendName, type Batch, createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import { LAYER_MODELS, recordsFor, testedKinds } from "./layerModels.ts";
import { numericalGradient, referenceLogits } from "./layerReference.ts";
import { randomParameters, relativeDistance, rowOf } from "./reference.ts";

/** float32 against double. */
const TOLERANCE = 1e-4;
const ROWS = 5;

test("every kind of layer is among the tested models", () => {
	const kinds = layerSchema.options.map((option) => option.shape.kind.value);
	expect([...testedKinds(), "dropout"].sort()).toEqual(expect.arrayContaining([...kinds].sort()));
});

test("both ways to norms over positions are among them", () => {
	const few = { positions: 4, d: 12, p: 4 };
	const many = { positions: 9, d: 12, p: 3 };
	expect([ghostIsCheaper(few), ghostIsCheaper(many)]).toEqual([true, false]);
});

describe.each(Object.entries(LAYER_MODELS))("%s", (_, model) => {
	const parameters = randomParameters(parameterCount(model), 1, 0.7);
	const batch = recordsFor(model, ROWS, 2);
	const gradients = Array.from({ length: ROWS }, (_, row) =>
		numericalGradient(model, parameters, batch, row),
	);
	const layout = parameterLayout(model);
	const layers = [...new Set(layout.map(({ layer }) => layer))];

	/** The sum of the examples' gradients, each scaled layer by layer. */
	const scaledSum = (factor: (gradient: Float64Array, layer: number) => number, of = gradients) => {
		const sum = new Float64Array(parameters.length);
		for (const gradient of of) {
			for (const { layer, offset, length } of layout) {
				const scale = factor(gradient, layer);
				for (let i = offset; i < offset + length; i++) sum[i]! += scale * gradient[i]!;
			}
		}
		return sum;
	};
	const normOf = (gradient: Float64Array, layer?: number) =>
		Math.hypot(
			...layout
				.filter((slot) => layer === undefined || slot.layer === layer)
				.flatMap(({ offset, length }) => [...gradient.subarray(offset, offset + length)]),
		);
	const flat = (gradient: Float64Array, norm: number) => Math.min(1, norm / normOf(gradient));
	/** Above some of the norms and below others. */
	const middle = gradients.map((gradient) => normOf(gradient)).sort((a, b) => a - b)[2]! * 1.01;

	describe.each<BackendName>(["onnx", "tfjs"])("%s", (backend) => {
		let trainer: Trainer;
		beforeAll(async () => {
			trainer = await createTrainer({ model, backend });
		});
		afterAll(() => trainer.dispose());

		test("predicts what loops in double precision do", async () => {
			const logits = Array.from({ length: ROWS }, (_, row) =>
				referenceLogits(model, parameters, rowOf(batch, model.inputs, row)),
			);
			const expected = logits.flatMap((row) => {
				if (model.task === "regression") return row;
				if (model.task === "binary") return [1 / (1 + Math.exp(-row[0]!))];
				const total = row.reduce((sum, z) => sum + Math.exp(z), 0);
				return row.map((z) => Math.exp(z) / total);
			});
			expect(relativeDistance(await trainer.predict(parameters, batch.features), expected)).toBeLessThan(
				1e-5,
			);
		});

		test("the gradient is that of numerical differentiation", async () => {
			const { sum } = await trainer.gradientSum(parameters, batch);
			expect(
				relativeDistance(
					sum,
					scaledSum(() => 1),
				),
			).toBeLessThan(TOLERANCE);
		});

		test("flat clipping scales each example by its norm", async () => {
			const clipped = await trainer.clippedGradientSum(parameters, batch, { mode: "flat", norm: middle });
			expect(
				relativeDistance(
					clipped.sum,
					scaledSum((g) => flat(g, middle)),
				),
			).toBeLessThan(TOLERANCE * middle);
			expect(clipped.withinNorm).toBe(gradients.filter((g) => normOf(g) <= middle).length);
		});

		test("clipping per layer scales each layer's part by its own norm", async () => {
			const norms = equalLayerNorms(model, middle);
			const clipped = await trainer.clippedGradientSum(parameters, batch, { mode: "perLayer", norms });
			const factor = (gradient: Float64Array, layer: number) =>
				Math.min(1, norms[layers.indexOf(layer)]! / normOf(gradient, layer));
			expect(relativeDistance(clipped.sum, scaledSum(factor))).toBeLessThan(TOLERANCE * middle);
			const within = gradients.filter((g) => layers.every((layer, i) => normOf(g, layer) <= norms[i]!));
			expect(clipped.withinNorm).toBe(within.length);
		});

		test("automatic clipping brings every example near the norm", async () => {
			const clipping: Clipping = { mode: "automatic", norm: 0.5 };
			const { sum } = await trainer.clippedGradientSum(parameters, batch, clipping);
			expect(
				relativeDistance(
					sum,
					scaledSum((g) => 0.5 / (normOf(g) + 0.01)),
				),
			).toBeLessThan(TOLERANCE);
		});

		test("the sum does not depend on how the batch is parted and padded", async () => {
			const clipping: Clipping = { mode: "flat", norm: middle };
			const whole = await trainer.clippedGradientSum(parameters, batch, clipping);
			const sum = new Float64Array(parameters.length);
			for (const [start, end] of [
				[0, 1],
				[1, ROWS],
			]) {
				const part = await trainer.clippedGradientSum(
					parameters,
					rowsOf(batch, model.inputs, start!, end!),
					clipping,
				);
				part.sum.forEach((value, i) => {
					sum[i]! += value;
				});
			}
			expect(relativeDistance(whole.sum, sum)).toBeLessThan(1e-5);
		});

		test("a record that holds no numbers counts as zero, in every mode", async () => {
			const spoiled = { ...batch, features: batch.features.slice() };
			spoiled.features.fill(Number.NaN, model.inputs, 2 * model.inputs);
			const good = gradients.filter((_, row) => row !== 1);
			const { sum } = await trainer.clippedGradientSum(parameters, spoiled, { mode: "flat", norm: middle });
			expect(
				relativeDistance(
					sum,
					scaledSum((g) => flat(g, middle), good),
				),
			).toBeLessThan(TOLERANCE * middle);
			const { sum: automatic } = await trainer.clippedGradientSum(parameters, spoiled, {
				mode: "automatic",
				norm: 1,
			});
			expect(
				relativeDistance(
					automatic,
					scaledSum((g) => 1 / (normOf(g) + 0.01), good),
				),
			).toBeLessThan(TOLERANCE);
			const norms = equalLayerNorms(model, 1);
			const { sum: byLayer } = await trainer.clippedGradientSum(parameters, spoiled, {
				mode: "perLayer",
				norms,
			});
			const factor = (gradient: Float64Array, layer: number) =>
				Math.min(1, norms[layers.indexOf(layer)]! / normOf(gradient, layer));
			expect(relativeDistance(byLayer, scaledSum(factor, good))).toBeLessThan(TOLERANCE);
		});

		test("no record, however extreme its values, contributes more than the norm or disturbs the others", async () => {
			const clean = await trainer.clippedGradientSum(parameters, rowsOf(batch, model.inputs, 1, ROWS), {
				mode: "flat",
				norm: 1e-3,
			});
			for (const size of [
				1e-44,
				1e-30,
				1e-18,
				1e-9,
				1e6,
				1e12,
				1e18,
				3e19,
				1e30,
				3e38,
				Number.POSITIVE_INFINITY,
			]) {
				const features = batch.features.slice();
				for (let i = 0; i < model.inputs; i++) features[i]! *= size;
				const extreme = { ...batch, features };
				const clipping: Clipping = { mode: "flat", norm: 1e-3 };
				const alone = await trainer.clippedGradientSum(
					parameters,
					rowsOf(extreme, model.inputs, 0, 1),
					clipping,
				);
				expect(Math.hypot(...alone.sum)).toBeLessThanOrEqual(1e-3);
				const among = await trainer.clippedGradientSum(parameters, extreme, clipping);
				const difference = among.sum.map((value, i) => value - clean.sum[i]!);
				expect(Math.hypot(...difference)).toBeLessThanOrEqual(1e-3 * (1 + 1e-5));
			}
		});
	});
});

function rowsOf(batch: Batch, inputs: number, start: number, end: number): Batch {
	return {
		features: batch.features.slice(start * inputs, end * inputs),
		labels: batch.labels.slice(start, end),
		rows: end - start,
	};
}
