/** What a private step costs, from a model's description: which way to the norms, and how much memory. */
import { GATES } from "./layerParameters.ts";
import type { Layer } from "./layers.ts";
import {
	chainShapes,
	inputShapeOf,
	type ShapedModel,
	sizeOf,
	type TensorShape,
	windowsOf,
} from "./shapes.ts";

/** A kernel of d x p that acts alike at a number of positions. */
export interface KernelSize {
	readonly positions: number;
	readonly d: number;
	readonly p: number;
}

/** Multiplications that a processor does while one value of a G is written, tested, squared and summed. */
const PASSES = 32;

/**
 * Whether the ghost norm costs less than the gradients themselves, in multiplications an example. The
 * sum over positions is formed either way: once with the gradients, or after the norms, in double
 * precision, which takes twice as long. The published rule 2 T^2 < d p compares memory alone.
 */
export function ghostIsCheaper({ positions, d, p }: KernelSize): boolean {
	return positions ** 2 * (d + p) + positions * d * p < PASSES * d * p;
}

/** Roughly how many values a private step keeps for one example. */
export function exampleValues(model: ShapedModel): number {
	return chainValues(model.layers, inputShapeOf(model));
}

/** Recurrent steps that a step's graph unrolls, over all layers. */
export function unrolledSteps(model: ShapedModel): number {
	const steps = (layers: readonly Layer[], input: TensorShape): number => {
		const shapes = chainShapes(layers, input);
		return layers.reduce((sum, layer, i) => {
			if (layer.kind === "residual") return sum + steps(layer.layers, shapes[i]!);
			return layer.kind === "recurrent" ? sum + shapes[i]![0] : sum;
		}, 0);
	};
	return steps(model.layers, inputShapeOf(model));
}

function chainValues(layers: readonly Layer[], input: TensorShape): number {
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
			return chainValues(layer.layers, input) + sizeOf(output);
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
