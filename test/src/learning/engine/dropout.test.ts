import { describe, expect, test } from "vitest";
import { drawDropoutMasks } from "../../../../src/learning/dropout.ts";
import { createOnnxBackend } from "../../../../src/learning/engine/onnxBackend.ts";
import type { Backend, ProgramKind } from "../../../../src/learning/engine/operations.ts";
import { createTfjsBackend } from "../../../../src/learning/engine/tfjsBackend.ts";
import { type Model, parameterCount, parseModel } from "../../../../src/learning/model.ts";
import { createTrainer } from "../../../../src/learning/trainer.ts";
import { randomBatch, randomParameters, relativeDistance } from "../reference.ts";

const RATE = 0.25;
const withDropout = (rate: number | undefined): Model =>
	parseModel({
		inputs: 12,
		inputShape: [2, 3, 2],
		layers: [
			{ kind: "conv2d", filters: 2, kernelSize: [1, 1] },
			...(rate === undefined ? [] : [{ kind: "dropout" as const, rate }]),
			{ kind: "flatten" },
			{ kind: "dense", units: 2 },
		],
		task: "multiclass",
	});
const model = withDropout(RATE);
const parameters = randomParameters(parameterCount(model), 1);
const batch = randomBatch(model, 4, 2);
const backends: readonly [string, (model: Model) => Promise<Backend>][] = [
	["onnx", async (described) => createOnnxBackend(described)],
	["tfjs", createTfjsBackend],
];

const run = (backend: Backend, kind: ProgramKind, dropoutMasks: Float32Array[]) =>
	backend.run(kind, {
		size: 4,
		features: batch.features,
		labels: batch.labels,
		weights: new Float32Array(4).fill(1),
		clippingNorms: Float32Array.of(0.3),
		dropoutMasks,
		parameters,
	});

test("masks are zero at the layer's rate, and keep the mean", () => {
	const rows = 4_000;
	const [mask] = drawDropoutMasks(model, rows);
	const count = rows * 12;
	expect(mask).toHaveLength(count);
	const zeros = mask!.filter((value) => value === 0).length;
	// Six standard deviations: a false alarm in 5e8 runs.
	expect(Math.abs(zeros - RATE * count)).toBeLessThan(6 * Math.sqrt(count * RATE * (1 - RATE)));
	expect(mask!.every((value) => value === 0 || value === Math.fround(1 / (1 - RATE)))).toBe(true);
	expect(drawDropoutMasks(model, 4)[0]).not.toEqual(drawDropoutMasks(model, 4)[0]);
});

describe.each(backends)("%s", (_, create) => {
	test("a mask of ones changes nothing", async () => {
		const [masked, plain] = [await create(model), await create(withDropout(undefined))];
		for (const kind of ["gradient", "flat"] as const) {
			const ones = await run(masked, kind, [new Float32Array(48).fill(1)]);
			const without = await run(plain, kind, []);
			expect(ones.gradients.map((gradient) => [...gradient])).toEqual(
				without.gradients.map((gradient) => [...gradient]),
			);
		}
		await masked.dispose();
		await plain.dispose();
	});

	test("what is masked has no gradient, and what is kept counts more", async () => {
		const backend = await create(model);
		const nothing = await run(backend, "gradient", [new Float32Array(48)]);
		const [kernel, bias, denseKernel, denseBias] = nothing.gradients;
		expect([...kernel!, ...bias!, ...denseKernel!].every((value) => Math.abs(value) === 0)).toBe(true);
		expect(denseBias!.some((value) => value !== 0)).toBe(true);
		await backend.dispose();
	});
});

test("both backends agree under the same masks", async () => {
	const masks = drawDropoutMasks(model, 4);
	const results = [];
	for (const [, create] of backends) {
		const backend = await create(model);
		results.push((await run(backend, "flat", masks)).gradients.flatMap((gradient) => [...gradient]));
		await backend.dispose();
	}
	expect(relativeDistance(results[0]!, results[1]!)).toBeLessThan(1e-5);
});

test("training draws masks, evaluation and prediction do not", async () => {
	const trainer = await createTrainer({ model });
	const gradient = () => trainer.gradientSum(parameters, batch).then(({ sum }) => [...sum]);
	expect(await gradient()).not.toEqual(await gradient());
	const plain = await createTrainer({ model: withDropout(undefined) });
	expect(await trainer.predict(parameters, batch.features)).toEqual(
		await plain.predict(parameters, batch.features),
	);
	expect(await trainer.evaluate(parameters, batch, 10)).toEqual(await plain.evaluate(parameters, batch, 10));
	await trainer.dispose();
	await plain.dispose();
});
