import type { LayerOf } from "../../layers.ts";
import type { LayerContext, LayerPass } from "./layerRule.ts";

/**
 * A row of the table for each token. An example's gradient has one row for each of its distinct
 * tokens, the sum of the errors at all places where the token stands. That sum is formed at the
 * token's first place, by the matrix of equal tokens; then norms are those of rows, and the table's
 * sum is a scatter in which no two terms of one example meet.
 *
 * A record with a number that is no token has a gradient that is not a number, and so counts as zero.
 */
export function embedding<T>(
	layer: LayerOf<"embedding">,
	{ ops, input, shape, parameters }: LayerContext<T>,
): LayerPass<T> {
	const { vocabulary, units } = layer;
	const tokens = shape[0];
	const validity = ops.nanUnlessIndex(input, vocabulary);
	const rows = ops.gather(parameters[0]!, input, vocabulary);

	const atFirstPlace = (error: T): T => {
		const equal = ops.isEqual(ops.reshape(input, [-1, tokens, 1]), ops.reshape(input, [-1, 1, tokens]));
		const before = ops.table(
			[1, tokens, tokens],
			Float32Array.from({ length: tokens * tokens }, (_, i) => (i % tokens < Math.floor(i / tokens) ? 1 : 0)),
		);
		const earlier = ops.sumLast(ops.multiply(equal, before), tokens);
		const first = ops.subtract(ops.constant(1), ops.isPositive(earlier));
		return ops.multiply(ops.batchMatmul(equal, error), first);
	};
	return {
		output: ops.add(rows, ops.reshape(validity, [-1, tokens, 1])),
		backward: (error) => {
			let formed: T | undefined;
			const byToken = () => {
				formed ??= atFirstPlace(error);
				return formed;
			};
			return {
				input: () => ops.multiply(input, ops.constant(0)),
				parameters: [
					{
						squaredNorm: () => {
							const norms = ops.reshape(ops.squaredNorm(byToken(), units), [-1, tokens]);
							const invalid = ops.sumLast(validity, tokens);
							return ops.add(ops.add(ops.sumLast(norms, tokens), ops.constant(2 ** -90)), invalid);
						},
						sum: (factors) => {
							if (!factors) return [ops.scatterAdd(error, input, vocabulary, units)];
							const flat = ops.reshape(byToken(), [-1, tokens * units]);
							const scaled = ops.keepFiniteRows(factors.finiteTest, ops.multiply(flat, factors.factor));
							return [ops.scatterAdd(ops.reshape(scaled, [-1, tokens, units]), input, vocabulary, units)];
						},
					},
				],
			};
		},
	};
}
