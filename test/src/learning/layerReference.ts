/**
 * An independent reference for every kind of layer: the forward pass of one example in double
 * precision by plain loops over indices, images [height, width, channels], and gradients by central
 * differences. Shares no code with the engine but the shapes of parameters.
 */
import type { Layer } from "../../../src/learning/layers.ts";
import { type Model, parameterLayout } from "../../../src/learning/model.ts";
import type { Batch } from "../../../src/learning/trainer.ts";

interface Value {
	readonly shape: readonly number[];
	readonly data: number[];
}

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

/** Logits of one example; dropout is off. */
export function referenceLogits(model: Model, parameters: ArrayLike<number>, x: readonly number[]): number[] {
	const tensors = new Map(
		parameterLayout(model).map(({ name, offset, length }) => [
			name,
			Array.from({ length }, (_, i) => parameters[offset + i]!),
		]),
	);
	const value: Value = { shape: model.inputShape ?? [model.inputs], data: [...x] };
	return through(model.layers, value, (name) => tensors.get(`layers.${name}`)!).data;
}

function through(layers: readonly Layer[], input: Value, tensor: (name: string) => number[]): Value {
	return layers.reduce((value, layer, i) => apply(layer, value, (name) => tensor(`${i}.${name}`)), input);
}

function apply(layer: Layer, input: Value, tensor: (name: string) => number[]): Value {
	const { shape, data } = input;
	switch (layer.kind) {
		case "dense":
			return product(input, tensor("kernel"), layer.units, layer.useBias ? tensor("bias") : undefined);
		case "activation":
			return { shape, data: data.map(FUNCTIONS[layer.function]) };
		case "dropout":
			return input;
		case "flatten":
			return { shape: [data.length], data };
		case "conv2d": {
			const kernel = tensor("kernel");
			const bias = layer.useBias ? tensor("bias") : undefined;
			const channels = shape[2]!;
			return windows(
				input,
				layer.kernelSize,
				layer.strides,
				layer.padding,
				layer.filters,
				(pixels, filter) => {
					let sum = bias?.[filter] ?? 0;
					for (const { place, offset } of pixels) {
						for (let c = 0; c < channels; c++) {
							sum += data[place * channels + c]! * kernel[(offset * channels + c) * layer.filters + filter]!;
						}
					}
					return sum;
				},
			);
		}
		case "depthwiseConv2d": {
			const kernel = tensor("kernel");
			const bias = layer.useBias ? tensor("bias") : undefined;
			const channels = shape[2]!;
			return windows(input, layer.kernelSize, layer.strides, layer.padding, channels, (pixels, c) =>
				pixels.reduce(
					(sum, { place, offset }) => sum + data[place * channels + c]! * kernel[offset * channels + c]!,
					bias?.[c] ?? 0,
				),
			);
		}
		case "maxPool2d":
		case "averagePool2d": {
			const channels = shape[2]!;
			const strides = layer.strides ?? layer.poolSize;
			return windows(input, layer.poolSize, strides, layer.padding, channels, (pixels, c) => {
				const values = pixels.map(({ place }) => data[place * channels + c]!);
				return layer.kind === "maxPool2d"
					? Math.max(...values)
					: values.reduce((a, b) => a + b) / values.length;
			});
		}
		case "globalAveragePool": {
			const features = shape.at(-1)!;
			const count = data.length / features;
			return {
				shape: [features],
				data: Array.from({ length: features }, (_, f) => {
					let sum = 0;
					for (let i = 0; i < count; i++) sum += data[i * features + f]!;
					return sum / count;
				}),
			};
		}
		case "layerNorm": {
			const features = shape.at(-1)!;
			const rows = Array.from({ length: data.length / features }, (_, row) =>
				normalized(data.slice(row * features, (row + 1) * features), layer.epsilon),
			).flat();
			return { shape, data: scaled(rows, tensor("scale"), tensor("bias")) };
		}
		case "groupNorm": {
			const channels = shape[2]!;
			const size = channels / layer.groups;
			const values = new Array<number>(data.length);
			for (let group = 0; group < layer.groups; group++) {
				const members = data.map((_, i) => i).filter((i) => Math.floor((i % channels) / size) === group);
				normalized(
					members.map((i) => data[i]!),
					layer.epsilon,
				).forEach((value, i) => {
					values[members[i]!] = value;
				});
			}
			return { shape, data: scaled(values, tensor("scale"), tensor("bias")) };
		}
		case "embedding": {
			const table = tensor("embeddings");
			return {
				shape: [data.length, layer.units],
				data: data.flatMap((token) => table.slice(token * layer.units, (token + 1) * layer.units)),
			};
		}
		case "recurrent": {
			const states = recur(layer, input, tensor);
			return layer.sequences
				? { shape: [states.length, layer.units], data: states.flat() }
				: { shape: [layer.units], data: states.at(-1)! };
		}
		case "residual": {
			const inner = through(layer.layers, input, (name) => tensor(`layers.${name}`));
			const shortcut = layer.projection ? project(input, inner.shape, tensor("projection.kernel")) : input;
			return { shape: inner.shape, data: inner.data.map((value, i) => value + shortcut.data[i]!) };
		}
	}
}

const FUNCTIONS = { relu: (z: number) => Math.max(z, 0), tanh: Math.tanh, sigmoid };

function product({ data }: Value, kernel: readonly number[], units: number, bias?: readonly number[]): Value {
	return {
		shape: [units],
		data: Array.from({ length: units }, (_, j) =>
			data.reduce((sum, value, i) => sum + value * kernel[i * units + j]!, bias?.[j] ?? 0),
		),
	};
}

interface Pixel {
	/** Row-major number of the pixel in the image. */
	readonly place: number;
	/** Row-major number within the window. */
	readonly offset: number;
}

/** For each window, top left first, and each of `outputs` channels the value of its pixels inside the image. */
function windows(
	{ shape }: Value,
	[windowHeight, windowWidth]: readonly [number, number],
	[strideDown, strideAcross]: readonly [number, number],
	padding: "same" | "valid",
	outputs: number,
	value: (pixels: readonly Pixel[], output: number) => number,
): Value {
	const [height, width] = shape as [number, number];
	const count = (length: number, window: number, stride: number) =>
		padding === "same" ? Math.ceil(length / stride) : Math.ceil((length - window + 1) / stride);
	const before = (length: number, window: number, stride: number) =>
		padding === "same"
			? Math.floor(Math.max((Math.ceil(length / stride) - 1) * stride + window - length, 0) / 2)
			: 0;
	const down = count(height, windowHeight, strideDown);
	const across = count(width, windowWidth, strideAcross);
	const top = before(height, windowHeight, strideDown);
	const left = before(width, windowWidth, strideAcross);
	const data: number[] = [];
	for (let i = 0; i < down; i++) {
		for (let j = 0; j < across; j++) {
			const pixels: Pixel[] = [];
			for (let a = 0; a < windowHeight; a++) {
				for (let b = 0; b < windowWidth; b++) {
					const [row, column] = [i * strideDown + a - top, j * strideAcross + b - left];
					if (row < 0 || row >= height || column < 0 || column >= width) continue;
					pixels.push({ place: row * width + column, offset: a * windowWidth + b });
				}
			}
			for (let output = 0; output < outputs; output++) data.push(value(pixels, output));
		}
	}
	return { shape: [down, across, outputs], data };
}

function normalized(values: readonly number[], epsilon: number): number[] {
	const mean = values.reduce((a, b) => a + b) / values.length;
	const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
	return values.map((value) => (value - mean) / Math.sqrt(variance + epsilon));
}

function scaled(values: readonly number[], scale: readonly number[], bias: readonly number[]): number[] {
	return values.map((value, i) => value * scale[i % scale.length]! + bias[i % scale.length]!);
}

function recur(
	{ cell, units }: Extract<Layer, { kind: "recurrent" }>,
	{ shape, data }: Value,
	tensor: (name: string) => number[],
): number[][] {
	const [steps, features] = shape as [number, number];
	const [kernel, recurrentKernel, bias] = [tensor("kernel"), tensor("recurrentKernel"), tensor("bias")];
	const width = bias.length;
	const times = (vector: readonly number[], matrix: readonly number[], column: number) =>
		vector.reduce((sum, value, i) => sum + value * matrix[i * width + column]!, 0);
	let h = new Array<number>(units).fill(0);
	let memory = new Array<number>(units).fill(0);
	const states: number[][] = [];
	for (let t = 0; t < steps; t++) {
		const x = data.slice(t * features, (t + 1) * features);
		const input = (column: number) => times(x, kernel, column) + bias[column]!;
		const [before, remembered] = [h, memory];
		const gate = (number: number, j: number) =>
			input(number * units + j) + times(before, recurrentKernel, number * units + j);
		const unit = Array.from({ length: units }, (_, j) => j);
		if (cell === "simple") {
			h = unit.map((j) => Math.tanh(gate(0, j)));
		} else if (cell === "gru") {
			const reset = unit.map((j) => sigmoid(gate(1, j)) * before[j]!);
			h = unit.map((j) => {
				const update = sigmoid(gate(0, j));
				const candidate = Math.tanh(input(2 * units + j) + times(reset, recurrentKernel, 2 * units + j));
				return update * before[j]! + (1 - update) * candidate;
			});
		} else {
			memory = unit.map(
				(j) => sigmoid(gate(1, j)) * remembered[j]! + sigmoid(gate(0, j)) * Math.tanh(gate(2, j)),
			);
			h = unit.map((j) => sigmoid(gate(3, j)) * Math.tanh(memory[j]!));
		}
		states.push(h);
	}
	return states;
}

/** A dense layer, or a 1x1 convolution with the strides that lead from one image to the other. */
function project(input: Value, output: readonly number[], kernel: readonly number[]): Value {
	if (output.length === 1) return product(input, kernel, output[0]!);
	const [height, width, filters] = output as [number, number, number];
	const channels = input.shape[2]!;
	const [down, across] = [Math.ceil(input.shape[0]! / height), Math.ceil(input.shape[1]! / width)];
	const data: number[] = [];
	for (let i = 0; i < height; i++) {
		for (let j = 0; j < width; j++) {
			const start = (i * down * input.shape[1]! + j * across) * channels;
			const pixel = { shape: [channels], data: input.data.slice(start, start + channels) };
			data.push(...product(pixel, kernel, filters).data);
		}
	}
	return { shape: output, data };
}

/** Gradient of one example's loss by central differences. */
export function numericalGradient(
	model: Model,
	parameters: Float32Array,
	batch: Batch,
	row: number,
): Float64Array {
	const x = [...batch.features.subarray(row * model.inputs, (row + 1) * model.inputs)];
	const at = Float64Array.from(parameters);
	const loss = () => referenceLoss(model, referenceLogits(model, at, x), batch.labels[row]!);
	const h = 1e-5;
	return Float64Array.from(parameters, (value, i) => {
		at[i] = value + h;
		const above = loss();
		at[i] = value - h;
		const below = loss();
		at[i] = value;
		return (above - below) / (2 * h);
	});
}

function referenceLoss(model: Model, logits: readonly number[], label: number): number {
	const z = logits[0]!;
	if (model.task === "regression") return (z - label) ** 2;
	if (model.task === "binary") return Math.log1p(Math.exp(z)) - label * z;
	return Math.log(logits.reduce((sum, v) => sum + Math.exp(v), 0)) - logits[label]!;
}
