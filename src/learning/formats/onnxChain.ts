/**
 * ONNX files of other programs, read as one chain of layers: dense (Gemm, or MatMul and Add),
 * convolution, pooling, flattening and activations, from a vector [batch, features] or an image
 * [batch, channels, height, width].
 *
 * Our images are [height, width, channels], so a model read from a file takes its records in that
 * order, and the rows of the first dense layer after a flattening are put in order.
 */
import { floatValues, invalidOnnx, type OnnxGraph, type OnnxNode } from "../engine/onnxProtobuf.ts";
import type { Layer } from "../layers.ts";
import { parseModel, type Task } from "../model.ts";
import { chainShapes, type TensorShape, windowsOf } from "../shapes.ts";
import { ACTIVATION_OPERATORS } from "./onnxGraph.ts";
import { DEPTHWISE_ORDER, FROM_CONVOLUTION_ORDER, transposed } from "./onnxWeights.ts";
import { joinTensors, type TrainedModel } from "./trainedModel.ts";

/** Operators that change nothing of a trained model's predictions. */
const TRANSPARENT = new Set(["Identity", "Dropout"]);

/** @throws AlthingError `learning.invalid_onnx`, `learning.invalid_model`. */
export function importOnnxChain(graph: OnnxGraph): TrainedModel {
	const input = graph.inputs.find(({ name }) => graph.initializers.every((one) => one.name !== name));
	const sizes = input?.shape.slice(1) ?? [];
	if (!input || sizes.length === 0 || !sizes.every((size) => typeof size === "number" && size > 0))
		throw invalidOnnx("its input has no fixed number of features");
	const nodes = chain(graph, input.name);
	const task = taskOf(nodes);
	if (task !== "regression") nodes.pop();
	const reader = new ChainReader(graph, startShape(sizes as number[]));
	while (nodes.length > 0) reader.take(nodes.shift()!, nodes);
	const { layers, tensors } = reader;
	const inputs = (sizes as number[]).reduce((product, size) => product * size, 1);
	const [start] = reader.shapes;
	const model = parseModel({
		inputs,
		...(start?.length === 3 ? { inputShape: [...start] } : {}),
		layers,
		task,
	});
	return { model, parameters: joinTensors(tensors) };
}

function startShape(sizes: readonly number[]): TensorShape {
	const [first = 0, height = 0, width = 0] = sizes;
	if (sizes.length === 1) return [first];
	if (sizes.length === 3) return [height, width, first];
	throw invalidOnnx("its input is neither vectors nor images");
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
	return graph.nodes.filter(({ opType }) => !TRANSPARENT.has(opType));
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

class ChainReader {
	readonly layers: Layer[] = [];
	readonly tensors: Float32Array[] = [];
	readonly shapes: TensorShape[];
	readonly #graph: OnnxGraph;
	/** The image that was flattened last, channels first, until a dense layer has taken its values. */
	#flattened: readonly [number, number, number] | undefined;

	constructor(graph: OnnxGraph, start: TensorShape) {
		this.#graph = graph;
		this.shapes = [start];
	}

	/** Reads one node; may take the ones after it that belong to it. */
	take(node: OnnxNode, rest: OnnxNode[]): void {
		const shape = this.shapes.at(-1)!;
		switch (node.opType) {
			case "Relu":
			case "Tanh":
			case "Sigmoid": {
				const name = (["relu", "tanh", "sigmoid"] as const).find(
					(one) => ACTIVATION_OPERATORS[one] === node.opType,
				)!;
				this.#push({ kind: "activation", function: name });
				return;
			}
			case "Gemm":
				this.#dense(node, this.#gemm(node));
				return;
			case "MatMul": {
				const bias = rest[0]?.opType === "Add" ? rest.shift()?.input.slice(1) : [];
				this.#dense({ ...node, input: [...node.input, ...(bias ?? [])] }, false);
				return;
			}
			case "Conv":
				this.#convolution(node, shape);
				return;
			case "MaxPool":
			case "AveragePool":
				this.#pooling(node, shape);
				return;
			case "GlobalAveragePool":
				this.#push({ kind: "globalAveragePool" });
				return;
			case "Flatten":
			case "Reshape":
			case "Squeeze":
				if (shape.length === 1) return;
				if (shape.length === 3) this.#flattened = shape;
				this.#push({ kind: "flatten" });
				return;
			default:
				throw invalidOnnx(
					`operator ${node.opType} is none of Gemm, MatMul, Conv, MaxPool, AveragePool, GlobalAveragePool, Flatten, Relu, Tanh, Sigmoid, Softmax`,
				);
		}
	}

	#push(layer: Layer, ...weights: Float32Array[]): void {
		this.layers.push(layer);
		this.tensors.push(...weights);
		this.shapes.push(chainShapes([layer], this.shapes.at(-1)!).at(-1)!);
	}

	/** Whether the weights of a Gemm are stored transposed. */
	#gemm(node: OnnxNode): boolean {
		const { transA = 0, transB = 0, alpha = 1, beta = 1 } = scalars(node);
		if (transA !== 0 || alpha !== 1 || beta !== 1) throw invalidOnnx("a Gemm scales or transposes its input");
		return transB === 1;
	}

	#dense(node: OnnxNode, isTransposed: boolean): void {
		const [fanIn = 0] = this.shapes.at(-1)!;
		const [kernel, bias] = this.#weights(node);
		const [rows = 0, columns = 0] = kernel?.dims ?? [];
		const units = isTransposed ? rows : columns;
		if (kernel?.dims.length !== 2 || (isTransposed ? columns : rows) !== fanIn)
			throw invalidOnnx(`the weights of a layer of ${fanIn} inputs have another shape`);
		const stored = isTransposed ? transposed(kernel.values, kernel.dims, [1, 0]) : kernel.values;
		const values = this.#rowMajorRows(stored, units);
		if (bias !== undefined && bias.values.length !== units)
			throw invalidOnnx(`a layer of ${units} units has ${bias.values.length} biases`);
		this.#push(
			{ kind: "dense", units, useBias: bias !== undefined },
			...(bias === undefined ? [values] : [values, bias.values]),
		);
	}

	/** Rows of [channels, height, width] in the order [height, width, channels]. */
	#rowMajorRows(values: Float32Array, units: number): Float32Array {
		const image = this.#flattened;
		this.#flattened = undefined;
		if (image === undefined) return values;
		const [height, width, channels] = image;
		return transposed(values, [channels, height, width, units], [1, 2, 0, 3]);
	}

	#convolution(node: OnnxNode, shape: TensorShape): void {
		const [kernel, bias] = this.#weights(node);
		const { group = 1 } = scalars(node);
		const [outputs = 0, inputs = 0, height = 0, width = 0] = kernel?.dims ?? [];
		const channels = shape[2] ?? 0;
		const depthwise = group === channels && group > 1 && outputs === channels && inputs === 1;
		if (kernel === undefined || shape.length !== 3 || (!depthwise && (group !== 1 || inputs !== channels)))
			throw invalidOnnx("a convolution has groups or weights of another shape");
		const values = transposed(
			kernel.values,
			kernel.dims,
			depthwise ? DEPTHWISE_ORDER : FROM_CONVOLUTION_ORDER,
		);
		const layer = {
			kernelSize: [height, width] as [number, number],
			strides: pairOf(node, "strides", [1, 1]),
			useBias: bias !== undefined,
		};
		this.#windowed(node, shape, (padding) =>
			depthwise
				? { kind: "depthwiseConv2d", ...layer, padding }
				: { kind: "conv2d", filters: outputs, ...layer, padding },
		);
		this.tensors.push(values, ...(bias === undefined ? [] : [bias.values]));
	}

	#pooling(node: OnnxNode, shape: TensorShape): void {
		const { count_include_pad: includesPadding = 0, ceil_mode: ceil = 0 } = scalars(node);
		if (shape.length !== 3 || includesPadding !== 0 || ceil !== 0)
			throw invalidOnnx("a pooling rounds up or counts its padding");
		const poolSize = pairOf(node, "kernel_shape", [1, 1]);
		const kind = node.opType === "MaxPool" ? "maxPool2d" : "averagePool2d";
		this.#windowed(node, shape, (padding) => ({
			kind,
			poolSize,
			strides: pairOf(node, "strides", [1, 1]),
			padding,
		}));
	}

	/** A layer of windows with whichever of our two paddings is the node's. */
	#windowed(
		node: OnnxNode,
		shape: TensorShape,
		layerWith: (padding: "same" | "valid") => Extract<Layer, { padding: string }>,
	): void {
		const pads = listOf(node, "pads") ?? [0, 0, 0, 0];
		const autoPad = node.attribute.find(({ name }) => name === "auto_pad")?.s;
		const explicit = autoPad === undefined || new TextDecoder().decode(autoPad) === "NOTSET";
		const dilated = (listOf(node, "dilations") ?? []).some((one) => one !== 1);
		for (const padding of ["valid", "same"] as const) {
			const layer = layerWith(padding);
			const wanted = windowsOf(layer, shape as readonly [number, number, number]).padding;
			if (explicit && !dilated && wanted.join() === pads.join()) {
				this.#push(layer);
				return;
			}
		}
		throw invalidOnnx(`a ${node.opType} has dilations or a padding other than "same" or "valid"`);
	}

	#weights(node: OnnxNode): { readonly dims: readonly number[]; readonly values: Float32Array }[] {
		return node.input.slice(1).map((name) => {
			const tensor = this.#graph.initializers.find((one) => one.name === name);
			if (!tensor) throw invalidOnnx(`the weights ${name} are not stored in it`);
			return { dims: tensor.dims, values: floatValues(tensor) };
		});
	}
}

function scalars(node: OnnxNode): Readonly<Record<string, number>> {
	return Object.fromEntries(
		node.attribute
			.filter(({ type }) => type === 1 || type === 2)
			.map(({ name, type, f, i }) => [name, (type === 1 ? f : i) ?? 0]),
	);
}

function listOf(node: OnnxNode, name: string): readonly number[] | undefined {
	return node.attribute.find((one) => one.name === name)?.ints;
}

function pairOf(node: OnnxNode, name: string, fallback: [number, number]): [number, number] {
	const [first, second] = listOf(node, name) ?? fallback;
	return [first ?? fallback[0], second ?? fallback[1]];
}
