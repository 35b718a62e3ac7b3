/** The parameter tensors of each kind of layer: their roles, shapes and the scale of their initial values. */
import type { Layer } from "./layers.ts";
import { chainShapes, projectionOf, sizeOf, type TensorShape } from "./shapes.ts";

export type ParameterRole = "kernel" | "recurrentKernel" | "embeddings" | "scale" | "bias";

export interface ParameterTensor {
	/** Within the layer, for example `kernel`, or `layers.0.kernel` inside a residual block. */
	readonly name: string;
	readonly role: ParameterRole;
	/** Keras' layouts: [fan-in, units]; [height, width, input channels, filters]; [height, width, channels, 1] of a depthwise convolution. */
	readonly shape: readonly number[];
	/** Values that one output depends on, and outputs that one value reaches: the scale of initial values. */
	readonly fans: readonly [number, number];
}

/** Gates of each recurrent cell, side by side in its kernels: simple; update, reset, candidate; input, forget, candidate, output. */
export const GATES = { simple: 1, gru: 3, lstm: 4 } as const;

/** The parameter tensors of one layer, in order. @throws AlthingError `learning.invalid_shape` for a residual block that does not fit. */
export function parameterTensors(layer: Layer, input: TensorShape): ParameterTensor[] {
	const channels = input.at(-1)!;
	const kernel = (shape: readonly number[], fans: readonly [number, number]): ParameterTensor => ({
		name: "kernel",
		role: "kernel",
		shape,
		fans,
	});
	const vector = (role: "scale" | "bias", length: number): ParameterTensor => ({
		name: role,
		role,
		shape: [length],
		fans: [1, 1],
	});
	switch (layer.kind) {
		case "dense": {
			const tensor = kernel([channels, layer.units], [channels, layer.units]);
			return layer.useBias ? [tensor, vector("bias", layer.units)] : [tensor];
		}
		case "conv2d": {
			const window = sizeOf(layer.kernelSize);
			const tensor = kernel(
				[...layer.kernelSize, channels, layer.filters],
				[window * channels, window * layer.filters],
			);
			return layer.useBias ? [tensor, vector("bias", layer.filters)] : [tensor];
		}
		case "depthwiseConv2d": {
			const window = sizeOf(layer.kernelSize);
			const tensor = kernel([...layer.kernelSize, channels, 1], [window, window]);
			return layer.useBias ? [tensor, vector("bias", channels)] : [tensor];
		}
		case "layerNorm":
		case "groupNorm":
			return [vector("scale", channels), vector("bias", channels)];
		case "embedding": {
			const shape = [layer.vocabulary, layer.units] as const;
			return [{ name: "embeddings", role: "embeddings", shape, fans: shape }];
		}
		case "recurrent": {
			const width = GATES[layer.cell] * layer.units;
			return [
				kernel([channels, width], [channels, width]),
				{
					name: "recurrentKernel",
					role: "recurrentKernel",
					shape: [layer.units, width],
					fans: [layer.units, width],
				},
				vector("bias", width),
			];
		}
		case "residual": {
			const shapes = chainShapes(layer.layers, input);
			const inner = layer.layers.flatMap((inside, i) =>
				parameterTensors(inside, shapes[i]!).map((tensor) => ({
					...tensor,
					name: `layers.${i}.${tensor.name}`,
				})),
			);
			const projection = projectionOf(layer, input, shapes.at(-1)!);
			const shortcut = projection ? parameterTensors(projection, input) : [];
			return [...inner, ...shortcut.map((tensor) => ({ ...tensor, name: `projection.${tensor.name}` }))];
		}
		case "maxPool2d":
		case "averagePool2d":
		case "globalAveragePool":
		case "flatten":
		case "activation":
		case "dropout":
			return [];
	}
}
