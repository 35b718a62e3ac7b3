/** A site's records as queries read them: columns by name, conditions, cells. */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Category, Condition, Dimension } from "./spec.ts";

/**
 * Records in the units of their file (as the readers return them, before `prepare` scales them
 * to a model's range), with the name of the column that became the label.
 */
export interface QueryRecords {
	readonly dataset: Dataset;
	/** As the data set's public description has it: what a column is must not depend on the records. */
	readonly label: { readonly column: string; readonly kind: "class" | "number" } | { readonly kind: "none" };
}

/** One column; a class column yields indices into `names`. */
interface Column {
	readonly name: string;
	readonly names: readonly string[] | undefined;
	at(row: number): number;
}

/**
 * @throws AlthingError `query.unknown_column`. Like all errors of this file it tells of the
 *   columns alone, never of a record: an error is no way around the noise.
 */
function columnOf({ dataset, label }: QueryRecords, name: string): Column {
	if (label.kind !== "none" && name === label.column) {
		const { labels, labelNames } = dataset;
		if (label.kind === "class") return { name, names: labelNames, at: (row) => labels[row]! };
		if (labelNames.length === 0) return { name, names: undefined, at: (row) => labels[row]! };
		// A reader that lists the values in use gives places in that list, which one record can move for all others.
		const values = Float32Array.from(labelNames, Number);
		return { name, names: undefined, at: (row) => values[labels[row]!]! };
	}
	const index = dataset.columns.indexOf(name);
	if (index < 0) {
		throw new AlthingError(
			"query.unknown_column",
			`The records have no column "${name}". Ask for one of their columns, or give the data set that has it.`,
			{ column: name },
		);
	}
	const { features, columns } = dataset;
	return { name, names: undefined, at: (row) => features[row * columns.length + index]! };
}

/** A numeric column's value by row. @throws AlthingError `query.unknown_column`, `query.not_numeric` */
export function numberOf(records: QueryRecords, name: string): (row: number) => number {
	const column = columnOf(records, name);
	if (column.names !== undefined) {
		throw new AlthingError(
			"query.not_numeric",
			`Column "${name}" holds classes, not numbers. Use categories or equals for it.`,
			{ column: name },
		);
	}
	return column.at;
}

/**
 * Whether a row meets every condition.
 * @throws AlthingError `query.unknown_column`, `query.not_numeric`, `query.not_categorical`
 */
export function rowFilter(records: QueryRecords, conditions: readonly Condition[]): (row: number) => boolean {
	const tests = conditions.map((condition) => {
		if ("equals" in condition) {
			const column = columnOf(records, condition.column);
			const wanted = codeOf(column, condition.equals);
			return (row: number) => column.at(row) === wanted;
		}
		const value = numberOf(records, condition.column);
		// Records are 32-bit floats: 0.7 in a file is fround(0.7) here, and so must the ends be.
		const [least, largest] = condition.between.map(Math.fround) as [number, number];
		return (row: number) => value(row) >= least && value(row) <= largest;
	});
	return (row) => tests.every((test) => test(row));
}

/**
 * The cell of a row along a dimension; -1 for a record outside the public domain.
 * @throws AlthingError `query.unknown_column`, `query.not_numeric`, `query.not_categorical`
 */
export function cellOf(records: QueryRecords, dimension: Dimension): (row: number) => number {
	if ("edges" in dimension) {
		const value = numberOf(records, dimension.column);
		const edges = Float64Array.from(dimension.edges, Math.fround);
		return (row) => binOf(value(row), edges);
	}
	const column = columnOf(records, dimension.column);
	const cells = new Map(dimension.categories.map((category, cell) => [codeOf(column, category), cell]));
	cells.delete(ABSENT);
	return (row) => cells.get(column.at(row)) ?? -1;
}

/** Code of a class that this site's file does not have: equal to no record's. */
const ABSENT = -1.5;

/** The number that stands for a category in a column. */
function codeOf(column: Column, category: Category): number {
	if (column.names !== undefined) {
		const index = column.names.indexOf(String(category));
		return index < 0 ? ABSENT : index;
	}
	if (typeof category === "number") return Math.fround(category);
	throw new AlthingError(
		"query.not_categorical",
		`Column "${column.name}" holds numbers; the category "${category}" is a text. Give a number.`,
		{ column: column.name },
	);
}

/** Binary search: the cell with edges[cell] <= value < edges[cell + 1]; the last edge belongs to the last cell. */
function binOf(value: number, edges: Float64Array): number {
	const last = edges.length - 1;
	if (!(value >= edges[0]! && value <= edges[last]!)) return -1;
	let low = 0;
	let high = last;
	while (high - low > 1) {
		const middle = (low + high) >> 1;
		if (value >= edges[middle]!) low = middle;
		else high = middle;
	}
	return low;
}
