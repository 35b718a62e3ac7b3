/**
 * The public side of correlated noise: from the released combinations y = C x + noise back to
 * estimates of the rounds' own sums, x + C^-1 noise. Post-processing of what everybody knows;
 * sums and products in a fixed order, so that every node reaches the same bits.
 */
import { type CorrelationStrategy, firstOfNode } from "./strategy.ts";

/**
 * What decoding the next round needs of the past ones, oldest first. Tree: the released nodes that
 * make up the running sum of the cycle. Banded: the last estimates.
 */
export type DecoderState = readonly Float64Array[];

/**
 * Decodes one round; every round of a job, from 0 on, in order.
 * @param released y_t, in real units
 * @returns the estimate of x_t, and the state for the next round
 */
export function decodeRound(
	strategy: CorrelationStrategy,
	state: DecoderState,
	round: number,
	released: Float64Array,
): { readonly estimate: Float64Array; readonly state: DecoderState } {
	const estimate = released.slice();
	if (strategy.kind === "tree") {
		const place = (round % strategy.minimumSeparation) + 1;
		// The nodes before this one that it covers, one for each trailing zero of its place.
		const covered = 31 - Math.clz32(round + 1 - firstOfNode(strategy, round));
		const kept = place === 1 ? [] : state.slice(0, state.length - covered);
		// Running sum of this round less that of the one before: the nodes kept cancel.
		for (const node of place === 1 ? [] : state.slice(kept.length)) subtract(estimate, node, 1);
		return { estimate, state: [...kept, released] };
	}
	const { coefficients } = strategy;
	for (let lag = 1; lag <= state.length; lag++)
		subtract(estimate, state[state.length - lag]!, coefficients[lag]!);
	const remembered = [...state, estimate];
	return { estimate, state: remembered.slice(Math.max(0, remembered.length - (coefficients.length - 1))) };
}

function subtract(target: Float64Array, values: Float64Array, factor: number): void {
	for (let i = 0; i < target.length; i++) target[i]! -= factor * values[i]!;
}
