/**
 * Inference models in ONNX: input `features` [batch, inputs], output `predictions` [batch, outputs]
 * (a value, the probability of class 1, or of each class), the batch size left open.
 */
import {
	decodeOnnxModel,
	encodeOnnxModel,
	floatTensor,
	floatValues,
	invalidOnnx,
	type OnnxGraph,
	type OnnxNode,
	onnxNode,
} from "../engine/onnxProtobuf.ts";
import type { Layer } from "../layers.ts";
import { outputUnits, parameterLayout, parseModel, type Task } from "../model.ts";
import { joinTensors, requireDenseLayers, requireTrainedModel, type TrainedModel } from "./trainedModel.ts";

const ACTIVATION_OPERATORS = { relu: "Relu", tanh: "Tanh", sigmoid: "Sigmoid" } as const;
const OUTPUT_OPERATORS = { regression: undefined, binary: "Sigmoid", multiclass: "Softmax" } as const;

/** The bytes of an `.onnx` file. @throws AlthingError as {@link requireTrainedModel}. */
export function exportOnnx(trained: TrainedModel): Uint8Array {
	const { model, parameters } = requireTrainedModel(trained);
	const slots = parameterLayout(model);
	const operators = requireDenseLayers(model, "ONNX").map((layer, index) => ({
		operator: layer.kind === "dense" ? "Gemm" : ACTIVATION_OPERATORS[layer.function],
		weights: slots.filter((slot) => slot.layer === index).map((slot) => slot.name),
	}));
	const outputOperator = OUTPUT_OPERATORS[model.task];
	if (outputOperator !== undefined) operators.push({ operator: outputOperator, weights: [] });
	const nodes = operators.map(({ operator, weights }, i) =>
		onnxNode(
			operator,
			[i === 0 ? "features" : `value${i}`, ...weights],
			i === operators.length - 1 ? "predictions" : `value${i + 1}`,
			operator === "Softmax" ? { axis: 1 } : {},
		),
	);
	return encodeOnnxModel({
		name: "althing",
		nodes,
		initializers: slots.map(({ name, shape, offset, length }) =>
			floatTensor(name, shape, parameters.subarray(offset, offset + length)),
		),
		inputs: [{ name: "features", shape: ["batch", model.inputs] }],
		outputs: [{ name: "predictions", shape: ["batch", outputUnits(model)] }],
	});
}

/**
 * Reads back a dense ONNX classifier or regressor: a chain of Gemm (float32 weights as initializers,
 * optionally transposed), Relu, Tanh and Sigmoid, ending in Gemm, Sigmoid or Softmax.
 * @throws AlthingError `learning.invalid_onnx`, `learning.invalid_model`, `learning.not_finite`.
 */
export function importOnnx(bytes: Uint8Array): TrainedModel {
	const graph = decodeOnnxModel(bytes);
	const inputs = graph.inputs.find((input) => graph.initializers.every(({ name }) => name !== input.name));
	const width = inputs?.shape.at(-1);
	if (!inputs || typeof width !== "number") throw invalidOnnx("its input has no fixed number of features");

	const nodes = chain(graph, inputs.name);
	const task = taskOf(nodes);
	if (task !== "regression") nodes.pop();
	const tensors: Float32Array[] = [];
	let fanIn = width;
	const layers = nodes.map((node): Layer => {
		const activation = (["relu", "tanh", "sigmoid"] as const).find(
			(name) => ACTIVATION_OPERATORS[name] === node.opType,
		);
		if (activation) return { kind: "activation", function: activation };
		const { weights, units } = gemmWeights(graph, node, fanIn);
		tensors.push(...weights);
		fanIn = units;
		return { kind: "dense", units, useBias: weights.length === 2 };
	});
	const model = parseModel({ inputs: width, layers, task });
	return requireTrainedModel({ model, parameters: joinTensors(tensors) });
}

/** The nodes in order, each taking the previous one's output first. */
function chain(graph: OnnxGraph, from: string): OnnxNode[] {
	let value = from;
	for (const node of graph.nodes) {
		if (node.input[0] !== value)
			throw invalidOnnx(`node ${node.opType} does not continue the chain of layers`);
		value = node.output[0] ?? "";
	}
	if (graph.nodes.length === 0 || value !== graph.outputs[0]?.name)
		throw invalidOnnx("its layers do not lead to its output");
	return [...graph.nodes];
}

function taskOf(nodes: readonly OnnxNode[]): Task {
	switch (nodes.at(-1)?.opType) {
		case "Softmax":
			return "multiclass";
		case "Sigmoid":
			return "binary";
		default:
			return "regression";
	}
}

function gemmWeights(
	graph: OnnxGraph,
	node: OnnxNode,
	fanIn: number,
): { weights: Float32Array[]; units: number } {
	if (node.opType !== "Gemm")
		throw invalidOnnx(`operator ${node.opType} is none of Gemm, Relu, Tanh, Sigmoid, Softmax`);
	const attributes = new Map(
		node.attribute.map((attribute) => [attribute.name, attribute.i || attribute.f || 0]),
	);
	const transposed = attributes.get("transB") === 1;
	if (
		attributes.get("transA") ||
		(attributes.get("alpha") ?? 1) !== 1 ||
		(attributes.get("beta") ?? 1) !== 1
	) {
		throw invalidOnnx("a Gemm scales or transposes its input");
	}
	const [kernel, bias] = node.input.slice(1).map((name) => {
		const tensor = graph.initializers.find((initializer) => initializer.name === name);
		if (!tensor) throw invalidOnnx(`the weights ${name} are not stored in it`);
		return tensor;
	});
	const [rows = 0, columns = 0] = kernel?.dims ?? [];
	const units = transposed ? rows : columns;
	if (kernel?.dims.length !== 2 || (transposed ? columns : rows) !== fanIn) {
		throw invalidOnnx(`the weights of a layer of ${fanIn} inputs have another shape`);
	}
	const stored = floatValues(kernel);
	const values = transposed
		? Float32Array.from(stored, (_, k) => stored[(k % units) * fanIn + Math.floor(k / units)]!)
		: stored;
	if (bias === undefined) return { weights: [values], units };
	const biasValues = floatValues(bias);
	if (biasValues.length !== units)
		throw invalidOnnx(`a layer of ${units} units has ${biasValues.length} biases`);
	return { weights: [values, biasValues], units };
}
