import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import {
	compactTanhNetwork,
	convolutionalNetwork,
	embeddingClassifier,
	recurrentNetwork,
} from "../../../src/learning/architectures.ts";
import { type Layer, layerSchema } from "../../../src/learning/layers.ts";
import { parameterCount, parameterLayout, parseModel } from "../../../src/learning/model.ts";
import { dropoutSizes, shapesOf, windowsOf } from "../../../src/learning/shapes.ts";

const DENSE = { kind: "dense", units: 3 } as const;

describe("shapes", () => {
	test("of the ready-made networks", () => {
		const shapes = (model: Parameters<typeof shapesOf>[0]) => shapesOf(model).map((shape) => shape.join("x"));
		expect(shapes(convolutionalNetwork([28, 28, 1], 10))).toEqual([
			"28x28x1",
			"28x28x16",
			"28x28x16",
			"14x14x16",
			"14x14x32",
			"14x14x32",
			"7x7x32",
			"1568",
			"10",
		]);
		expect(shapes(compactTanhNetwork([28, 28, 1], 10)).slice(0, 6)).toEqual([
			"28x28x1",
			"14x14x16",
			"14x14x16",
			"14x14x16",
			"13x13x16",
			"5x5x32",
		]);
		expect(shapes(recurrentNetwork([9, 4], "gru", 8, 1))).toEqual(["9x4", "8", "1"]);
		expect(shapes(embeddingClassifier({ tokens: 7, vocabulary: 50 }, 6, 4))).toEqual([
			"7",
			"7x6",
			"6",
			"6",
			"6",
			"4",
		]);
	});

	test("parameter counts of the ready-made networks", () => {
		expect(parameterCount(convolutionalNetwork([28, 28, 1], 10))).toBe(
			25 * 16 + 16 + 25 * 16 * 32 + 32 + 1568 * 10 + 10,
		);
		expect(parameterCount(recurrentNetwork([9, 4], "lstm", 8, 5))).toBe(4 * 32 + 8 * 32 + 32 + 8 * 5 + 5);
		expect(parameterCount(recurrentNetwork([9, 4], "simple", 8, 5))).toBe(4 * 8 + 8 * 8 + 8 + 8 * 5 + 5);
		expect(parameterCount(embeddingClassifier({ tokens: 7, vocabulary: 50 }, 6, 4))).toBe(300 + 42 + 28);
	});

	test("windows of any convolution lie inside the padded image and reach its end", () => {
		const size = fc.integer({ min: 1, max: 12 });
		const window = fc.integer({ min: 1, max: 5 });
		fc.assert(
			fc.property(
				size,
				size,
				window,
				window,
				window,
				fc.constantFrom("same" as const, "valid" as const),
				(...values) => {
					const [height, width, windowHeight, windowWidth, stride, padding] = values;
					fc.pre(padding === "same" || (windowHeight <= height && windowWidth <= width));
					const layer = {
						kind: "conv2d" as const,
						filters: 1,
						kernelSize: [windowHeight, windowWidth] as [number, number],
						strides: [stride, stride] as [number, number],
						padding,
						useBias: true,
					};
					const { count, padding: pixels } = windowsOf(layer, [height, width, 1]);
					[height, width].forEach((length, side) => {
						const reach = (count[side]! - 1) * stride + layer.kernelSize[side]!;
						const padded = length + pixels[side]! + pixels[side + 2]!;
						expect(reach).toBeLessThanOrEqual(padded);
						expect(padded - reach).toBeLessThan(stride);
						// Never a window of padding alone: its mean or maximum would be of nothing.
						expect(pixels[side]!).toBeLessThan(layer.kernelSize[side]!);
						expect(pixels[side + 2]!).toBeLessThan(layer.kernelSize[side]!);
					});
				},
			),
		);
	});

	test("dropout layers are found in order, inside residual blocks too", () => {
		const dropout = { kind: "dropout", rate: 0.5 } as const;
		const model = parseModel({
			inputs: 4,
			layers: [
				dropout,
				{ kind: "residual", layers: [{ kind: "dense", units: 7 }, dropout, { kind: "dense", units: 4 }] },
				DENSE,
			],
			task: "multiclass",
		});
		expect(dropoutSizes(model)).toEqual([4, 7]);
		expect(parameterLayout(model).map(({ name, layer }) => [name, layer])).toEqual([
			["layers.1.layers.0.kernel", 1],
			["layers.1.layers.0.bias", 1],
			["layers.1.layers.2.kernel", 1],
			["layers.1.layers.2.bias", 1],
			["layers.2.kernel", 2],
			["layers.2.bias", 2],
		]);
	});
});

describe("refusals", () => {
	const conv: Partial<Layer> = { kind: "conv2d", filters: 2, kernelSize: [3, 3] };
	test.each<[string, number[] | undefined, unknown[], string]>([
		["batch normalization", [4, 4, 1], [{ kind: "batchNormalization" }], "groupNorm"],
		[
			"batch normalization in a block",
			undefined,
			[{ kind: "residual", layers: [{ kind: "batch_norm" }] }],
			"groupNorm",
		],
		["an unknown kind", undefined, [{ kind: "attention" }], "one of dense, conv2d"],
		[
			"a block inside a block",
			undefined,
			[{ kind: "residual", layers: [{ kind: "residual", layers: [DENSE] }] }],
			"one of dense",
		],
		["an input shape of another size", [4, 5], [{ kind: "flatten" }], "does not hold the 16 features"],
		["an image where there is none", undefined, [conv], "inputShape"],
		["a dense layer on an image", [4, 4, 1], [DENSE], "flatten"],
		[
			"a window larger than the image",
			[4, 4, 1],
			[{ ...conv, kernelSize: [5, 3] }, { kind: "flatten" }],
			"larger than an image of 4 x 4 x 1",
		],
		["a kernel without a side", [4, 4, 1], [{ ...conv, kernelSize: [3] }], "kernelSize"],
		[
			"groups that do not part the channels",
			[4, 2, 2],
			[{ kind: "groupNorm", groups: 3 }, { kind: "flatten" }],
			"equal groups",
		],
		[
			"layer normalization of an image",
			[4, 4, 1],
			[{ kind: "layerNorm" }, { kind: "flatten" }],
			"use groupNorm",
		],
		[
			"a recurrent layer on a vector",
			undefined,
			[{ kind: "recurrent", cell: "gru", units: 2 }],
			"a sequence",
		],
		["an unknown cell", [4, 4], [{ kind: "recurrent", cell: "qrnn", units: 2 }], "cell"],
		[
			"an embedding of a sequence",
			[4, 4],
			[{ kind: "embedding", vocabulary: 5, units: 2 }],
			"a vector of at most",
		],
		["dropout of everything", undefined, [{ kind: "dropout", rate: 1 }], "rate"],
		[
			"a block that changes the shape",
			undefined,
			[{ kind: "residual", layers: [DENSE] }],
			"let it have a projection",
		],
		[
			"a projection of a sequence",
			[4, 4],
			[
				{
					kind: "residual",
					projection: true,
					layers: [{ kind: "recurrent", cell: "gru", units: 2, sequences: true }],
				},
				{ kind: "flatten" },
			],
			"projects vectors onto vectors",
		],
		[
			"a projection that no stride gives",
			[4, 4, 1],
			[
				{ kind: "residual", projection: true, layers: [{ ...conv, kernelSize: [2, 2] }] },
				{ kind: "flatten" },
			],
			"adds an image of 2 x 2 x 2 to an image of 3 x 3 x 2",
		],
		[
			"more recurrent steps than a graph can unroll",
			[16, 1],
			[
				...Array(33).fill({ kind: "recurrent", cell: "simple", units: 1, sequences: true }),
				{ kind: "flatten" },
			],
			"512 recurrent steps",
		],
		[
			"windows that unfold to gigabytes",
			[4, 4, 1],
			[
				{ ...conv, kernelSize: [1, 1], filters: 4096 },
				...Array(10).fill({ kind: "depthwiseConv2d", kernelSize: [16, 16], padding: "same" }),
				{ kind: "globalAveragePool" },
			],
			"512 MB",
		],
		[
			"too many values between layers",
			[4, 4, 1],
			[{ ...conv, kernelSize: [1, 1], filters: 5000 }],
			"filters",
		],
	])("%s", (_, inputShape, layers, message) => {
		const model = {
			inputs: 16,
			...(inputShape ? { inputShape } : {}),
			layers: [...layers, DENSE],
			task: "multiclass",
		};
		expect(() => parseModel(model)).toThrow(
			expect.objectContaining({ code: "learning.invalid_model", message: expect.stringContaining(message) }),
		);
	});
});

test("the example in docs/models.md is a model, and its table has every kind", () => {
	const text = readFileSync(new URL("../../../docs/models.md", import.meta.url), "utf8");
	const { model } = parseYaml(/```yaml\n(.*?)```/s.exec(text)![1]!) as {
		model: { inputShape: number[]; layers: unknown[] };
	};
	const { inputShape, layers } = model;
	expect(
		parseModel({ inputs: 784, inputShape, layers: [...layers, DENSE], task: "multiclass" }).layers,
	).toHaveLength(8);
	for (const { shape } of layerSchema.options) expect(text).toContain(`| \`${shape.kind.value}\``.slice(2));
});
