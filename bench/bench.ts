/** What a benchmark is, and what the runner wants to know of it. */

/** A value of an option: numbers may be given as a list, `--participants 5,12`. */
export type OptionValue = readonly number[] | string;

export interface BenchOption {
	readonly description: string;
	readonly default: OptionValue;
	/** Names that a text may have; anything else is refused. */
	readonly choices?: readonly string[];
}

export type Cell = number | string;

/** One table of figures. Units are in the names of the columns. */
export interface Table {
	readonly title: string;
	readonly rows: readonly Readonly<Record<string, Cell>>[];
}

export interface Bench<Options extends Readonly<Record<string, OptionValue>>> {
	readonly name: string;
	readonly summary: string;
	readonly options: { readonly [K in keyof Options]: BenchOption & { readonly default: Options[K] } };
	/** Packages whose versions explain the figures. */
	readonly libraries: readonly string[];
	/** What was measured and how, one sentence each, beside the figures. */
	readonly notes: readonly string[];
	run(options: Options): Promise<readonly Table[]>;
}

/** Median of the values; NaN for none. */
export function median(values: readonly number[]): number {
	return quantile(values, 0.5);
}

/** The value at a fraction of the sorted values, nearest rank; NaN for none. */
export function quantile(values: readonly number[], fraction: number): number {
	const sorted = values.toSorted((a, b) => a - b);
	return sorted[Math.max(0, Math.ceil(fraction * sorted.length) - 1)] ?? Number.NaN;
}
