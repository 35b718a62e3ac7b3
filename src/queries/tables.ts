/** Counts of cells: histograms, contingency tables with their margins, the most frequent categories. */
import { countEstimate, type Estimate, type NoiseLaw } from "./estimate.ts";
import { cellCount, type Dimension, type QueryOf } from "./spec.ts";

/**
 * Noisy counts, each with the same noise. They are left as they are: unbiased, so that sums of
 * them stay so; a count may be negative or no whole number.
 */
export interface NoisyCounts {
	readonly counts: readonly number[];
	/** Of each count. */
	readonly standardError: number;
	/** Each count +- this is a 95 % interval, one cell at a time. */
	readonly halfWidth95: number;
}

interface Axis {
	readonly column: string;
	/** `[low, high)` of a bin, or the category. */
	readonly cells: readonly string[];
}

export interface HistogramAnswer extends NoisyCounts {
	readonly kind: "histogram";
	readonly axis: Axis;
	/** Records within the domain. */
	readonly total: Estimate;
}

export interface ContingencyAnswer extends NoisyCounts {
	readonly kind: "contingencyTable";
	/** `counts` is row-major over these: the last axis runs fastest. */
	readonly axes: readonly Axis[];
	/** Sums over all other axes. */
	readonly margins: readonly NoisyCounts[];
	readonly total: Estimate;
}

export interface TopKAnswer {
	readonly kind: "topK";
	readonly column: string;
	/**
	 * The k largest noisy counts, largest first. The intervals hold for all categories at once with
	 * 95 %, because the largest of many noisy counts is likely one whose noise was large.
	 */
	readonly top: readonly { readonly category: string; readonly count: Estimate }[];
}

export function histogramAnswer(
	spec: QueryOf<"histogram">,
	law: NoiseLaw,
	values: Float64Array,
): HistogramAnswer {
	return {
		kind: "histogram",
		axis: axisOf(spec.by),
		...noisyCounts(law, values, 1),
		total: countEstimate(law, sumOf(values), values.length),
	};
}

export function contingencyAnswer(
	spec: QueryOf<"contingencyTable">,
	law: NoiseLaw,
	values: Float64Array,
): ContingencyAnswer {
	const sizes = spec.by.map(cellCount);
	return {
		kind: "contingencyTable",
		axes: spec.by.map(axisOf),
		...noisyCounts(law, values, 1),
		margins: sizes.map((size, axis) => {
			const stride = sizes.slice(axis + 1).reduce((product, one) => product * one, 1);
			const margin = new Float64Array(size);
			for (const [index, value] of values.entries()) margin[Math.floor(index / stride) % size]! += value;
			return noisyCounts(law, margin, values.length / size);
		}),
		total: countEstimate(law, sumOf(values), values.length),
	};
}

export function topKAnswer(spec: QueryOf<"topK">, law: NoiseLaw, values: Float64Array): TopKAnswer {
	const { cells, column } = axisOf(spec.by);
	const reach = law.tail(0.05 / values.length);
	const order = Array.from(values.keys()).sort((a, b) => values[b]! - values[a]! || a - b);
	return {
		kind: "topK",
		column,
		top: order.slice(0, spec.k).map((index) => {
			const value = values[index]!;
			return {
				category: cells[index]!,
				count: {
					value,
					standardError: law.standardDeviation,
					interval: [Math.max(0, value - reach), Math.max(0, value + reach)],
				},
			};
		}),
	};
}

/** @param terms cells that each count is a sum of */
function noisyCounts(law: NoiseLaw, values: Float64Array, terms: number): NoisyCounts {
	const standardError = law.standardDeviation * Math.sqrt(terms);
	return {
		counts: Array.from(values),
		standardError,
		halfWidth95: law.deviationsFor95 * standardError,
	};
}

function axisOf(dimension: Dimension): Axis {
	const { column } = dimension;
	if ("categories" in dimension) return { column, cells: dimension.categories.map(String) };
	const { edges } = dimension;
	const last = edges.length - 2;
	const cells = Array.from(
		{ length: edges.length - 1 },
		(_, i) => `[${edges[i]}, ${edges[i + 1]}${i === last ? "]" : ")"}`,
	);
	return { column, cells };
}

function sumOf(values: Float64Array): number {
	return values.reduce((sum, value) => sum + value, 0);
}
