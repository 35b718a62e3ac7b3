import { ghostIsCheaper } from "../../gradientCost.ts";
import type { LayerOf } from "../../layers.ts";
import { type Windows, windowsOf } from "../../shapes.ts";
import type { ImageSize, TensorOperations } from "../operations.ts";
import type { LayerContext, LayerPass, ParameterGradient } from "./layerRule.ts";
import { instantiated, positional } from "./perExample.ts";

/**
 * A convolution is the product of its kernel with the image's windows, unfolded: U of d = height x
 * width x channels of a window by T positions, e of p filters by T. So G = U e^T, a sum over positions.
 */
export function conv2d<T>(layer: LayerOf<"conv2d">, context: LayerContext<T>): LayerPass<T> {
	const { ops, input, parameters } = context;
	const shape = context.shape as ImageSize;
	const [kernel, bias] = parameters;
	const windows = windowsOf(layer, shape);
	const output = ops.convolve(input, kernel!, windows);
	const size = {
		positions: windows.count[0] * windows.count[1],
		d: windows.size[0] * windows.size[1] * shape[2],
		p: layer.filters,
	};
	const kernelShape = [...windows.size, shape[2], layer.filters];

	const kernelGradient = (error: T): ParameterGradient<T> => {
		const unfolded = () => unfold(ops, input, windows, size.d);
		const errors = ops.reshape(error, [-1, size.p, size.positions]);
		if (ghostIsCheaper(size)) {
			const byPosition = (matrix: T) => ops.transpose(matrix, [0, 2, 1]);
			return positional(ops, byPosition(unfolded()), byPosition(errors), size, kernelShape);
		}
		return instantiated(ops, () => ops.batchMatmul(unfolded(), errors, { b: true }), {
			shape: kernelShape,
			columns: size.p,
		});
	};
	return {
		output: bias === undefined ? output : ops.add(output, ops.reshape(bias, [1, layer.filters, 1, 1])),
		backward: (error) => ({
			input: () => ops.convolveTransposed(error, kernel!, windows, shape),
			parameters:
				bias === undefined
					? [kernelGradient(error)]
					: [
							kernelGradient(error),
							channelSums(ops, () => error, { channels: layer.filters, pixels: size.positions }),
						],
		}),
	};
}

/** One filter a channel: G is the product of each window offset's pixels with e, summed over positions. */
export function depthwiseConv2d<T>(
	layer: LayerOf<"depthwiseConv2d">,
	context: LayerContext<T>,
): LayerPass<T> {
	const { ops, input, parameters } = context;
	const shape = context.shape as ImageSize;
	const [kernel, bias] = parameters;
	const windows = windowsOf(layer, shape);
	const channels = shape[2];
	const positions = windows.count[0] * windows.count[1];
	const output = ops.convolveDepthwise(input, kernel!, windows, shape);

	const kernelGradient = (error: T): ParameterGradient<T> =>
		instantiated(
			ops,
			() => {
				// [rows, offsets x channels, positions] and [rows, channels, positions], by channel.
				const offsets = windows.size[0] * windows.size[1];
				const unfolded = unfold(ops, input, windows, offsets * channels);
				const byChannel = ops.transpose(
					ops.reshape(unfolded, [-1, offsets, channels, positions]),
					[0, 2, 1, 3],
				);
				const sums = ops.batchMatmul(
					ops.reshape(byChannel, [-1, offsets, positions]),
					ops.reshape(error, [-1, positions, 1]),
				);
				return ops.transpose(ops.reshape(sums, [-1, channels, offsets]), [0, 2, 1]);
			},
			{ shape: [...windows.size, channels, 1], columns: channels },
		);
	return {
		output: bias === undefined ? output : ops.add(output, ops.reshape(bias, [1, channels, 1, 1])),
		backward: (error) => ({
			input: () => ops.convolveDepthwiseTransposed(error, kernel!, windows, shape),
			parameters:
				bias === undefined
					? [kernelGradient(error)]
					: [kernelGradient(error), channelSums(ops, () => error, { channels, pixels: positions })],
		}),
	};
}

/** The gradient with respect to a value added at every pixel of a channel, or that multiplies them. */
export function channelSums<T>(
	ops: TensorOperations<T>,
	terms: () => T,
	{ channels, pixels }: { readonly channels: number; readonly pixels: number },
): ParameterGradient<T> {
	const sums = () => ops.sumLast(ops.reshape(terms(), [-1, channels, pixels]), pixels);
	return instantiated(ops, () => ops.reshape(sums(), [-1, channels]), {
		shape: [channels],
		columns: channels,
	});
}

/** Every window as a column: [rows, d, positions], d running over window rows, columns, then channels. */
function unfold<T>(ops: TensorOperations<T>, input: T, windows: Windows, d: number): T {
	const positions = windows.count[0] * windows.count[1];
	const padded = windows.padding.every((pixels) => pixels === 0)
		? input
		: ops.padImage(input, windows.padding);
	const parts: T[] = [];
	for (let row = 0; row < windows.size[0]; row++) {
		for (let column = 0; column < windows.size[1]; column++) {
			parts.push(ops.windowPixels(padded, windows, [row, column]));
		}
	}
	return ops.reshape(parts.length === 1 ? parts[0]! : ops.concat(parts, 1), [-1, d, positions]);
}
