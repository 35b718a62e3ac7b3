/**
 * Where ONNX stores weights in another order than we do: convolution kernels as [filters, channels,
 * height, width], and recurrent gates in its own sequence, each transposed.
 */
import type { Layer, LayerOf } from "../layers.ts";
import type { Model, ParameterSlot } from "../model.ts";
import { sizeOf } from "../shapes.ts";

/** Our place of each gate in ONNX's order: update, reset, candidate; input, output, forget, candidate. */
const GATE_ORDER = { simple: [0], gru: [0, 1, 2], lstm: [0, 3, 1, 2] } as const;

/** Row-major values with their axes in another order: axis i of the result is axis `order[i]` of the values. */
export function transposed(
	values: Float32Array,
	shape: readonly number[],
	order: readonly number[],
): Float32Array {
	const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
	const target = order.map((axis) => shape[axis]!);
	const result = new Float32Array(values.length);
	const index = new Array<number>(order.length).fill(0);
	for (let i = 0; i < result.length; i++) {
		result[i] = values[order.reduce((from, axis, place) => from + index[place]! * strides[axis]!, 0)]!;
		for (let place = order.length - 1; place >= 0; place--) {
			index[place]! += 1;
			if (index[place]! < target[place]!) break;
			index[place] = 0;
		}
	}
	return result;
}

/** [height, width, input channels, filters] to [filters, input channels, height, width]. */
export const CONVOLUTION_ORDER = [3, 2, 0, 1] as const;
/** Its inverse. */
export const FROM_CONVOLUTION_ORDER = [2, 3, 1, 0] as const;
/** [height, width, channels, 1] to [channels, 1, height, width]: one filter a channel, so the inverse reads the same shape. */
export const DEPTHWISE_ORDER = [2, 3, 0, 1] as const;

/**
 * Of each place in ONNX's layout of a recurrent layer's kernel, recurrent kernel or bias, the place in
 * ours. Ours is [rows, gates x units] (rows 1 for a bias), ONNX's [1, gates x units, rows] with gates
 * in its own order.
 */
function gatePlaces(rows: number, { cell, units }: LayerOf<"recurrent">): number[] {
	const width = GATE_ORDER[cell].length * units;
	return GATE_ORDER[cell].flatMap((gate) =>
		Array.from({ length: units * rows }, (_, place) => {
			const unit = Math.floor(place / rows);
			return (place % rows) * width + gate * units + unit;
		}),
	);
}

/** A recurrent layer's weights as ONNX wants them. */
export function gatesToOnnx(values: Float32Array, rows: number, layer: LayerOf<"recurrent">): Float32Array {
	return Float32Array.from(gatePlaces(rows, layer), (place) => values[place]!);
}

/** The inverse of {@link gatesToOnnx}. */
function gatesFromOnnx(values: Float32Array, rows: number, layer: LayerOf<"recurrent">): Float32Array {
	const result = new Float32Array(values.length);
	gatePlaces(rows, layer).forEach((place, index) => {
		result[place] = values[index]!;
	});
	return result;
}

/** The layer that a slot's weights belong to: of the model, or inside a residual block. */
function layerOfSlot(model: Model, slot: ParameterSlot): Layer {
	const layer = model.layers[slot.layer]!;
	if (layer.kind !== "residual") return layer;
	const inner = /^layers\.\d+\.layers\.(\d+)\./.exec(slot.name);
	return inner === null ? layer : layer.layers[Number(inner[1])]!;
}

/** The values of a parameter slot from the tensor that onnxGraph.ts writes for it; a projection's kernel is dense or a convolution's. */
export function weightFromOnnx(model: Model, slot: ParameterSlot, values: Float32Array): Float32Array {
	const layer = layerOfSlot(model, slot);
	if (layer.kind === "recurrent") {
		const rows = slot.role === "bias" ? 1 : slot.shape[0]!;
		return gatesFromOnnx(values.subarray(0, slot.length), rows, layer);
	}
	if (slot.role !== "kernel" || slot.shape.length !== 4 || values.length !== slot.length) return values;
	const [height, width, channels, filters] = slot.shape as readonly [number, number, number, number];
	if (layer.kind === "depthwiseConv2d") {
		return transposed(values, [channels, 1, height, width], DEPTHWISE_ORDER);
	}
	return transposed(values, [filters, channels, height, width], FROM_CONVOLUTION_ORDER);
}
