import type { LayerOf } from "../../layers.ts";
import type { LayerContext, LayerPass } from "./layerRule.ts";

/**
 * More than all that a sum of up to 2^20 squares can lose to float32 underflow (2^-126 each). Without
 * it, a record with enormous features and a tiny error has a measured norm of zero and escapes clipping.
 */
const SQUARE_UNDERFLOW = 2 ** -106;

/**
 * x W + b. An example's kernel gradient is the outer product a^T e and its bias gradient e, so its
 * squared norm is (|a|^2 + 1) |e|^2 without ever forming it (Goodfellow 2015, arXiv:1510.01799); the
 * clipped sum is then a^T (c e).
 */
export function dense<T>(layer: LayerOf<"dense">, context: LayerContext<T>): LayerPass<T> {
	const { ops, input, parameters } = context;
	const [kernel, bias] = parameters;
	return {
		output: ops.affine(input, kernel!, bias),
		backward: (error) => ({
			input: () => ops.matmul(error, kernel!, { b: true }),
			parameters: [
				{
					squaredNorm: () => {
						const underflow = ops.constant(SQUARE_UNDERFLOW);
						const withBias = ops.add(
							ops.squaredNorm(input, context.shape[0]),
							layer.useBias ? ops.constant(1) : underflow,
						);
						return ops.multiply(withBias, ops.add(ops.squaredNorm(error, layer.units), underflow));
					},
					sum: (rows) => {
						// A weight of zero is not enough for a bad row: 0 * NaN is NaN, and a matrix product would
						// spread it over the whole sum. Both factors of the product lose the row.
						const kept = rows ? ops.keepFiniteRows(rows.finiteTest, input) : input;
						const scaled = rows
							? ops.keepFiniteRows(rows.finiteTest, ops.multiply(error, rows.factor))
							: error;
						const sum = ops.matmul(kept, scaled, { a: true });
						return layer.useBias ? [sum, ops.sumOverRows(scaled)] : [sum];
					},
				},
			],
		}),
	};
}
