import { GATES } from "../layerParameters.ts";
import type { Layer } from "../layers.ts";
import type { Model } from "../model.ts";
import { chainShapes, inputShapeOf, sizeOf, type TensorShape, windowsOf } from "../shapes.ts";
import { ghostIsCheaper } from "./rules/perExample.ts";

/**
 * Sizes that batches are padded to. The plan's bound on summation errors rests on chunks of at most
 * 512 rows.
 */
const SIZES = [32, 64, 128, 256, 512] as const;
/** Of large models a chunk holds fewer rows, down to one. */
const SMALLER = [16, 8, 4, 2, 1] as const;
/** Bytes that the values of a chunk's step may take. */
const MEMORY_BYTES = 48 * 2 ** 20;

/**
 * The batch sizes to compile a model's graphs for, ascending; longer batches run in chunks of the
 * last. Chosen so that activations, errors and per-example gradients of a chunk fit a fixed memory.
 */
export function chunkSizes(model: Model): readonly number[] {
	const rows = MEMORY_BYTES / (4 * exampleValues(model.layers, inputShapeOf(model)));
	const fitting = SIZES.filter((size) => size <= rows);
	return fitting.length > 0 ? fitting : [SMALLER.find((size) => size <= rows) ?? 1];
}

/** Roughly how many values a private step keeps for one example. */
function exampleValues(layers: readonly Layer[], input: TensorShape): number {
	const shapes = chainShapes(layers, input);
	return layers.reduce(
		(total, layer, i) =>
			total + 2 * sizeOf(shapes[i + 1]!) + gradientValues(layer, shapes[i]!, shapes[i + 1]!),
		2 * sizeOf(input),
	);
}

/** What a layer's norms and sums need beside its output and error. */
function gradientValues(layer: Layer, input: TensorShape, output: TensorShape): number {
	switch (layer.kind) {
		case "conv2d":
		case "depthwiseConv2d": {
			const { size, count } = windowsOf(layer, input as readonly [number, number, number]);
			const positions = sizeOf(count);
			const d = sizeOf(size) * input[2]!;
			const p = layer.kind === "conv2d" ? layer.filters : 1;
			return d * positions + perExample(positions, d, p);
		}
		case "embedding":
			return input[0] ** 2 + 2 * sizeOf(output);
		case "recurrent": {
			const [steps, features] = input as readonly [number, number];
			const width = GATES[layer.cell] * layer.units;
			return 6 * steps * width + perExample(steps, features, width) + perExample(steps, layer.units, width);
		}
		case "residual":
			return exampleValues(layer.layers, input) + sizeOf(output);
		case "layerNorm":
		case "groupNorm":
			return 4 * sizeOf(output);
		default:
			return 0;
	}
}

function perExample(positions: number, d: number, p: number): number {
	return ghostIsCheaper({ positions, d, p }) ? 2 * positions ** 2 : d * p;
}
