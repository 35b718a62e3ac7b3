/** Quantiles from the noisy tree of counts over a public grid. */
import { type Estimate, linearEstimate, type NoiseLaw } from "./estimate.ts";
import { consistentCells, deviationOf } from "./quantileTree.ts";
import type { QueryOf } from "./spec.ts";

export interface QuantilesAnswer {
	readonly kind: "quantiles";
	/** Null where the noisy number of records is too small against its noise. */
	readonly quantiles: readonly QuantileEstimate[] | null;
	/** Absent where the mechanism does not count. */
	readonly records?: Estimate;
}

interface QuantileEstimate {
	readonly fraction: number;
	readonly value: number;
	/** 95 % interval, to the resolution of the grid. */
	readonly interval: readonly [low: number, high: number];
}

/** Below so many standard deviations of its own noise the number of records gives no ranks. */
const LEAST_DEVIATIONS = 5;

/**
 * The quantile of a fraction p is where G(x) = #{records <= x} - p N changes sign. G is linear in
 * the cells, so its noise has a known law at every x, and the interval is all edges x at which
 * G(x) = 0 is within its 95 % interval.
 */
export function quantilesAnswer(
	spec: QueryOf<"quantiles">,
	law: NoiseLaw,
	nodes: Float64Array,
): QuantilesAnswer {
	const { levels, fractions } = spec;
	const cells = consistentCells(nodes, levels);
	const total = cells.reduce((sum, value) => sum + value, 0);
	const totalDeviation = law.standardDeviation * deviationOf(new Float64Array(cells.length).fill(1), levels);
	const records = linearEstimate(law, { value: total, standardError: totalDeviation }, [
		0,
		Number.POSITIVE_INFINITY,
	]);
	if (total < LEAST_DEVIATIONS * totalDeviation) return { kind: "quantiles", quantiles: null, records };
	const cumulative = monotone(prefixSums(cells));
	const quantiles = fractions.map((fraction): QuantileEstimate => {
		const wanted = fraction * total;
		const reachAt = (edge: number): number => {
			const weights = Float64Array.from(cells, (_, cell) => (cell < edge ? 1 : 0) - fraction);
			return law.deviationsFor95 * law.standardDeviation * deviationOf(weights, levels);
		};
		// Both conditions are monotone up to the slow change of the noise with x: bisection finds the ends.
		const low = firstEdge(cells.length, (edge) => cumulative[edge]! - wanted > -reachAt(edge)) - 1;
		const high = firstEdge(cells.length, (edge) => cumulative[edge]! - wanted > reachAt(edge));
		return {
			fraction,
			value: valueAt(spec, crossing(cumulative, wanted)),
			interval: [valueAt(spec, Math.max(0, low)), valueAt(spec, high)],
		};
	});
	return { kind: "quantiles", quantiles, records };
}

/** Counts below each edge 0 .. cells. */
function prefixSums(cells: Float64Array): Float64Array {
	const sums = new Float64Array(cells.length + 1);
	for (const [i, value] of cells.entries()) sums[i + 1] = sums[i]! + value;
	return sums;
}

/** The mean of the smallest non-decreasing sequence above and the largest one below. */
function monotone(values: Float64Array): Float64Array {
	const above = values.slice();
	for (let i = 1; i < above.length; i++) above[i] = Math.max(above[i]!, above[i - 1]!);
	const below = values.slice();
	for (let i = below.length - 2; i >= 0; i--) below[i] = Math.min(below[i]!, below[i + 1]!);
	return above.map((value, i) => (value + below[i]!) / 2);
}

/** The least edge in 0 .. count that passes, or `count`. */
function firstEdge(count: number, passes: (edge: number) => boolean): number {
	let low = 0;
	let high = count;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (passes(middle)) high = middle;
		else low = middle + 1;
	}
	return low;
}

/** Where the cumulative counts cross `wanted`, in cells, interpolated within the cell. */
function crossing(cumulative: Float64Array, wanted: number): number {
	const after = firstEdge(cumulative.length - 1, (edge) => cumulative[edge]! >= wanted);
	if (after === 0) return 0;
	const before = cumulative[after - 1]!;
	const step = cumulative[after]! - before;
	return after - 1 + (step > 0 ? Math.min(1, (wanted - before) / step) : 1);
}

function valueAt({ bounds: [least, largest], levels }: QueryOf<"quantiles">, cells: number): number {
	return least + ((largest - least) * cells) / 4 ** levels;
}
