import * as tf from "@tensorflow/tfjs-core";
import { loadLayersModel } from "@tensorflow/tfjs-layers";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import {
	encodeOnnxModel,
	floatTensor,
	type OnnxGraph,
	onnxNode,
} from "../../../../src/learning/engine/onnxProtobuf.ts";
import { loadTfjs } from "../../../../src/learning/engine/tfjsBackend.ts";
import { exportLayersModel } from "../../../../src/learning/formats/layersModel.ts";
import { importLayersModel } from "../../../../src/learning/formats/layersModelImport.ts";
import { exportOnnx, importOnnx } from "../../../../src/learning/formats/onnx.ts";
import { exportSafetensors, importSafetensors } from "../../../../src/learning/formats/safetensors.ts";
import type { TrainedModel } from "../../../../src/learning/formats/trainedModel.ts";
import {
	linearRegression,
	logisticRegression,
	type Model,
	multilayerPerceptron,
	parameterCount,
	softmaxRegression,
} from "../../../../src/learning/model.ts";
import { createTrainer } from "../../../../src/learning/trainer.ts";
import { randomBatch, randomParameters, relativeDistance } from "../reference.ts";

const MODELS: Record<string, Model> = {
	"linear regression": linearRegression(5),
	"logistic regression": logisticRegression(5),
	"softmax regression": softmaxRegression(5, 3),
	"relu perceptron": multilayerPerceptron(5, [7, 6], 3, "relu"),
	"tanh perceptron, binary": multilayerPerceptron(5, [6], 1, "tanh", "binary"),
	"sigmoid perceptron without biases": {
		inputs: 5,
		layers: [
			{ kind: "activation", function: "sigmoid" },
			{ kind: "dense", units: 4, useBias: false },
			{ kind: "activation", function: "sigmoid" },
			{ kind: "dense", units: 1, useBias: false },
		],
		task: "regression",
	},
};

describe.each(Object.entries(MODELS))("%s", (_, model) => {
	const trained: TrainedModel = { model, parameters: randomParameters(parameterCount(model), 1) };
	const { features, rows } = randomBatch(model, 9, 2);
	const ours = async () => {
		const trainer = await createTrainer({ model });
		const predictions = await trainer.predict(trained.parameters, features);
		await trainer.dispose();
		return predictions;
	};

	test("ONNX Runtime predicts the same from the exported file, for any batch size", async () => {
		const session = await InferenceSession.create(exportOnnx(trained), { intraOpNumThreads: 1 });
		for (const batch of [rows, 2]) {
			const input = new Tensor("float32", features.subarray(0, batch * model.inputs), [batch, model.inputs]);
			const { predictions } = await session.run({ features: input });
			const expected = (await ours()).subarray(0, predictions!.data.length);
			expect(predictions!.dims[0]).toBe(batch);
			expect(relativeDistance(predictions!.data as Float32Array, expected)).toBeLessThan(1e-5);
		}
		await session.release();
	});

	test("tf.loadLayersModel predicts the same from the exported files", async () => {
		await loadTfjs();
		const { modelJson, weights } = exportLayersModel(trained);
		const { modelTopology, weightsManifest } = JSON.parse(modelJson);
		expect(weightsManifest[0].paths).toEqual(["weights.bin"]);
		const loaded = await loadLayersModel(
			tf.io.fromMemory({
				modelTopology,
				weightSpecs: weightsManifest[0].weights,
				weightData: new Uint8Array(weights).buffer,
			}),
		);
		const output = loaded.predict(tf.tensor2d(features, [rows, model.inputs])) as tf.Tensor;
		expect(relativeDistance(await output.data<"float32">(), await ours())).toBeLessThan(1e-5);
		output.dispose();
		loaded.dispose();
	});

	test("every format reads back bit for bit", () => {
		expect(importOnnx(exportOnnx(trained))).toEqual(trained);
		expect(importLayersModel(exportLayersModel(trained))).toEqual(trained);
		expect(importSafetensors(exportSafetensors(trained))).toEqual(trained);
	});
});

const trained: TrainedModel = {
	model: MODELS["relu perceptron"]!,
	parameters: randomParameters(parameterCount(MODELS["relu perceptron"]!), 4),
};

describe("export", () => {
	test.each([
		["onnx", exportOnnx],
		["layers model", exportLayersModel],
		["safetensors", exportSafetensors],
	])("%s refuses parameters of another model, or not finite", (_, exportModel) => {
		expect(() => exportModel({ ...trained, parameters: new Float32Array(3) })).toThrow(
			expect.objectContaining({ code: "learning.parameter_count" }),
		);
		const spoiled = trained.parameters.slice();
		spoiled[5] = Number.NaN;
		expect(() => exportModel({ ...trained, parameters: spoiled })).toThrow(
			expect.objectContaining({ code: "learning.not_finite" }),
		);
	});
});

describe("onnx import", () => {
	const graph = (overrides: Partial<OnnxGraph>): Uint8Array =>
		encodeOnnxModel({
			name: "other",
			nodes: [onnxNode("Gemm", ["x", "w", "b"], "y", { transB: 1 })],
			initializers: [
				floatTensor("w", [2, 3], Float32Array.of(1, 2, 3, 4, 5, 6)),
				floatTensor("b", [2], Float32Array.of(7, 8)),
			],
			inputs: [{ name: "x", shape: ["n", 3] }],
			outputs: [{ name: "y", shape: ["n", 2] }],
			...overrides,
		});

	test("transposed weights, as PyTorch exports them, are turned round", () => {
		const nodes = [
			onnxNode("Gemm", ["x", "w", "b"], "z", { transB: 1 }),
			onnxNode("Softmax", ["z"], "y", { axis: 1 }),
		];
		expect(importOnnx(graph({ nodes }))).toEqual({
			model: softmaxRegression(3, 2),
			parameters: Float32Array.of(1, 4, 2, 5, 3, 6, 7, 8),
		});
	});

	test.each<[string, Uint8Array, string]>([
		["noise", Uint8Array.of(255, 255, 255, 255), "protobuf"],
		["nothing", new Uint8Array(0), "no graph"],
		["a cut-off file", exportOnnx(trained).subarray(0, 300), "protobuf"],
		["another operator", graph({ nodes: [onnxNode("Erf", ["x"], "y")] }), "operator Erf"],
		["a branch", graph({ nodes: [onnxNode("Relu", ["w"], "y")] }), "chain"],
		["no way to the output", graph({ outputs: [{ name: "q", shape: [] }] }), "output"],
		["weights of another shape", graph({ nodes: [onnxNode("Gemm", ["x", "w"], "y")] }), "another shape"],
		["missing weights", graph({ nodes: [onnxNode("Gemm", ["x", "v"], "y")] }), "not stored"],
		[
			"a scaled Gemm",
			graph({ nodes: [onnxNode("Gemm", ["x", "w"], "y", { transB: 1, alpha: 2 })] }),
			"scales",
		],
		["an open input", graph({ inputs: [{ name: "x", shape: ["n", "m"] }] }), "number of features"],
		[
			"too few bytes in a tensor",
			graph({
				initializers: [
					floatTensor("w", [2, 3], Float32Array.of(1)),
					floatTensor("b", [2], Float32Array.of(1, 2)),
				],
			}),
			"float32 raw data",
		],
	])("refuses %s", (_, bytes, problem) => {
		expect(() => importOnnx(bytes)).toThrow(
			expect.objectContaining({ code: "learning.invalid_onnx", message: expect.stringContaining(problem) }),
		);
	});
});

describe("layers model import", () => {
	const files = exportLayersModel(trained);
	const edited = (edit: (json: { modelTopology: { config: { layers: unknown[] } } }) => void) => {
		const json = JSON.parse(files.modelJson);
		edit(json);
		return { ...files, modelJson: JSON.stringify(json) };
	};
	const activation = (name: string) => ({ class_name: "Activation", config: { activation: name } });

	test("an activation inside a dense layer becomes a layer of its own", () => {
		const json = JSON.parse(files.modelJson);
		const [first, , third, , fifth] = json.modelTopology.config.layers;
		first.config.activation = "relu";
		third.config.activation = "relu";
		fifth.config.activation = "softmax";
		json.modelTopology.config.layers = [first, third, fifth];
		expect(importLayersModel({ ...files, modelJson: JSON.stringify(json) })).toEqual(trained);
	});

	test.each<[string, typeof files, string]>([
		["text that is not JSON", { ...files, modelJson: "{" }, "JSON"],
		[
			"another layer class",
			edited((json) => json.modelTopology.config.layers.push({ class_name: "LSTM", config: {} })),
			"layers",
		],
		[
			"a softmax in between",
			edited((json) => json.modelTopology.config.layers.splice(1, 0, activation("softmax"))),
			"softmax",
		],
		["weights cut off", { ...files, weights: files.weights.subarray(4) }, "weights"],
		["a missing dense layer", edited((json) => json.modelTopology.config.layers.splice(2, 1)), "weights"],
	])("refuses %s", (_, wrong, problem) => {
		expect(() => importLayersModel(wrong)).toThrow(
			expect.objectContaining({
				code: "learning.invalid_layers_model",
				message: expect.stringContaining(problem),
			}),
		);
	});

	test("refuses a model that does not end in a dense layer", () => {
		const wrong = edited((json) => json.modelTopology.config.layers.push(activation("relu")));
		expect(() => importLayersModel(wrong)).toThrow(
			expect.objectContaining({ code: expect.stringMatching(/^learning\.invalid_/) }),
		);
	});
});

describe("safetensors", () => {
	const file = exportSafetensors(trained);
	const headerBytes = Number(new DataView(file.buffer).getBigUint64(0, true));
	const header = () => JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)));
	const withHeader = (value: unknown) => {
		const bytes = new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
		const result = new Uint8Array(8 + bytes.length + file.length - 8 - headerBytes);
		new DataView(result.buffer).setBigUint64(0, BigInt(bytes.length), true);
		result.set(bytes, 8);
		result.set(file.subarray(8 + headerBytes), 8 + bytes.length);
		return result;
	};

	test("the data starts at a multiple of eight and the header names every tensor", () => {
		expect((8 + headerBytes) % 8).toBe(0);
		expect(header()["layers.0.kernel"]).toEqual({ dtype: "F32", shape: [5, 7], data_offsets: [0, 140] });
		expect(importSafetensors(withHeader(header()))).toEqual(trained);
	});

	test.each<[string, () => Uint8Array]>([
		["an empty file", () => new Uint8Array(0)],
		["a header beyond the file", () => file.subarray(0, 20)],
		["a header that is not JSON", () => withHeader("{")],
		["no model", () => withHeader({ ...header(), __metadata__: {} })],
		["data cut off", () => file.subarray(0, file.length - 4)],
		[
			"another type",
			() => withHeader({ ...header(), "layers.0.kernel": { ...header()["layers.0.kernel"], dtype: "F16" } }),
		],
		[
			"another shape",
			() => withHeader({ ...header(), "layers.0.kernel": { ...header()["layers.0.kernel"], shape: [7, 5] } }),
		],
		[
			"bytes beyond the data",
			() =>
				withHeader({
					...header(),
					"layers.0.kernel": { ...header()["layers.0.kernel"], data_offsets: [9000, 9140] },
				}),
		],
		["one tensor more", () => withHeader({ ...header(), extra: header()["layers.0.kernel"] })],
	])("refuses %s", (_, wrong) => {
		expect(() => importSafetensors(wrong())).toThrow(
			expect.objectContaining({ code: "learning.invalid_safetensors" }),
		);
	});
});
