/** The shape of one example's values before and after each layer, inferred from the description alone. */
import { AlthingError } from "../../crypto/error.ts";
import { type Layer, type LayerOf, MODEL_LIMITS, type PoolingLayer } from "./layers.ts";

/** [features] of a vector, [steps, features] of a sequence, [height, width, channels] of an image. */
export type TensorShape = readonly [number] | readonly [number, number] | readonly [number, number, number];

/** What of a model decides its shapes. */
export interface ShapedModel {
	readonly inputs: number;
	readonly inputShape?: readonly number[] | undefined;
	readonly layers: readonly Layer[];
}

/** Number of values in a tensor of this shape. */
export function sizeOf(shape: readonly number[]): number {
	return shape.reduce((product, size) => product * size, 1);
}

/** The shape of one record. @throws AlthingError `learning.invalid_shape`. */
export function inputShapeOf({ inputs, inputShape }: ShapedModel): TensorShape {
	if (inputShape === undefined) return [inputs];
	if (inputShape.length < 1 || inputShape.length > 3 || sizeOf(inputShape) !== inputs) {
		throw invalidShape(
			`the input shape ${inputShape.join(" x ")} does not hold the ${inputs} features of a record`,
		);
	}
	return inputShape as unknown as TensorShape;
}

/**
 * The shape of a model's input and of each layer's output: `shapes[i]` goes into layer i and
 * `shapes[i + 1]` comes out.
 * @throws AlthingError `learning.invalid_shape` when a layer does not fit the one before it.
 */
export function shapesOf(model: ShapedModel): TensorShape[] {
	return chainShapes(model.layers, inputShapeOf(model));
}

/** As {@link shapesOf} for a list of layers. @throws AlthingError `learning.invalid_shape`. */
export function chainShapes(layers: readonly Layer[], input: TensorShape): TensorShape[] {
	const shapes: TensorShape[] = [input];
	layers.forEach((layer, index) => {
		const output = outputShape(layer, shapes[index]!, `layer ${index} (${layer.kind})`);
		if (sizeOf(output) > MODEL_LIMITS.activations) {
			throw invalidShape(
				`layer ${index} (${layer.kind}) yields ${sizeOf(output)} values an example, more than ${MODEL_LIMITS.activations}`,
			);
		}
		shapes.push(output);
	});
	return shapes;
}

/** Values of each dropout layer, in order, those inside residual blocks included. */
export function dropoutSizes(model: ShapedModel): number[] {
	const sizes = (layers: readonly Layer[], input: TensorShape): number[] => {
		const shapes = chainShapes(layers, input);
		return layers.flatMap((layer, i) => {
			if (layer.kind === "residual") return sizes(layer.layers, shapes[i]!);
			return layer.kind === "dropout" ? [sizeOf(shapes[i]!)] : [];
		});
	};
	return sizes(model.layers, inputShapeOf(model));
}

/** How windows lie over an image. */
export interface Windows {
	/** Window side: height, width. */
	readonly size: readonly [number, number];
	readonly strides: readonly [number, number];
	/** Windows down and across. */
	readonly count: readonly [number, number];
	/** Rows above, columns left, rows below, columns right of the image that windows reach. */
	readonly padding: readonly [number, number, number, number];
}

/** The windows of a convolution or pooling over an image, with Keras' padding. */
export function windowsOf(
	layer: LayerOf<"conv2d"> | LayerOf<"depthwiseConv2d"> | PoolingLayer,
	[height, width]: readonly [number, number, number],
): Windows {
	const size = "poolSize" in layer ? layer.poolSize : layer.kernelSize;
	const strides = layer.strides ?? size;
	const side = (length: number, window: number, stride: number) => {
		if (layer.padding === "valid") return { count: Math.floor((length - window) / stride) + 1, padding: 0 };
		const count = Math.ceil(length / stride);
		return { count, padding: Math.max((count - 1) * stride + window - length, 0) };
	};
	const down = side(height, size[0], strides[0]);
	const across = side(width, size[1], strides[1]);
	const top = Math.floor(down.padding / 2);
	const left = Math.floor(across.padding / 2);
	return {
		size,
		strides,
		count: [down.count, across.count],
		padding: [top, left, down.padding - top, across.padding - left],
	};
}

/** For each window, one over its number of pixels inside the image. */
export function averageShares(
	{ size, strides, count, padding }: Windows,
	shape: readonly number[],
): Float32Array {
	const inside = (side: 0 | 1, window: number) => {
		const start = window * strides[side] - padding[side];
		return Math.min(start + size[side], shape[side]!) - Math.max(start, 0);
	};
	return Float32Array.from(
		{ length: count[0] * count[1] },
		(_, i) => 1 / (inside(0, Math.floor(i / count[1])) * inside(1, i % count[1])),
	);
}

/** The layer a residual block's input goes through, if it has a projection. @throws AlthingError `learning.invalid_shape`. */
export function projectionOf(
	block: LayerOf<"residual">,
	input: TensorShape,
	output: TensorShape,
): LayerOf<"dense"> | LayerOf<"conv2d"> | undefined {
	if (!block.projection) return undefined;
	if (input.length === 1 && output.length === 1) return { kind: "dense", units: output[0], useBias: false };
	if (input.length === 3 && output.length === 3) {
		const stride = (from: number, to: number) => Math.ceil(from / to);
		return {
			kind: "conv2d",
			filters: output[2],
			kernelSize: [1, 1],
			strides: [stride(input[0], output[0]), stride(input[1], output[1])],
			padding: "same",
			useBias: false,
		};
	}
	throw invalidShape(
		`a residual block projects vectors onto vectors and images onto images, not ${describe(input)} onto ${describe(output)}`,
	);
}

function outputShape(layer: Layer, input: TensorShape, where: string): TensorShape {
	const wants = (what: string) =>
		invalidShape(`${where} takes ${what}, but gets ${describe(input)}${hint(layer, input)}`);
	switch (layer.kind) {
		case "dense":
			if (input.length !== 1) throw wants("a vector");
			return [layer.units];
		case "conv2d":
		case "depthwiseConv2d":
		case "maxPool2d":
		case "averagePool2d": {
			if (input.length !== 3) throw wants("an image");
			const { count, size } = windowsOf(layer, input);
			if (count[0] < 1 || count[1] < 1) {
				throw invalidShape(`${where} has windows of ${size.join(" x ")}, larger than ${describe(input)}`);
			}
			return [...count, layer.kind === "conv2d" ? layer.filters : input[2]];
		}
		case "globalAveragePool":
			if (input.length === 1) throw wants("an image or a sequence");
			return [input.at(-1)!];
		case "flatten":
			return [sizeOf(input)];
		case "activation":
		case "dropout":
			return input;
		case "layerNorm":
			if (input.length === 3) throw wants("a vector or a sequence");
			return input;
		case "groupNorm":
			if (input.length !== 3) throw wants("an image");
			if (input[2] % layer.groups !== 0) {
				throw invalidShape(`${where} cannot part ${input[2]} channels into ${layer.groups} equal groups`);
			}
			return input;
		case "embedding":
			if (input.length !== 1 || input[0] > MODEL_LIMITS.tokens) {
				throw wants(`a vector of at most ${MODEL_LIMITS.tokens} tokens`);
			}
			return [input[0], layer.units];
		case "recurrent":
			if (input.length !== 2 || input[0] > MODEL_LIMITS.recurrentSteps) {
				throw wants(`a sequence of at most ${MODEL_LIMITS.recurrentSteps} steps`);
			}
			return layer.sequences ? [input[0], layer.units] : [layer.units];
		case "residual":
			return residualShape(layer, input, where);
	}
}

function residualShape(block: LayerOf<"residual">, input: TensorShape, where: string): TensorShape {
	const output = chainShapes(block.layers, input).at(-1)!;
	const projection = projectionOf(block, input, output);
	const shortcut = projection ? outputShape(projection, input, where) : input;
	if (shortcut.join() !== output.join()) {
		throw invalidShape(
			`${where} adds ${describe(shortcut)} to ${describe(output)}${block.projection ? "" : ": let it have a projection"}`,
		);
	}
	return output;
}

function describe(shape: TensorShape): string {
	const kind = (["", "a vector of", "a sequence of", "an image of"] as const)[shape.length];
	return `${kind} ${shape.join(" x ")}`;
}

function hint(layer: Layer, input: TensorShape): string {
	if (layer.kind === "dense" && input.length > 1) return ": put flatten or globalAveragePool before it";
	if (layer.kind === "layerNorm") return ": use groupNorm";
	if (input.length === 1 && layer.kind !== "embedding") return ": does the model have its inputShape?";
	return "";
}

function invalidShape(problem: string): AlthingError {
	return new AlthingError("learning.invalid_shape", `The layers do not fit together: ${problem}.`, {
		problem,
	});
}
