/**
 * Layer and group normalization: y = scale (x - mean) / sqrt(variance + epsilon) + bias, mean and
 * variance over each example's own values.
 *
 * With x^ the normalized values and f = scale e, the error at the input is
 * (f - mean(f) - x^ mean(f x^)) / sqrt(variance + epsilon), means over the same values.
 */
import type { LayerOf } from "../../layers.ts";
import { sizeOf } from "../../shapes.ts";
import type { TensorOperations } from "../operations.ts";
import { channelSums } from "./convolution.ts";
import type { LayerContext, LayerPass } from "./layerRule.ts";
import { instantiated, summedOverPositions } from "./perExample.ts";

export function layerNorm<T>(
	layer: LayerOf<"layerNorm">,
	{ ops, input, shape, parameters }: LayerContext<T>,
): LayerPass<T> {
	const [scale, bias] = parameters;
	const features = shape.at(-1)!;
	const normalized = normalize(ops, ops.reshape(input, [-1, features]), features, layer.epsilon);
	const back = [-1, ...shape];
	const values = ops.reshape(normalized.values, back);
	return {
		output: ops.add(ops.multiply(values, scale!), bias!),
		backward: (error) => {
			const sums = (terms: () => T) =>
				shape.length === 1
					? instantiated(ops, terms, { shape: [features], columns: features })
					: summedOverPositions(ops, terms, { positions: shape[0], n: features });
			return {
				input: () =>
					ops.reshape(normalized.backward(ops.reshape(ops.multiply(error, scale!), [-1, features])), back),
				parameters: [sums(() => ops.multiply(error, values)), sums(() => error)],
			};
		},
	};
}

export function groupNorm<T>(
	layer: LayerOf<"groupNorm">,
	{ ops, input, shape, parameters }: LayerContext<T>,
): LayerPass<T> {
	const [height, width, channels] = shape as readonly [number, number, number];
	const [scale, bias] = parameters.map((vector) => ops.reshape(vector, [1, channels, 1, 1]));
	const groupSize = sizeOf(shape) / layer.groups;
	const back = [-1, channels, height, width];
	const normalized = normalize(ops, ops.reshape(input, [-1, groupSize]), groupSize, layer.epsilon);
	const values = ops.reshape(normalized.values, back);
	return {
		output: ops.add(ops.multiply(values, scale!), bias!),
		backward: (error) => ({
			input: () =>
				ops.reshape(normalized.backward(ops.reshape(ops.multiply(error, scale!), [-1, groupSize])), back),
			parameters: [
				channelSums(ops, () => ops.multiply(error, values), { channels, pixels: height * width }),
				channelSums(ops, () => error, { channels, pixels: height * width }),
			],
		}),
	};
}

/** Each row of [rows, width] to mean 0 and variance 1, and the way back for errors. */
function normalize<T>(ops: TensorOperations<T>, rows: T, width: number, epsilon: number) {
	const share = ops.constant(1 / width);
	const mean = (x: T) => ops.multiply(ops.sumLast(x, width), share);
	const centred = ops.subtract(rows, mean(rows));
	const variance = ops.multiply(ops.squaredNorm(centred, width), share);
	const deviation = ops.squareRoot(ops.add(variance, ops.constant(epsilon)));
	const values = ops.divide(centred, deviation);
	return {
		values,
		backward: (error: T): T => {
			const along = ops.multiply(values, mean(ops.multiply(error, values)));
			return ops.divide(ops.subtract(ops.subtract(error, mean(error)), along), deviation);
		},
	};
}
