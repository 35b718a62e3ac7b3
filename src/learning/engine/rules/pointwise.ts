/** Layers that treat each value by itself. */
import type { LayerOf } from "../../layers.ts";
import type { TensorOperations } from "../operations.ts";
import { fromRows } from "./images.ts";
import type { LayerContext, LayerPass } from "./layerRule.ts";

export function activation<T>(layer: LayerOf<"activation">, { ops, input }: LayerContext<T>): LayerPass<T> {
	const output = ops.activate(layer.function, input);
	const name = layer.function;
	return {
		output,
		backward: (error) => ({
			input: () => ops.multiply(error, name === "relu" ? ops.isPositive(output) : slopeOf(ops, name, output)),
			parameters: [],
		}),
	};
}

/** Derivative of tanh or the logistic function, from its value. */
export function slopeOf<T>(ops: TensorOperations<T>, name: "tanh" | "sigmoid", value: T): T {
	return name === "tanh"
		? ops.subtract(ops.constant(1), ops.multiply(value, value))
		: ops.multiply(value, ops.subtract(ops.constant(1), value));
}

/** Times a mask of 0 and 1 / (1 - rate), drawn for each example by itself; the identity outside training. */
export function dropout<T>(context: LayerContext<T>): LayerPass<T> {
	const { ops, input, shape } = context;
	const rows = context.nextDropoutMask();
	if (rows === undefined) {
		return { output: input, backward: (error) => ({ input: () => error, parameters: [] }) };
	}
	const mask = fromRows(ops, rows, shape);
	return {
		output: ops.multiply(input, mask),
		backward: (error) => ({ input: () => ops.multiply(error, mask), parameters: [] }),
	};
}
