import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { sha256 } from "../../../crypto/hash.ts";
import { MODEL_LIMITS } from "../../../src/learning/layers.ts";
import { float32ToBytes } from "../../../src/learning/littleEndian.ts";
import {
	initialParameters,
	linearRegression,
	logisticRegression,
	type Model,
	modelHash,
	multilayerPerceptron,
	outputUnits,
	parameterCount,
	parameterLayout,
	parametersHash,
	parameterViews,
	parseModel,
	softmaxRegression,
} from "../../../src/learning/model.ts";

const perceptron = multilayerPerceptron(4, [3, 2], 5, "tanh");
const seed = new Uint8Array(32).fill(7);

describe("descriptions", () => {
	test("constructors give the task and shape they are named for", () => {
		expect([linearRegression(3), logisticRegression(3), softmaxRegression(3, 4)].map(parameterCount)).toEqual(
			[4, 4, 16],
		);
		expect(
			[linearRegression(3), logisticRegression(3), softmaxRegression(3, 4)].map(({ task }) => task),
		).toEqual(["regression", "binary", "multiclass"]);
		expect(perceptron.task).toBe("multiclass");
		expect(outputUnits(perceptron)).toBe(5);
		expect(parameterCount(perceptron)).toBe(4 * 3 + 3 + 3 * 2 + 2 + 2 * 5 + 5);
	});

	test("a bias is the default of a dense layer in a file", () => {
		expect(parseModel({ inputs: 2, layers: [{ kind: "dense", units: 1 }], task: "regression" })).toEqual(
			linearRegression(2),
		);
	});

	const dense = (units: number) => ({ kind: "dense", units, useBias: true });
	test.each<[string, unknown, string]>([
		["nothing", undefined, "model"],
		["an unknown key", { ...perceptron, optimizer: "adam" }, "optimizer"],
		["an unknown layer", { ...perceptron, layers: [{ kind: "conv9d" }] }, "layers.0"],
		["no layers", { ...perceptron, layers: [] }, "layers"],
		["no inputs", { ...perceptron, inputs: 0 }, "inputs"],
		["a fraction of a unit", { ...perceptron, layers: [dense(1.5)] }, "layers.0.units"],
		[
			"an activation at the end",
			{ ...perceptron, layers: [...perceptron.layers, { kind: "activation", function: "relu" }] },
			"last layer must be dense",
		],
		["one class", { ...perceptron, layers: [dense(1)] }, "at least 2"],
		["two outputs of a binary model", { inputs: 2, layers: [dense(2)], task: "binary" }, "exactly 1"],
		["too many layers", { ...perceptron, layers: Array(MODEL_LIMITS.layers + 1).fill(dense(2)) }, "layers"],
		[
			"too many parameters",
			{ ...perceptron, inputs: MODEL_LIMITS.inputs, layers: [dense(51)] },
			"parameters",
		],
	])("%s is refused with the place named", (_, value, place) => {
		expect(() => parseModel(value)).toThrow(
			expect.objectContaining({ code: "learning.invalid_model", message: expect.stringContaining(place) }),
		);
	});

	test("the hash is that of the meaning, not of the key order, and differs between models", () => {
		const reordered = JSON.parse(
			`{"task":"multiclass","layers":${JSON.stringify(perceptron.layers)},"inputs":4}`,
		) as Model;
		expect(modelHash(reordered)).toEqual(modelHash(perceptron));
		const others = [
			multilayerPerceptron(4, [3, 2], 5, "relu"),
			multilayerPerceptron(4, [3], 5, "tanh"),
			linearRegression(4),
		];
		const hashes = [perceptron, ...others].map((model) => toHex(modelHash(model)));
		expect(new Set(hashes).size).toBe(hashes.length);
		expect(toHex(modelHash(perceptron))).toBe(MODEL_HASH);
	});
});

describe("layout", () => {
	test("slots tile the flat vector in order, for any model", () => {
		const layer = fc.oneof(
			fc.record({
				kind: fc.constant("dense" as const),
				units: fc.integer({ min: 1, max: 9 }),
				useBias: fc.boolean(),
			}),
			fc.record({
				kind: fc.constant("activation" as const),
				function: fc.constantFrom("relu" as const, "tanh" as const),
			}),
		);
		fc.assert(
			fc.property(fc.integer({ min: 1, max: 9 }), fc.array(layer, { maxLength: 5 }), (inputs, hidden) => {
				const model = parseModel({
					inputs,
					layers: [...hidden, { kind: "dense", units: 2, useBias: true }],
					task: "multiclass",
				});
				let offset = 0;
				for (const slot of parameterLayout(model)) {
					expect(slot.offset).toBe(offset);
					expect(slot.length).toBe(slot.shape.reduce((a, b) => a * b, 1));
					offset += slot.length;
				}
				expect(offset).toBe(parameterCount(model));
			}),
		);
	});

	test("views share memory with the flat vector", () => {
		const parameters = new Float32Array(parameterCount(perceptron));
		const views = parameterViews(perceptron, parameters);
		expect([...views.keys()]).toEqual(
			["layers.0", "layers.2", "layers.4"].flatMap((name) => [`${name}.kernel`, `${name}.bias`]),
		);
		views.get("layers.2.bias")!.fill(3);
		expect([...parameters.entries()].filter(([, value]) => value === 3).map(([i]) => i)).toEqual([21, 22]);
	});

	test("a vector of another length is refused", () => {
		expect(() => parameterViews(perceptron, new Float32Array(3))).toThrow(
			expect.objectContaining({ code: "learning.parameter_count" }),
		);
	});
});

describe("initial parameters", () => {
	test("are the same bits on every machine", () => {
		const parameters = initialParameters(multilayerPerceptron(64, [32], 10, "relu"), seed);
		expect(toHex(sha256(float32ToBytes(parameters)))).toBe(INITIALIZATION_HASH);
	});

	test("are Glorot uniform kernels and zero biases", () => {
		const model = multilayerPerceptron(64, [256], 10, "relu");
		const views = parameterViews(model, initialParameters(model, seed));
		expect(views.get("layers.0.bias")!.every((value) => value === 0)).toBe(true);
		const kernel = views.get("layers.0.kernel")!;
		const scale = Math.sqrt(6 / (64 + 256));
		const mean = kernel.reduce((a, b) => a + b, 0) / kernel.length;
		const variance = kernel.reduce((a, b) => a + b * b, 0) / kernel.length;
		expect(Math.max(...kernel)).toBeLessThanOrEqual(Math.fround(scale));
		expect(Math.max(...kernel)).toBeGreaterThan(0.99 * scale);
		expect(Math.min(...kernel)).toBeLessThan(-0.99 * scale);
		expect(Math.abs(mean)).toBeLessThan(0.02 * scale);
		expect(variance / (scale ** 2 / 3)).toBeCloseTo(1, 1);
	});

	test("of other layers are Glorot uniform by their fans, scales of one, and the same bits on every machine", () => {
		const model = parseModel({
			inputs: 48,
			inputShape: [4, 4, 3],
			layers: [
				{ kind: "conv2d", filters: 8, kernelSize: [3, 3] },
				{ kind: "groupNorm", groups: 2 },
				{ kind: "depthwiseConv2d", kernelSize: [2, 2] },
				{ kind: "flatten" },
				{ kind: "dense", units: 2 },
			],
			task: "multiclass",
		});
		const parameters = initialParameters(model, seed);
		const views = parameterViews(model, parameters);
		expect(
			Object.fromEntries(parameterLayout(model).map(({ name, shape, fans }) => [name, [shape, fans]])),
		).toEqual({
			"layers.0.kernel": [
				[3, 3, 3, 8],
				[27, 72],
			],
			"layers.0.bias": [[8], [1, 1]],
			"layers.1.scale": [[8], [1, 1]],
			"layers.1.bias": [[8], [1, 1]],
			"layers.2.kernel": [
				[2, 2, 8, 1],
				[4, 4],
			],
			"layers.2.bias": [[8], [1, 1]],
			"layers.4.kernel": [
				[8, 2],
				[8, 2],
			],
			"layers.4.bias": [[2], [1, 1]],
		});
		expect([...views.get("layers.1.scale")!]).toEqual(new Array(8).fill(1));
		expect([...views.get("layers.1.bias")!]).toEqual(new Array(8).fill(0));
		const largest = Math.max(...views.get("layers.0.kernel")!.map(Math.abs));
		expect(largest).toBeLessThanOrEqual(Math.fround(Math.sqrt(6 / 99)));
		expect(largest).toBeGreaterThan(0.9 * Math.sqrt(6 / 99));
		expect(toHex(modelHash(model))).toBe(CONVOLUTIONAL_HASH);
		expect(toHex(sha256(float32ToBytes(parameters)))).toBe(CONVOLUTIONAL_INITIALIZATION_HASH);
	});

	test("differ between seeds and between layers of one shape", () => {
		const model = multilayerPerceptron(3, [3], 3, "relu");
		const views = parameterViews(model, initialParameters(model, seed));
		expect(views.get("layers.0.kernel")).not.toEqual(views.get("layers.2.kernel"));
		expect(initialParameters(model, new Uint8Array(32))).not.toEqual(initialParameters(model, seed));
	});

	test("need a seed of 32 bytes", () => {
		expect(() => initialParameters(perceptron, new Uint8Array(31))).toThrow(
			expect.objectContaining({ code: "learning.invalid_seed" }),
		);
	});
});

test("the hash of parameters tells models and single bits apart", () => {
	const parameters = initialParameters(perceptron, seed);
	const flipped = parameters.slice();
	flipped[3] = -flipped[3]!;
	expect(parametersHash(perceptron, parameters)).toEqual(parametersHash(perceptron, parameters.slice()));
	expect(parametersHash(perceptron, flipped)).not.toEqual(parametersHash(perceptron, parameters));
	const other = multilayerPerceptron(4, [3, 2], 5, "relu");
	expect(parametersHash(other, parameters)).not.toEqual(parametersHash(perceptron, parameters));
	expect(() => parametersHash(perceptron, parameters.subarray(1))).toThrow(
		expect.objectContaining({ code: "learning.parameter_count" }),
	);
});

const MODEL_HASH = "3bee0aecbbd3471a23dd6a09edf2904b73b5a67b52377fb2a239345581d6c0cd";
const INITIALIZATION_HASH = "b433bed272e3c0e3a0eadc4d09189713178480255f4659ae3eb8658f0104b097";
const CONVOLUTIONAL_HASH = "f52d316d45caec12d68c1f8af794aaaf95fbdf21dbe9cc0012c80ce0ef39340d";
const CONVOLUTIONAL_INITIALIZATION_HASH = "e4dc3165f6f7d6298b2bdbbc06a5a9f0837ab7a6a7845d0db8b656459cbf26cb";
