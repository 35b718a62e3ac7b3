/**
 * A model as an ONNX inference graph. Records come in flat, as everywhere; inside, images lie as
 * [batch, channels, height, width] and sequences as [batch, steps, features].
 */
import {
	floatTensor,
	integerTensor,
	type OnnxAttributes,
	type OnnxNode,
	type OnnxTensor,
	onnxNode,
} from "../engine/onnxProtobuf.ts";
import type { Layer, LayerOf, PoolingLayer } from "../layers.ts";
import { type Model, parameterViews } from "../model.ts";
import { chainShapes, inputShapeOf, projectionOf, type TensorShape, windowsOf } from "../shapes.ts";
import { CONVOLUTION_ORDER, DEPTHWISE_ORDER, gatesToOnnx, transposed } from "./onnxWeights.ts";

export const ACTIVATION_OPERATORS = { relu: "Relu", tanh: "Tanh", sigmoid: "Sigmoid" } as const;
const OUTPUT_OPERATORS = { regression: "Identity", binary: "Sigmoid", multiclass: "Softmax" } as const;
const RECURRENT_OPERATORS = { simple: "RNN", gru: "GRU", lstm: "LSTM" } as const;
/** TensorProto.DataType of token numbers. */
const INT64 = 7;

export interface InferenceGraph {
	readonly nodes: readonly OnnxNode[];
	readonly initializers: readonly OnnxTensor[];
}

/** Nodes and weights from input `features` [batch, inputs] to output `predictions` [batch, outputs]. */
export function inferenceGraph(model: Model, parameters: Float32Array): InferenceGraph {
	const writer = new GraphWriter(parameterViews(model, parameters));
	const input = inputShapeOf(model);
	let value = writer.arranged("features", input);
	value = writer.chain(model.layers, value, input, "layers.");
	const operator = OUTPUT_OPERATORS[model.task];
	writer.emit(operator, [value], operator === "Softmax" ? { axis: 1 } : {}, "predictions");
	return writer;
}

class GraphWriter implements InferenceGraph {
	readonly nodes: OnnxNode[] = [];
	readonly initializers: OnnxTensor[] = [];
	readonly #weights: ReadonlyMap<string, Float32Array>;
	#values = 0;

	constructor(weights: ReadonlyMap<string, Float32Array>) {
		this.#weights = weights;
	}

	emit(
		operator: string,
		inputs: readonly string[],
		attributes: OnnxAttributes = {},
		output: string | readonly string[] = this.#fresh(),
	): string {
		this.nodes.push(onnxNode(operator, inputs, output, attributes));
		return typeof output === "string" ? output : output.findLast((name) => name !== "")!;
	}

	/** Flat records in the arrangement of the layers. */
	arranged(value: string, shape: TensorShape): string {
		if (shape.length === 1) return value;
		const reshaped = this.#reshape(value, [0, ...shape]);
		return shape.length === 2 ? reshaped : this.emit("Transpose", [reshaped], { perm: [0, 3, 1, 2] });
	}

	chain(layers: readonly Layer[], from: string, input: TensorShape, prefix: string): string {
		const shapes = chainShapes(layers, input);
		return layers.reduce((value, layer, i) => this.#layer(layer, value, shapes[i]!, `${prefix}${i}.`), from);
	}

	#layer(layer: Layer, value: string, shape: TensorShape, prefix: string): string {
		switch (layer.kind) {
			case "dense":
				return this.emit("Gemm", [
					value,
					this.#weight(`${prefix}kernel`, [shape[0], layer.units]),
					...(layer.useBias ? [this.#weight(`${prefix}bias`, [layer.units])] : []),
				]);
			case "conv2d":
			case "depthwiseConv2d":
				return this.#convolution(layer, value, shape as readonly [number, number, number], prefix);
			case "maxPool2d":
			case "averagePool2d":
				return this.emit(
					layer.kind === "maxPool2d" ? "MaxPool" : "AveragePool",
					[value],
					windowAttributes(layer, shape as readonly [number, number, number]),
				);
			case "globalAveragePool":
				return shape.length === 3
					? this.emit("Flatten", [this.emit("GlobalAveragePool", [value])], { axis: 1 })
					: this.emit("ReduceMean", [value], { axes: [1], keepdims: 0 });
			case "flatten": {
				const rowMajor = shape.length === 3 ? this.emit("Transpose", [value], { perm: [0, 2, 3, 1] }) : value;
				return this.emit("Flatten", [rowMajor], { axis: 1 });
			}
			case "activation":
				return this.emit(ACTIVATION_OPERATORS[layer.function], [value]);
			case "dropout":
				return value;
			case "layerNorm":
				return this.emit("LayerNormalization", [value, ...this.#affine(prefix, [shape.at(-1)!])], {
					axis: -1,
					epsilon: { float: layer.epsilon },
				});
			case "groupNorm":
				return this.#groupNorm(layer, value, shape as readonly [number, number, number], prefix);
			case "embedding": {
				const tokens = this.emit("Cast", [value], { to: INT64 });
				return this.emit("Gather", [
					this.#weight(`${prefix}embeddings`, [layer.vocabulary, layer.units]),
					tokens,
				]);
			}
			case "recurrent":
				return this.#recurrent(layer, value, shape as readonly [number, number], prefix);
			case "residual":
				return this.#residual(layer, value, shape, prefix);
		}
	}

	#convolution(
		layer: LayerOf<"conv2d"> | LayerOf<"depthwiseConv2d">,
		value: string,
		shape: readonly [number, number, number],
		prefix: string,
	): string {
		const channels = shape[2];
		const depthwise = layer.kind === "depthwiseConv2d";
		const stored = depthwise
			? [...layer.kernelSize, channels, 1]
			: [...layer.kernelSize, channels, layer.filters];
		const order = depthwise ? DEPTHWISE_ORDER : CONVOLUTION_ORDER;
		const kernel = this.#weight(
			`${prefix}kernel`,
			order.map((axis) => stored[axis]!),
			(values) => transposed(values, stored, order),
		);
		const outputs = depthwise ? channels : layer.filters;
		const bias = layer.useBias ? [this.#weight(`${prefix}bias`, [outputs])] : [];
		return this.emit("Conv", [value, kernel, ...bias], {
			...windowAttributes(layer, shape),
			group: depthwise ? channels : 1,
		});
	}

	/** Operator set 17 has no group normalization: each group is an instance of its own, scaled by channel after. */
	#groupNorm(
		layer: LayerOf<"groupNorm">,
		value: string,
		[height, width, channels]: readonly [number, number, number],
		prefix: string,
	): string {
		const { groups } = layer;
		const grouped = this.#reshape(value, [0, groups, -1]);
		const ones = this.#constant(`${prefix}ones`, [groups], new Float32Array(groups).fill(1));
		const zeros = this.#constant(`${prefix}zeros`, [groups], new Float32Array(groups));
		const normal = this.emit("InstanceNormalization", [grouped, ones, zeros], {
			epsilon: { float: layer.epsilon },
		});
		const image = this.#reshape(normal, [0, channels, height, width]);
		const [scale = "", bias = ""] = this.#affine(prefix, [channels, 1, 1]);
		return this.emit("Add", [this.emit("Mul", [image, scale]), bias]);
	}

	#recurrent(
		layer: LayerOf<"recurrent">,
		value: string,
		[, features]: readonly [number, number],
		prefix: string,
	): string {
		const { cell, units, sequences } = layer;
		const { length } = this.#weights.get(`${prefix}bias`)!;
		const kernel = this.#weight(`${prefix}kernel`, [1, length, features], (values) =>
			gatesToOnnx(values, features, layer),
		);
		const recurrent = this.#weight(`${prefix}recurrentKernel`, [1, length, units], (values) =>
			gatesToOnnx(values, units, layer),
		);
		// ONNX has a bias for the input and one for the state; ours is the first, the other is zero.
		const bias = this.#weight(`${prefix}bias`, [1, 2 * length], (values) => {
			const both = new Float32Array(2 * length);
			both.set(gatesToOnnx(values, 1, layer));
			return both;
		});
		const steps = this.emit("Transpose", [value], { perm: [1, 0, 2] });
		const all = this.#fresh();
		const last = this.#fresh();
		this.emit(
			RECURRENT_OPERATORS[cell],
			[steps, kernel, recurrent, bias],
			{ hidden_size: units, ...(cell === "gru" ? { linear_before_reset: 0 } : {}) },
			sequences ? [all] : ["", last],
		);
		if (!sequences) return this.emit("Squeeze", [last, this.#integers(`${prefix}axis`, [0])]);
		const squeezed = this.emit("Squeeze", [all, this.#integers(`${prefix}axis`, [1])]);
		return this.emit("Transpose", [squeezed], { perm: [1, 0, 2] });
	}

	#residual(block: LayerOf<"residual">, value: string, shape: TensorShape, prefix: string): string {
		const inner = this.chain(block.layers, value, shape, `${prefix}layers.`);
		const projection = projectionOf(block, shape, chainShapes(block.layers, shape).at(-1)!);
		const shortcut =
			projection === undefined ? value : this.#layer(projection, value, shape, `${prefix}projection.`);
		return this.emit("Add", [shortcut, inner]);
	}

	#affine(prefix: string, shape: readonly number[]): string[] {
		return [this.#weight(`${prefix}scale`, shape), this.#weight(`${prefix}bias`, shape)];
	}

	#weight(
		name: string,
		shape: readonly number[],
		arrange: (values: Float32Array) => Float32Array = (values) => values,
	): string {
		return this.#constant(name, shape, arrange(this.#weights.get(name)!));
	}

	#constant(name: string, shape: readonly number[], values: Float32Array): string {
		this.initializers.push(floatTensor(name, shape, values));
		return name;
	}

	#integers(name: string, values: readonly number[]): string {
		this.initializers.push(integerTensor(name, values));
		return name;
	}

	#reshape(value: string, shape: readonly number[]): string {
		return this.emit("Reshape", [value, this.#integers(`${value}.shape`, shape)]);
	}

	#fresh(): string {
		this.#values += 1;
		return `value${this.#values}`;
	}
}

function windowAttributes(
	layer: LayerOf<"conv2d"> | LayerOf<"depthwiseConv2d"> | PoolingLayer,
	shape: readonly [number, number, number],
): OnnxAttributes {
	const { size, strides, padding } = windowsOf(layer, shape);
	return { kernel_shape: size, strides, pads: padding };
}
