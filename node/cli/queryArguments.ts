/** A query's options on the command line, made into the specification that the node checks. */
import { AlthingError } from "../../crypto/error.ts";

export interface QueryOptions {
	readonly column?: string;
	readonly bounds?: string;
	readonly by?: readonly string[];
	readonly where?: readonly string[];
	readonly fractions?: string;
	readonly top?: number;
	readonly levels?: number;
	readonly maximumRecords?: number;
	readonly epsilon: number;
	readonly delta?: number;
}

/** Says whether a column holds classes, which are named by text, or numbers. */
export type HoldsClasses = (column: string) => boolean;

/**
 * The object that `query.ask` and a query job take; what is missing or wrong for its kind is told
 * by the check of that object.
 * @throws AlthingError `usage.invalid` for a dimension, condition or list that cannot be read
 */
export function querySpecOf(
	kind: string,
	options: QueryOptions,
	holdsClasses: HoldsClasses,
): Record<string, unknown> {
	const { column, bounds, by, where, fractions, top, levels, maximumRecords, epsilon, delta } = options;
	const dimensions = by?.map((text) => dimensionOf(text, holdsClasses));
	return {
		kind,
		...(column === undefined ? {} : { column }),
		...(bounds === undefined ? {} : { bounds: numbersOf(bounds, "--bounds") }),
		...(dimensions === undefined
			? {}
			: { by: kind === "contingencyTable" ? dimensions : onlyOne(dimensions) }),
		...(fractions === undefined ? {} : { fractions: numbersOf(fractions, "--fractions") }),
		...(top === undefined ? {} : { k: top }),
		...(levels === undefined ? {} : { levels }),
		...(maximumRecords === undefined ? {} : { maximumRecordsPerSite: maximumRecords }),
		...(where === undefined ? {} : { where: where.map((text) => conditionOf(text, holdsClasses)) }),
		privacy: { epsilon, ...(delta === undefined ? {} : { delta }) },
	};
}

/** A second dimension left out in silence would be paid for and not be answered. */
function onlyOne<T>(dimensions: readonly T[]): T | undefined {
	if (dimensions.length <= 1) return dimensions[0];
	throw new AlthingError(
		"usage.invalid",
		`--by is given ${dimensions.length} times; only a contingencyTable has several dimensions.`,
		{ option: "--by" },
	);
}

/** `column=a,b,c` for categories, `column:0,10,20` for the edges of bins. */
function dimensionOf(text: string, holdsClasses: HoldsClasses): Record<string, unknown> {
	const [, column = "", sign, list = ""] = /^([^=:]+)([=:])(.+)$/.exec(text) ?? [];
	if (sign === ":") return { column, edges: numbersOf(list, "--by") };
	if (sign === "=")
		return { column, categories: list.split(",").map((one) => categoryOf(one, column, holdsClasses)) };
	throw badOption("--by", text, "column=value,value,... or column:edge,edge,...");
}

/** `column=value`, or `column:least..largest` with both ends included. */
function conditionOf(text: string, holdsClasses: HoldsClasses): Record<string, unknown> {
	const [, column = "", sign, rest = ""] = /^([^=:]+)([=:])(.+)$/.exec(text) ?? [];
	if (sign === "=") return { column, equals: categoryOf(rest, column, holdsClasses) };
	const ends = rest.split("..");
	if (sign === ":" && ends.length === 2) return { column, between: numbersOf(ends.join(","), "--where") };
	throw badOption("--where", text, "column=value or column:least..largest");
}

function categoryOf(text: string, column: string, holdsClasses: HoldsClasses): string | number {
	return holdsClasses(column) ? text.trim() : (numbersOf(text, "a value")[0] ?? Number.NaN);
}

function numbersOf(text: string, option: string): number[] {
	const numbers = text.split(",").map((one) => (one.trim() === "" ? Number.NaN : Number(one)));
	if (numbers.every(Number.isFinite)) return numbers;
	throw badOption(option, text, "numbers with commas between");
}

function badOption(option: string, given: string, wanted: string): AlthingError {
	return new AlthingError("usage.invalid", `${option} is given as ${wanted}; it is "${given}".`, { option });
}
