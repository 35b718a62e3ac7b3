/**
 * What an analyst may ask of records: the query, its public domain (bounds, edges, categories)
 * and its privacy parameters. Everything here is public and fixed before a record is read.
 */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";

export const columnName = z.string().min(1).max(200).describe("name of a column in every site's file");
/** Records are 32-bit floats: nothing in them lies beyond. It also keeps sums and squares of values finite. */
const LARGEST_VALUE = 3.5e38;
export const boundsSchema = z
	.tuple([z.number(), z.number()])
	.refine(([least, largest]) => least < largest, "the lower bound must be below the upper one")
	.refine((bounds) => bounds.every((bound) => Math.abs(bound) <= LARGEST_VALUE), "the bounds lie too far out")
	.refine(([least, largest]) => (largest - least) / 2 > 0, "the bounds lie too close together")
	.describe("public bounds [least, largest]; values beyond are clamped to them");
/** A class by its name, or the number itself for a numeric column. */
const categorySchema = z.union([z.string().min(1).max(200), z.number()]);

/** Whether no two stand for the same records: as texts, and as the 32-bit floats that numeric records are. */
function differ(categories: readonly (string | number)[]): boolean {
	const asFloats = categories.map((one) => (typeof one === "number" ? Math.fround(one) : one));
	return [categories, asFloats].every((list) => new Set(list.map(String)).size === list.length);
}

export const categoricalSchema = z.strictObject({
	column: columnName,
	categories: z
		.array(categorySchema)
		.min(2)
		.max(65_536)
		.refine(differ, "categories must differ")
		.describe("the public list of values; records with any other value are counted nowhere"),
});

const binnedSchema = z.strictObject({
	column: columnName,
	edges: z
		.array(z.number())
		.min(2)
		.max(65_537)
		.refine(
			(edges) => edges.every((edge, i) => i === 0 || Math.fround(edges[i - 1]!) < Math.fround(edge)),
			"edges must increase (and differ as 32-bit floats)",
		)
		.describe(
			"public edges: cell i holds edges[i] <= value < edges[i + 1], the last cell its upper edge too",
		),
});

const dimensionSchema = z
	.union([categoricalSchema, binnedSchema])
	.describe("a column with its public categories, or with public edges of cells");

const conditionSchema = z.union([
	z.strictObject({ column: columnName, equals: categorySchema }),
	z.strictObject({
		column: columnName,
		between: z
			.tuple([z.number(), z.number()])
			.refine(([least, largest]) => least <= largest, "the lower end must not exceed the upper one")
			.describe("both ends included"),
	}),
]);

const epsilonSchema = z.number().min(1e-3).max(100).describe("privacy loss that the answer may cost");
const deltaSchema = z.number().positive().max(1e-2);

/** At one site. */
const privacySchema = z.union([
	z.strictObject({
		epsilon: epsilonSchema,
		delta: deltaSchema.optional().describe("without it the answer has pure epsilon, by Laplace noise"),
	}),
	z.strictObject({
		noiseMultiplier: z
			.number()
			// Less noise would have an epsilon at which its distance to the exact law is no trifle (plan.ts).
			.min(0.2)
			.max(1e6)
			.describe("standard deviation of Gaussian noise over the query's L2 sensitivity"),
	}),
]);

/** Across a federation: charters and policies state what they allow in epsilon and delta. */
const federatedPrivacySchema = z.strictObject({
	epsilon: epsilonSchema,
	delta: z
		.number({
			error: ({ input }) =>
				input === undefined
					? "a delta is needed: noise that several sites add in shares is Gaussian"
					: undefined,
		})
		.positive()
		.max(1e-2)
		.describe("e.g. 1e-6: noise that several sites add in shares is Gaussian"),
});

export const whereSchema = z
	.array(conditionSchema)
	.max(16)
	.default([])
	.describe("conditions that must all hold for a record");

/** Most cells that one query may have. */
const LARGEST_DOMAIN = 65_536;

/** The kinds of queries, with the privacy parameters that they are asked under. */
function queriesUnder<Privacy extends z.ZodType>(privacy: Privacy) {
	const common = {
		where: whereSchema,
		privacy,
		maximumRecordsPerSite: z
			.int()
			.min(1)
			.max(1e9)
			.default(1_000_000)
			.describe("public: no site has more records than this; a larger site's numbers are cut off here"),
	};
	return z.discriminatedUnion("kind", [
		z.strictObject({ kind: z.literal("count"), ...common }),
		z.strictObject({ kind: z.literal("sum"), column: columnName, bounds: boundsSchema, ...common }),
		z.strictObject({ kind: z.literal("mean"), column: columnName, bounds: boundsSchema, ...common }),
		z.strictObject({ kind: z.literal("variance"), column: columnName, bounds: boundsSchema, ...common }),
		z.strictObject({ kind: z.literal("histogram"), by: dimensionSchema, ...common }),
		z.strictObject({
			kind: z.literal("quantiles"),
			column: columnName,
			bounds: boundsSchema,
			fractions: z.array(z.number().gt(0).lt(1)).min(1).max(100).default([0.25, 0.5, 0.75]),
			levels: z
				.int()
				.min(1)
				.max(7)
				.default(5)
				.describe("the bounds are divided into 4^levels cells of equal width: the answer's resolution"),
			...common,
		}),
		z.strictObject({
			kind: z.literal("topK"),
			by: categoricalSchema,
			k: z.int().min(1).max(1000).describe("how many of the most frequent categories are named"),
			...common,
		}),
		z
			.strictObject({
				kind: z.literal("contingencyTable"),
				by: z.array(dimensionSchema).min(2).max(6),
				...common,
			})
			.refine(
				({ by }) => by.reduce((cells, one) => cells * cellCount(one), 1) <= LARGEST_DOMAIN,
				`a table has at most ${LARGEST_DOMAIN} cells`,
			),
	]);
}

/** One query, checked; unknown keys are refused. */
const querySpecSchema = queriesUnder(privacySchema);
/** One query of a federation, which states epsilon and delta. */
export const federatedQuerySchema = queriesUnder(federatedPrivacySchema);

export type QuerySpec = z.infer<typeof querySpecSchema>;
export type FederatedQuery = z.infer<typeof federatedQuerySchema>;
export type Dimension = z.infer<typeof dimensionSchema>;
export type Condition = z.infer<typeof conditionSchema>;
export type Category = z.infer<typeof categorySchema>;
export type QueryOf<Kind extends QuerySpec["kind"]> = Extract<QuerySpec, { kind: Kind }>;

/** Cells of one dimension. */
export function cellCount(dimension: Dimension): number {
	return "edges" in dimension ? dimension.edges.length - 1 : dimension.categories.length;
}

/**
 * A query from an untrusted object, defaults filled in.
 * @throws AlthingError `query.invalid` naming each key that is wrong
 */
export function parseQuerySpec(value: unknown): QuerySpec {
	return parsedQuestion(value, querySpecSchema);
}

/** A question checked against its schema. @throws AlthingError `query.invalid` naming each key that is wrong */
export function parsedQuestion<T>(value: unknown, schema: z.ZodType<T>): T {
	const parsed = schema.safeParse(value);
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.map(
		(issue) => `${issue.path.map(String).join(".") || "query"}: ${issue.message}`,
	);
	throw new AlthingError("query.invalid", `The query is not valid. ${problems.join("; ")}.`, { problems });
}
