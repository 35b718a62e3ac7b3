/** Models of every kind of layer: other runtimes predict the same from the exported files, and they read back bit for bit. */
import * as tf from "@tensorflow/tfjs-core";
import { loadLayersModel } from "@tensorflow/tfjs-layers";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import {
	decodeOnnxModel,
	encodeOnnxModel,
	floatTensor,
	onnxNode,
} from "../../../../src/learning/engine/onnxProtobuf.ts";
import { loadTfjs } from "../../../../src/learning/engine/tfjsBackend.ts";
import { exportLayersModel } from "../../../../src/learning/formats/layersModel.ts";
import { importLayersModel } from "../../../../src/learning/formats/layersModelImport.ts";
import { exportOnnx, importOnnx } from "../../../../src/learning/formats/onnx.ts";
import { exportSafetensors, importSafetensors } from "../../../../src/learning/formats/safetensors.ts";
import type { TrainedModel } from "../../../../src/learning/formats/trainedModel.ts";
import { type Model, parameterCount, parseModel } from "../../../../src/learning/model.ts";
import { createTrainer } from "../../../../src/learning/trainer.ts";
import { randomBatch, randomParameters, relativeDistance } from "../reference.ts";

const ROWS = 5;
const image = (...layers: object[]) =>
	parseModel({ inputs: 6 * 7 * 2, inputShape: [6, 7, 2], layers, task: "multiclass" });
const sequence = (...layers: object[]) =>
	parseModel({ inputs: 5 * 3, inputShape: [5, 3], layers, task: "multiclass" });
const logits = { kind: "dense", units: 3 };
const relu = { kind: "activation", function: "relu" };

const MODELS: Record<string, Model> = {
	"convolution and max pooling": image(
		{ kind: "conv2d", filters: 4, kernelSize: [3, 2], padding: "same" },
		relu,
		{ kind: "maxPool2d", poolSize: [2, 2] },
		{ kind: "flatten" },
		logits,
	),
	"strided convolution, padded pooling": image(
		{ kind: "conv2d", filters: 3, kernelSize: [3, 3], strides: [2, 1], useBias: false },
		{ kind: "maxPool2d", poolSize: [3, 2], strides: [2, 2], padding: "same" },
		{ kind: "flatten" },
		logits,
	),
	"depthwise convolution and average pooling": image(
		{ kind: "depthwiseConv2d", kernelSize: [3, 3], strides: [1, 2], padding: "same" },
		{ kind: "averagePool2d", poolSize: [2, 3], strides: [1, 2], padding: "same" },
		{ kind: "globalAveragePool" },
		logits,
	),
	"group normalization": image(
		{ kind: "conv2d", filters: 4, kernelSize: [3, 3] },
		{ kind: "groupNorm", groups: 2 },
		{ kind: "flatten" },
		logits,
	),
	"layer normalization and dropout": parseModel({
		inputs: 6,
		layers: [{ kind: "dense", units: 5 }, { kind: "layerNorm" }, { kind: "dropout", rate: 0.5 }, logits],
		task: "multiclass",
	}),
	"embedding, averaged": parseModel({
		inputs: 4,
		layers: [
			{ kind: "embedding", vocabulary: 11, units: 3 },
			{ kind: "globalAveragePool" },
			{ kind: "dense", units: 1 },
		],
		task: "binary",
	}),
	"simple recurrent": sequence({ kind: "recurrent", cell: "simple", units: 4 }, logits),
	"stacked gated units": sequence(
		{ kind: "recurrent", cell: "gru", units: 4, sequences: true },
		{ kind: "layerNorm" },
		{ kind: "recurrent", cell: "gru", units: 3 },
		logits,
	),
	"long short-term memory": sequence(
		{ kind: "recurrent", cell: "lstm", units: 4, sequences: true },
		{ kind: "flatten" },
		logits,
	),
	"residual blocks of vectors": parseModel({
		inputs: 6,
		layers: [
			{ kind: "residual", layers: [{ kind: "dense", units: 6 }, relu] },
			{ kind: "residual", layers: [{ kind: "dense", units: 4 }, relu], projection: true },
			logits,
		],
		task: "multiclass",
	}),
	"residual blocks of images": image(
		{
			kind: "residual",
			layers: [
				{ kind: "conv2d", filters: 4, kernelSize: [3, 3], strides: [2, 2], padding: "same" },
				relu,
				{ kind: "conv2d", filters: 4, kernelSize: [3, 3], padding: "same" },
			],
			projection: true,
		},
		{ kind: "flatten" },
		logits,
	),
};

function trainedOf(model: Model): TrainedModel {
	return { model, parameters: randomParameters(parameterCount(model), 1) };
}

function recordsOf(model: Model): Float32Array {
	const [first] = model.layers;
	const { features } = randomBatch(model, ROWS, 2);
	if (first?.kind !== "embedding") return features;
	return features.map((value, i) => Math.floor(Math.abs(value) * 1000 + i) % first.vocabulary);
}

async function predictedHere({ model, parameters }: TrainedModel, features: Float32Array) {
	const trainer = await createTrainer({ model });
	try {
		return await trainer.predict(parameters, features);
	} finally {
		await trainer.dispose();
	}
}

describe.each(Object.entries(MODELS))("%s", (_, model) => {
	const trained = trainedOf(model);
	const features = recordsOf(model);

	test("ONNX Runtime predicts the same from the exported file, which reads back bit for bit", async () => {
		const file = exportOnnx(trained);
		expect(importOnnx(file)).toEqual(trained);
		const session = await InferenceSession.create(file, { intraOpNumThreads: 1 });
		const input = new Tensor("float32", features, [ROWS, model.inputs]);
		const { predictions } = await session.run({ features: input });
		await session.release();
		const expected = await predictedHere(trained, features);
		expect(relativeDistance(predictions!.data as Float32Array, expected)).toBeLessThan(1e-5);
	});

	test("safetensors reads back bit for bit", () => {
		expect(importSafetensors(exportSafetensors(trained))).toEqual(trained);
	});
});

const KNOWN_TO_TENSORFLOW = Object.entries(MODELS).filter(([name]) => name !== "group normalization");

test.each(KNOWN_TO_TENSORFLOW)(
	"TensorFlow.js predicts the same from the exported files: %s",
	async (_, model) => {
		const trained = trainedOf(model);
		const features = recordsOf(model);
		await loadTfjs();
		const files = exportLayersModel(trained);
		expect(importLayersModel(files)).toEqual(trained);
		const { modelTopology, weightsManifest } = JSON.parse(files.modelJson);
		const loaded = await loadLayersModel(
			tf.io.fromMemory({
				modelTopology,
				weightSpecs: weightsManifest[0].weights,
				weightData: new Uint8Array(files.weights).buffer,
			}),
		);
		const shape = [ROWS, ...(model.inputShape ?? [model.inputs])];
		const output = loaded.predict(tf.tensor(features, shape)) as tf.Tensor;
		const predictions = await output.data<"float32">();
		output.dispose();
		loaded.dispose();
		expect(relativeDistance(predictions, await predictedHere(trained, features))).toBeLessThan(1e-5);
	},
);

test("a LayersModel has no group normalization, and says what has", () => {
	expect(() => exportLayersModel(trainedOf(MODELS["group normalization"]!))).toThrow(
		expect.objectContaining({ code: "learning.unsupported_layer", message: expect.stringContaining("ONNX") }),
	);
});

describe("an ONNX file of another program", () => {
	/** As PyTorch writes a small convolutional net: channels first, transposed Gemm. */
	const weights = { kernel: Float32Array.from({ length: 2 * 2 * 2 * 2 }, (_, i) => Math.sin(i + 1)) };
	const head = Float32Array.from({ length: 3 * 2 * 2 * 3 }, (_, i) => Math.cos(i));
	const file = (pads = [0, 0, 0, 0]) =>
		encodeOnnxModel({
			name: "torch",
			nodes: [
				onnxNode("Conv", ["image", "k"], "c", {
					kernel_shape: [2, 2],
					strides: [1, 1],
					pads,
					dilations: [1, 1],
				}),
				onnxNode("Relu", ["c"], "r"),
				onnxNode("Flatten", ["r"], "f", { axis: 1 }),
				onnxNode("Gemm", ["f", "w"], "z", { transB: 1 }),
				onnxNode("Softmax", ["z"], "y", { axis: 1 }),
			],
			initializers: [floatTensor("k", [2, 2, 2, 2], weights.kernel), floatTensor("w", [3, 12], head)],
			inputs: [{ name: "image", shape: ["n", 2, 3, 4] }],
			outputs: [{ name: "y", shape: ["n", 3] }],
		});

	test("is read as a chain of layers that predicts the same for records channels last", async () => {
		const read = importOnnx(file());
		expect(read.model.inputShape).toEqual([3, 4, 2]);
		const channelsFirst = Float32Array.from({ length: ROWS * 24 }, (_, i) => Math.sin(3 * i));
		const channelsLast = Float32Array.from(channelsFirst, (_, i) => {
			const [row, place] = [Math.floor(i / 24), i % 24];
			return channelsFirst[24 * row + 12 * (place % 2) + Math.floor(place / 2)]!;
		});
		const session = await InferenceSession.create(file(), { intraOpNumThreads: 1 });
		const { y } = await session.run({ image: new Tensor("float32", channelsFirst, [ROWS, 2, 3, 4]) });
		await session.release();
		const predictions = await predictedHere(read, channelsLast);
		expect(relativeDistance(predictions, y!.data as Float32Array)).toBeLessThan(1e-5);
	});

	test("is refused for a padding that our layers do not have", () => {
		expect(() => importOnnx(file([2, 2, 2, 2]))).toThrow(
			expect.objectContaining({ code: "learning.invalid_onnx", message: expect.stringContaining("padding") }),
		);
	});

	test("is refused when its nodes are not those that its description asks for", () => {
		const graph = decodeOnnxModel(exportOnnx(trainedOf(MODELS["convolution and max pooling"]!)));
		const nodes = graph.nodes.map((node) => (node.opType === "Relu" ? { ...node, opType: "Tanh" } : node));
		expect(() => importOnnx(encodeOnnxModel({ ...graph, nodes }))).toThrow(
			expect.objectContaining({
				code: "learning.invalid_onnx",
				message: expect.stringContaining("metadata"),
			}),
		);
	});
});
