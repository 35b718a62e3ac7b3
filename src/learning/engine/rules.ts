/**
 * The mathematics of each layer, written once for every backend.
 *
 * Notation: a is a layer's input (one example per row), e the gradient of each example's loss with
 * respect to the layer's output. For a dense layer an example's kernel gradient is the outer product
 * a^T e and its bias gradient e, so its squared norm is (|a|^2 + 1) |e|^2 without ever forming it
 * (Goodfellow 2015, "Efficient per-example gradient computations", arXiv:1510.01799); the clipped
 * sum is then a^T (c * e) with one factor c per row (book-keeping, Bu et al. 2023, arXiv:2210.00038).
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { Layer, LayerOf } from "../layers.ts";
import type { TensorOperations } from "./operations.ts";

/** What the forward pass leaves for the backward pass. */
export interface LayerTrace<T> {
	readonly input: T;
	readonly output: T;
	/** Kernel, then bias if there is one; empty for a layer without parameters. */
	readonly parameters: readonly T[];
}

/** How much each row counts in a gradient sum. */
export interface RowFactors<T> {
	/** [rows, 1]. */
	readonly factor: T;
	/** [rows, 1]; rows where this is not finite are left out altogether. */
	readonly finiteTest: T;
}

export interface LayerRule {
	/** Tensors this layer takes from the parameter vector: 0, 1 (kernel) or 2 (kernel, bias). */
	readonly parameterTensors: number;
	/** The layer's output. */
	forward<T>(ops: TensorOperations<T>, input: T, parameters: readonly T[]): T;
	/** Gradient with respect to the layer's input. */
	backwardInput<T>(ops: TensorOperations<T>, trace: LayerTrace<T>, error: T): T;
	/** Sum over the rows of the parameter gradients, each row times its factor; one tensor per parameter. */
	parameterGradient<T>(ops: TensorOperations<T>, trace: LayerTrace<T>, error: T, rows?: RowFactors<T>): T[];
	/** |gradient of this layer's parameters|^2 per row, one [rows, 1] tensor; none for a layer without parameters. */
	perExampleSquaredNorm<T>(ops: TensorOperations<T>, trace: LayerTrace<T>, error: T): T[];
}

/**
 * More than all that a sum of up to 2^20 squares can lose to float32 underflow (2^-126 each). Without
 * it, a record with enormous features and a tiny error has a measured norm of zero and escapes clipping.
 */
const SQUARE_UNDERFLOW = 2 ** -106;

export function ruleOf(layer: Layer): LayerRule {
	if (layer.kind === "dense") return denseRule(layer);
	if (layer.kind === "activation") return activationRule(layer);
	throw new AlthingError("learning.unsupported_layer", `The engine has no rule for ${layer.kind} layers.`);
}

function denseRule(layer: LayerOf<"dense">): LayerRule {
	return {
		parameterTensors: layer.useBias ? 2 : 1,
		forward: (ops, input, [kernel, bias]) => ops.affine(input, kernel!, bias),
		backwardInput: (ops, trace, error) => ops.matmul(error, trace.parameters[0]!, { b: true }),
		parameterGradient: (ops, trace, error, rows) => {
			// A weight of zero is not enough for a bad row: 0 * NaN is NaN, and a matrix product would
			// spread it over the whole sum. Both factors of the product lose the row.
			const input = rows ? ops.keepFiniteRows(rows.finiteTest, trace.input) : trace.input;
			const scaled = rows ? ops.keepFiniteRows(rows.finiteTest, ops.multiply(error, rows.factor)) : error;
			const kernel = ops.matmul(input, scaled, { a: true });
			return layer.useBias ? [kernel, ops.sumOverRows(scaled)] : [kernel];
		},
		perExampleSquaredNorm: (ops, trace, error) => {
			const input = ops.squaredNormPerRow(trace.input);
			const underflow = ops.constant(SQUARE_UNDERFLOW);
			const withBias = ops.add(input, layer.useBias ? ops.constant(1) : underflow);
			return [ops.multiply(withBias, ops.add(ops.squaredNormPerRow(error), underflow))];
		},
	};
}

function activationRule(layer: LayerOf<"activation">): LayerRule {
	return {
		parameterTensors: 0,
		forward: (ops, input) => ops.activate(layer.function, input),
		backwardInput: (ops, { output }, error) => {
			switch (layer.function) {
				case "relu":
					return ops.multiply(error, ops.isPositive(output));
				case "tanh":
					return ops.multiply(error, ops.subtract(ops.constant(1), ops.multiply(output, output)));
				case "sigmoid":
					return ops.multiply(error, ops.multiply(output, ops.subtract(ops.constant(1), output)));
			}
		},
		parameterGradient: () => [],
		perExampleSquaredNorm: () => [],
	};
}
