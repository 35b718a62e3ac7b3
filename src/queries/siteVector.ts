/**
 * One site's un-noised contribution to a query: integers, exact, in any order of the records.
 *
 * Sums. A value v, clamped to its bounds and divided by the largest one M, becomes the integer
 * k = round(F v / M), |k| <= F = 2^22. Sums of these are exact in doubles up to 2^31 records, so no
 * record's presence moves the others' part (no floating-point sum has that, Casacuberta et al.
 * 2022). The site's sum a is then rounded to U units a record: floor((a + c/2) / c) with
 * c = F / U an integer. For |k| <= F, |floor((a + k)/c) - floor(a/c)| <= ceil(|k| / c) <= U: the
 * rounding adds nothing to the sensitivity. Clamping to the coordinate bound is 1-Lipschitz.
 */
import { nodeAbove } from "./quantileTree.ts";
import { cellOf, numberOf, type QueryRecords, rowFilter } from "./records.ts";
import { cellCount, type QueryOf, type QuerySpec } from "./spec.ts";

/** F: steps of a record's value. A power of two, a multiple of every plan's unitsPerRecord. */
export const VALUE_STEPS = 2 ** 22;

/** Records, or the exact sums over them where they do not fit in memory: those of the question at hand. */
export type Queried = QueryRecords | { readonly sums: Float64Array };

/** What of a plan a site's vector needs. */
export interface SiteVectorPlan {
	readonly length: number;
	readonly unitsPerRecord: number;
	/** Its bound on a site's |coordinates|, integer units, is below 2^31. */
	readonly encoding: { readonly coordinateBound: number };
}

/**
 * @returns `plan.length` integers, to which the site's share of noise must be added before they leave
 * @throws AlthingError `query.unknown_column`, `query.not_numeric`, `query.not_categorical`
 */
export function querySiteVector(records: Queried, spec: QuerySpec, plan: SiteVectorPlan): Int32Array {
	const sums = exactSums(records, spec, plan.length);
	const bound = plan.encoding.coordinateBound;
	const coarse = VALUE_STEPS / plan.unitsPerRecord;
	return Int32Array.from(sums, (sum) =>
		Math.max(-bound, Math.min(bound, Math.floor((sum + coarse / 2) / coarse))),
	);
}

/** What a vector depends on: not what it costs. */
type Question = Distributed<QuerySpec>;
type Distributed<Spec> = Spec extends QuerySpec
	? Omit<Spec, "privacy" | "maximumRecordsPerSite" | "k">
	: never;

/** Sums in steps of 1 / VALUE_STEPS of what one record can add, exact in any order of the records. */
export function exactSums(records: Queried, spec: Question, length: number): Float64Array {
	if ("sums" in records) return records.sums;
	const sums = new Float64Array(length);
	const meets = rowFilter(records, spec.where);
	const add = contributionOf(records, spec, sums);
	for (let row = 0; row < records.dataset.rows; row++) if (meets(row)) add(row);
	return sums;
}

/** Adds one record to the sums. */
function contributionOf(records: QueryRecords, spec: Question, sums: Float64Array): (row: number) => void {
	switch (spec.kind) {
		case "count":
			return () => {
				sums[0]! += VALUE_STEPS;
			};
		case "sum": {
			const value = numberOf(records, spec.column);
			const largest = sumScale(spec);
			return (row) => {
				sums[0]! += steps(clamp(value(row), spec.bounds) / largest);
			};
		}
		case "mean":
		case "variance": {
			const value = numberOf(records, spec.column);
			const { centre, halfWidth } = rangeOf(spec);
			return (row) => {
				const deviation = (clamp(value(row), spec.bounds) - centre) / halfWidth;
				sums[0]! += VALUE_STEPS;
				sums[1]! += steps(deviation);
				if (spec.kind === "variance") sums[2]! += steps(deviation * deviation);
			};
		}
		case "histogram":
		case "topK": {
			const cell = cellOf(records, spec.by);
			return (row) => addTo(sums, cell(row));
		}
		case "contingencyTable": {
			const cells = spec.by.map((dimension) => cellOf(records, dimension));
			return (row) => {
				let index = 0;
				for (const [axis, cell] of cells.entries()) {
					const along = cell(row);
					if (along < 0) return;
					index = index * cellCount(spec.by[axis]!) + along;
				}
				addTo(sums, index);
			};
		}
		case "quantiles": {
			const value = numberOf(records, spec.column);
			const [least, largest] = spec.bounds;
			const cells = 4 ** spec.levels;
			return (row) => {
				const share = (clamp(value(row), spec.bounds) - least) / (largest - least);
				const cell = Math.min(cells - 1, Math.floor(share * cells));
				for (let level = 1; level <= spec.levels; level++) addTo(sums, nodeAbove(cell, level, spec.levels));
			};
		}
	}
}

function addTo(sums: Float64Array, index: number): void {
	if (index >= 0) sums[index]! += VALUE_STEPS;
}

function clamp(value: number, [least, largest]: readonly [number, number]): number {
	// A reader refuses what is not a number; a record that slipped through must not become unbounded.
	return Number.isNaN(value) ? least : Math.max(least, Math.min(largest, value));
}

/** round(F share), never beyond F whatever the rounding of the division did. */
function steps(share: number): number {
	return Math.max(-VALUE_STEPS, Math.min(VALUE_STEPS, Math.round(share * VALUE_STEPS)));
}

/** M: the largest absolute value within the bounds. */
export function sumScale({ bounds }: Pick<QueryOf<"sum">, "bounds">): number {
	return Math.max(Math.abs(bounds[0]), Math.abs(bounds[1]));
}

/** Values are summed as deviations from the bounds' centre, so that one record moves a sum by half their width. */
export function rangeOf({ bounds: [least, largest] }: { readonly bounds: readonly [number, number] }): {
	readonly centre: number;
	readonly halfWidth: number;
} {
	return { centre: least + (largest - least) / 2, halfWidth: (largest - least) / 2 };
}
