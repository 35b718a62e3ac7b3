import { describe, expect, test } from "vitest";
import { convolutionalNetwork } from "../../../src/learning/architectures.ts";
import {
	type Clipping,
	clippingGroups,
	clippingTargets,
	contributionBound,
	equalLayerNorms,
} from "../../../src/learning/clipping.ts";
import {
	multilayerPerceptron,
	parameterCount,
	parameterLayout,
	parseModel,
} from "../../../src/learning/model.ts";
import { type BackendName, createTrainer } from "../../../src/learning/trainer.ts";
import { LAYER_MODELS, recordsFor } from "./layerModels.ts";
import { randomBatch, randomParameters, seededRandomForTests } from "./reference.ts";

const perceptron = multilayerPerceptron(4, [3, 2], 5, "tanh");

test("the contribution bound is the norm, or that of the layers' norms together", () => {
	expect(contributionBound({ mode: "flat", norm: 2 })).toBe(2);
	expect(contributionBound({ mode: "automatic", norm: 2 })).toBe(2);
	expect(contributionBound({ mode: "perLayer", norms: [3, 4] })).toBe(5);
	expect(contributionBound({ mode: "perLayer", norms: equalLayerNorms(perceptron, 2) })).toBeCloseTo(2, 12);
});

test("layers with parameters are the groups, a residual block one of them", () => {
	expect(clippingGroups(perceptron, "perLayer")).toEqual([[0], [2], [4]]);
	expect(clippingGroups(perceptron, "flat")).toEqual([[0, 2, 4]]);
	const blocks = LAYER_MODELS["residual, identity and projection of images"]!;
	expect(clippingGroups(blocks, "perLayer")).toEqual([[0], [1], [3]]);
	expect(clippingTargets(blocks, { mode: "perLayer", norms: [1, 2, 3] })).toHaveLength(3);
});

test("targets stay below the norm by what the widest layer can round", () => {
	for (const [model, widest] of [
		[perceptron, 7],
		[convolutionalNetwork([28, 28, 1], 10), 1578],
	] as const) {
		const [target] = clippingTargets(model, { mode: "flat", norm: 1 });
		expect(1 - target!).toBeGreaterThan(widest * 2 ** -24);
		expect(1 - target!).toBeLessThan(2 * (widest + 40) * 2 ** -24);
	}
});

describe.each<[string, Clipping]>([
	["a norm of zero", { mode: "automatic", norm: 0 }],
	["a norm that is no number", { mode: "flat", norm: Number.NaN }],
	["too few norms", { mode: "perLayer", norms: [1, 1] }],
	["too many norms", { mode: "perLayer", norms: [1, 1, 1, 1] }],
	["one bad norm", { mode: "perLayer", norms: [1, -1, 1] }],
])("%s", (_, clipping) => {
	test("is refused", async () => {
		const trainer = await createTrainer({ model: perceptron });
		await expect(
			trainer.clippedGradientSum(
				randomParameters(parameterCount(perceptron), 1),
				randomBatch(perceptron, 2, 2),
				clipping,
			),
		).rejects.toMatchObject({ code: "learning.invalid_argument" });
		await trainer.dispose();
	});
});

describe.each<BackendName>(["onnx", "tfjs"])("on %s", (backend) => {
	/**
	 * One window after the other holds the same pixels, and errors of opposite signs: what the
	 * positions contribute cancels but for rounding, so a norm computed from their products is nearly
	 * all rounding error, while the terms are as large as can be.
	 */
	test("positions that cancel do not hide a contribution from the norm", async () => {
		const model = parseModel({
			inputs: 8,
			inputShape: [2, 4, 1],
			layers: [
				{ kind: "conv2d", filters: 3, kernelSize: [2, 2], strides: [2, 2], useBias: false },
				{ kind: "flatten" },
				{ kind: "dense", units: 1, useBias: false },
			],
			task: "regression",
		});
		const trainer = await createTrainer({ model, backend });
		const parameters = randomParameters(parameterCount(model), 5);
		// The dense kernel of the second window is minus that of the first, but for one unit in the last place.
		for (let i = 0; i < 3; i++) parameters[15 + i] = -parameters[12 + i]! * (1 + 2 ** -23);
		for (let seed = 0; seed < 20; seed++) {
			const [a, b, c, d] = randomParameters(4, seed, 1e4);
			const features = Float32Array.of(a!, b!, a!, b!, c!, d!, c!, d!);
			for (const norm of [1e-6, 1e-3, 1, 1e3]) {
				const { sum } = await trainer.clippedGradientSum(
					parameters,
					{ features, labels: Float32Array.of(1e6), rows: 1 },
					{ mode: "perLayer", norms: [norm, 1] },
				);
				expect(Math.hypot(...sum.subarray(0, 12))).toBeLessThanOrEqual(norm);
			}
		}
		await trainer.dispose();
	});

	test("a token that stands at many places counts once, with all their errors", async () => {
		const model = parseModel({
			inputs: 6,
			layers: [
				{ kind: "embedding", vocabulary: 4, units: 2 },
				{ kind: "flatten" },
				{ kind: "dense", units: 1, useBias: false },
			],
			task: "regression",
		});
		const trainer = await createTrainer({ model, backend });
		const parameters = randomParameters(parameterCount(model), 5);
		const batch = { features: Float32Array.of(1, 1, 1, 1, 1, 1), labels: Float32Array.of(50), rows: 1 };
		const { sum } = await trainer.clippedGradientSum(parameters, batch, {
			mode: "perLayer",
			norms: [0.5, 1],
		});
		const table = [...sum.subarray(0, 8)];
		expect(Math.hypot(...table)).toBeCloseTo(0.5, 4);
		expect(Math.hypot(...table)).toBeLessThanOrEqual(0.5);
		expect(table.filter((_, i) => i < 2 || i > 3)).toEqual([0, 0, 0, 0, 0, 0]);
		await trainer.dispose();
	});

	test.each([[-1], [4], [1.5], [Number.NaN], [Number.POSITIVE_INFINITY], [3e9]])(
		"a record with the token %d counts as zero and leaves the others alone",
		async (token) => {
			const model = LAYER_MODELS.embedding!;
			const trainer = await createTrainer({ model, backend });
			const parameters = randomParameters(parameterCount(model), 5);
			const clipping: Clipping = { mode: "flat", norm: 0.1 };
			const good = Float32Array.of(0, 1, 2, 3, 4);
			const bad = Float32Array.of(0, 1, token === 4 ? 6 : token, 3, 4);
			const one = { features: good, labels: Float32Array.of(1), rows: 1 };
			const both = { features: Float32Array.of(...good, ...bad), labels: Float32Array.of(1, 1), rows: 2 };
			expect((await trainer.clippedGradientSum(parameters, both, clipping)).sum).toEqual(
				(await trainer.clippedGradientSum(parameters, one, clipping)).sum,
			);
			await trainer.dispose();
		},
	);
});

describe.each(Object.entries(LAYER_MODELS))("%s", (_, model) => {
	test("parameters, features and labels of any size do not carry a record beyond the norm", async () => {
		const trainer = await createTrainer({ model });
		const layout = parameterLayout(model);
		const groups = clippingGroups(model, "perLayer");
		const random = seededRandomForTests(11);
		const size = (low: number, high: number) => 10 ** (low + (high - low) * random());
		for (let trial = 0; trial < 30; trial++) {
			const parameters = randomParameters(parameterCount(model), trial, 1);
			for (const { offset, length } of layout) {
				const factor = size(-8, 8);
				for (let i = offset; i < offset + length; i++) parameters[i]! *= factor;
			}
			const batch = recordsFor(model, 1, trial);
			if (model.layers[0]!.kind !== "embedding") {
				const factor = size(-40, 38);
				for (let i = 0; i < model.inputs; i++) batch.features[i]! *= factor;
			}
			if (model.task === "regression") batch.labels[0]! *= size(-30, 30);
			const norm = size(-6, 4);
			const norms = groups.map(() => size(-6, 4));
			for (const mode of ["flat", "automatic"] as const) {
				const { sum } = await trainer.clippedGradientSum(parameters, batch, { mode, norm });
				expect(Math.hypot(...sum)).toBeLessThanOrEqual(norm);
			}
			const { sum } = await trainer.clippedGradientSum(parameters, batch, { mode: "perLayer", norms });
			groups.forEach(([layer], group) => {
				const own = layout.filter((slot) => slot.layer === layer);
				const part = own.flatMap(({ offset, length }) => [...sum.subarray(offset, offset + length)]);
				expect(Math.hypot(...part)).toBeLessThanOrEqual(norms[group]!);
			});
		}
		await trainer.dispose();
	});
});
