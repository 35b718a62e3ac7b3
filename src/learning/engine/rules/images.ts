/** Layers without parameters that change an image's or a sequence's shape. */
import type { PoolingLayer } from "../../layers.ts";
import { sizeOf, type TensorShape, windowsOf } from "../../shapes.ts";
import type { ImageSize, TensorOperations } from "../operations.ts";
import type { LayerContext, LayerPass } from "./layerRule.ts";

export function pool<T>(layer: PoolingLayer, { ops, input, shape }: LayerContext<T>): LayerPass<T> {
	const image = shape as ImageSize;
	const windows = windowsOf(layer, image);
	const pooled =
		layer.kind === "maxPool2d" ? ops.maxPool(input, windows, image) : ops.averagePool(input, windows, image);
	return {
		output: pooled.output,
		backward: (error) => ({ input: () => pooled.backward(error), parameters: [] }),
	};
}

export function globalAveragePool<T>({ ops, input, shape }: LayerContext<T>): LayerPass<T> {
	const features = shape.at(-1)!;
	const image = shape.length === 3;
	const positions = sizeOf(shape) / features;
	const share = ops.constant(1 / positions);
	const total = image
		? ops.reshape(ops.sumLast(ops.reshape(input, [-1, features, positions]), positions), [-1, features])
		: ops.sumSteps(input, positions, features);
	return {
		output: ops.multiply(total, share),
		backward: (error) => ({
			input: () => {
				const each = ops.multiply(error, share);
				if (!image) {
					const ones = ops.table([1, positions, 1], new Float32Array(positions).fill(1));
					return ops.multiply(ops.reshape(each, [-1, 1, features]), ones);
				}
				const ones = ops.table([1, 1, shape[0], shape[1]!], new Float32Array(positions).fill(1));
				return ops.multiply(ops.reshape(each, [-1, features, 1, 1]), ones);
			},
			parameters: [],
		}),
	};
}

export function flatten<T>({ ops, input, shape }: LayerContext<T>): LayerPass<T> {
	return {
		output: toRows(ops, input, shape),
		backward: (error) => ({ input: () => fromRows(ops, error, shape), parameters: [] }),
	};
}

/** Tensors of one example in row-major order, channels last, as they are outside the engine. */
function toRows<T>(ops: TensorOperations<T>, input: T, shape: TensorShape): T {
	if (shape.length === 1) return input;
	const ordered = shape.length === 3 && !isPlane(shape) ? ops.transpose(input, [0, 2, 3, 1]) : input;
	return ops.reshape(ordered, [-1, sizeOf(shape)]);
}

/** The inverse of {@link toRows}: images with channels first. */
export function fromRows<T>(ops: TensorOperations<T>, rows: T, shape: TensorShape): T {
	if (shape.length === 1) return rows;
	if (shape.length === 2) return ops.reshape(rows, [-1, ...shape]);
	const [height, width, channels] = shape;
	if (isPlane(shape)) return ops.reshape(rows, [-1, channels, height, width]);
	return ops.transpose(ops.reshape(rows, [-1, height, width, channels]), [0, 3, 1, 2]);
}

/** Where channels first and channels last are the same order. */
function isPlane([height, width, channels]: readonly [number, number, number]): boolean {
	return channels === 1 || height * width === 1;
}
