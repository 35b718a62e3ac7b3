/**
 * From an RDP curve to (epsilon, delta), at the best of the orders: valid where the parameters of
 * the mechanisms were fixed beforehand (otherwise `filter.ts`).
 *
 * At one order: delta = e^((a-1)(r - epsilon)) (1 - 1/a)^(a-1) / a (Canonne, Kamath, Steinke 2020,
 * Prop. 12 in its closed form). Beside it, delta <= sqrt(1 - e^-r) at any epsilon: the divergence of order 1 is no
 * larger than r, and bounds the total variation (Bretagnolle, Huber 1979).
 */

/** Best epsilon and the order that gave it. */
export interface EpsilonBound {
	readonly epsilon: number;
	readonly order: number;
}

/** Best delta and the order that gave it. */
export interface DeltaBound {
	readonly logDelta: number;
	readonly order: number;
}

/**
 * Least epsilon over the orders.
 * @param curve RDP at each of `orders`
 * @param logDelta log of a delta in (0, 1)
 */
export function epsilonAtOrders(
	curve: Float64Array,
	logDelta: number,
	orders: readonly number[],
): EpsilonBound {
	let best: EpsilonBound = { epsilon: Number.POSITIVE_INFINITY, order: orders[0]! };
	for (const [i, order] of orders.entries()) {
		const rdp = curve[i]!;
		const isFree = 2 * logDelta > Math.log(-Math.expm1(-rdp));
		const epsilon = isFree
			? 0
			: Math.max(0, rdp + Math.log1p(-1 / order) - (logDelta + Math.log(order)) / (order - 1));
		if (epsilon < best.epsilon) best = { epsilon, order };
	}
	return best;
}

/**
 * Least delta over the orders, at most 1.
 * @param epsilon >= 0
 */
export function logDeltaAtOrders(
	curve: Float64Array,
	epsilon: number,
	orders: readonly number[],
): DeltaBound {
	let best: DeltaBound = { logDelta: 0, order: orders[0]! };
	for (const [i, order] of orders.entries()) {
		const rdp = curve[i]!;
		const logDelta = Math.min(
			0.5 * Math.log(-Math.expm1(-rdp)),
			(order - 1) * (rdp - epsilon + Math.log1p(-1 / order)) - Math.log(order),
		);
		if (logDelta < best.logDelta) best = { logDelta, order };
	}
	return best;
}
