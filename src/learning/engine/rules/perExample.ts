/** The two ways to the norms and sums of per-example gradients where an example has many positions. */
import { ghostIsCheaper, type KernelSize } from "../../gradientCost.ts";
import { sizeOf } from "../../shapes.ts";
import type { TensorOperations } from "../operations.ts";
import type { ParameterGradient } from "./layerRule.ts";

/**
 * More than all that the sums of up to 5e7 products below can lose to float32 underflow: 2^-126 each,
 * times at most 2^10 positions where a lost dot product is multiplied on.
 */
const SQUARE_UNDERFLOW = 2 ** -90;
/** Half a unit in the last place of float32, relative. */
const ROUNDING = 2 ** -24;

/**
 * From the gradients themselves. What is measured is what is summed, so however inexactly they were
 * computed no example counts more than its norm allows.
 * @param gradients [rows, m, columns] or [rows, columns]: G of every example
 * @param shape of the parameter tensor, m columns values
 * @param plainSum the sum over the examples, where there is a cheaper way than through `gradients`
 */
export function instantiated<T>(
	ops: TensorOperations<T>,
	gradients: () => T,
	{ shape, columns }: { readonly shape: readonly number[]; readonly columns: number },
	plainSum?: () => T,
): ParameterGradient<T> {
	const size = sizeOf(shape);
	let formed: T | undefined;
	const form = () => {
		formed ??= gradients();
		return formed;
	};
	return {
		squaredNorm: () => {
			// In two stages, so that the rounding grows with m + columns and not with their product.
			const byColumn = ops.reshape(ops.squaredNorm(form(), columns), [-1, size / columns]);
			return ops.add(ops.sumLast(byColumn, size / columns), ops.constant(SQUARE_UNDERFLOW));
		},
		sum: (rows) => {
			if (!rows)
				return [plainSum ? plainSum() : ops.reshape(ops.sumOverRows(ops.reshape(form(), [-1, size])), shape)];
			const kept = ops.keepFiniteRows(rows.finiteTest, ops.reshape(form(), [-1, size]));
			return [ops.reshape(ops.matmul(rows.factor, kept, { a: true }), shape)];
		},
	};
}

/**
 * Of a kernel that acts at every position alike, G = sum over t of a_t^T e_t, by the cheaper way for
 * `positions` T and a kernel of d x p (mixed ghost clipping, Bu et al. 2022, arXiv:2205.10683).
 * @param a [rows, positions, d]
 * @param e [rows, positions, p]
 * @param shape of the parameter tensor, d p values
 */
export function positional<T>(
	ops: TensorOperations<T>,
	a: T,
	e: T,
	size: KernelSize,
	shape: readonly number[],
): ParameterGradient<T> {
	const { positions, d, p } = size;
	const flat = () => ops.matmul(ops.reshape(a, [-1, d]), ops.reshape(e, [-1, p]), { a: true });
	const plainSum = () => ops.reshape(flat(), shape);
	if (!ghostIsCheaper(size)) {
		return instantiated(ops, () => ops.batchMatmul(a, e, { a: true }), { shape, columns: p }, plainSum);
	}
	return {
		squaredNorm: () => {
			// |G|^2 = sum over t, t' of (a_t . a_t') (e_t . e_t'). Terms of both signs cancel, so the
			// rounding is relative not to the sum but to S^2, S = sum of |a_t| |e_t| (Higham 2002, section
			// 3.1), and S^2 <= |a|^2 |e|^2: twice that much is added. What underflow can take is added too.
			const products = ops.multiply(ops.batchMatmul(a, a, { b: true }), ops.batchMatmul(e, e, { b: true }));
			const byPosition = ops.reshape(ops.sumLast(products, positions), [-1, positions]);
			const ghost = ops.sumLast(byPosition, positions);
			const squares = (x: T, width: number) => {
				const byRow = ops.reshape(ops.squaredNorm(x, width), [-1, positions]);
				return ops.add(ops.sumLast(byRow, positions), ops.constant(SQUARE_UNDERFLOW));
			};
			const [aa, ee] = [squares(a, d), squares(e, p)];
			const slack = 2 * (d + p + 2 * positions + 8) * ROUNDING;
			const rounding = ops.multiply(ops.multiply(aa, ee), ops.constant(slack));
			const lost = ops.constant(SQUARE_UNDERFLOW);
			const underflow = ops.add(ops.multiply(ops.add(aa, ee), lost), lost);
			return ops.add(ghost, ops.add(rounding, underflow));
		},
		sum: (rows) => {
			if (!rows) return [plainSum()];
			const kept = ops.keepFiniteRows(rows.finiteTest, ops.reshape(a, [-1, positions * d]));
			const scaled = ops.keepFiniteRows(
				rows.finiteTest,
				ops.multiply(ops.reshape(e, [-1, positions * p]), rows.factor),
			);
			// An example's terms may be far larger than their sum, which alone is bounded: float32 would
			// round them by more than the plan allows for a sum of clipped gradients.
			return [ops.reshape(ops.wideMatmul(ops.reshape(kept, [-1, d]), ops.reshape(scaled, [-1, p])), shape)];
		},
	};
}

/**
 * Of a bias or scale that acts at every position: G = sum over t of `terms`.
 * @param terms [rows, positions, n]
 */
export function summedOverPositions<T>(
	ops: TensorOperations<T>,
	terms: () => T,
	{ positions, n }: { readonly positions: number; readonly n: number },
): ParameterGradient<T> {
	return instantiated(ops, () => ops.sumSteps(terms(), positions, n), { shape: [n], columns: n });
}
