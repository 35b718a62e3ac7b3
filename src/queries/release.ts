/**
 * Private query release: a list of queries, each answered by the exponential mechanism over its
 * public domain of answers, one epsilon divided over the queries. For one site and pure epsilon;
 * a federation answers under secure aggregation, where only noisy sums can be had (plan.ts).
 *
 * Score of a candidate answer: minus its distance to the true answer, in whole numbers, so that one
 * record moves it by at most what it moves the answer; for the most frequent category the count
 * itself; for a quantile the distance in ranks (privateQuantile.ts).
 */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { composed, type PrivacyEvent } from "../privacy/accounting/events.ts";
import { exponentialMechanism } from "../privacy/mechanisms/exponential.ts";
import { privateQuantile } from "../privacy/mechanisms/privateQuantile.ts";
import { RandomWords } from "../privacy/samplers/randomWords.ts";
import { numberOf, type QueryRecords, rowFilter } from "./records.ts";
import { exactSums, sumScale, VALUE_STEPS } from "./siteVector.ts";
import { boundsSchema, categoricalSchema, columnName, parsedQuestion, whereSchema } from "./spec.ts";

/** Most answers that all queries of one release may choose among: each costs an exponential to some hundred bits. */
const MOST_ANSWERS = 262_144;

const answersSchema = z
	.strictObject({ least: z.number(), largest: z.number(), step: z.number().positive() })
	.refine(({ least, largest }) => least < largest, "largest must be above least")
	.refine(({ least, largest, step }) => (largest - least) / step <= 65_535, "at most 65,536 answers")
	.describe("the public domain: least, least + step, .. up to largest");

const common = {
	where: whereSchema,
	weight: z
		.number()
		.positive()
		.max(1e6)
		.default(1)
		.describe("this query's part of the budget, relative to the others'"),
};

const questionSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("count"), answers: answersSchema, ...common }),
	z.strictObject({
		kind: z.literal("sum"),
		column: columnName,
		bounds: boundsSchema,
		answers: answersSchema,
		...common,
	}),
	z.strictObject({ kind: z.literal("mode"), by: categoricalSchema, ...common }),
	z.strictObject({
		kind: z.literal("quantile"),
		column: columnName,
		bounds: boundsSchema,
		fraction: z.number().gt(0).lt(1),
		...common,
	}),
]);

type ReleaseQuery = z.infer<typeof questionSchema>;

/** Queries to be answered together, checked; unknown keys are refused. */
export const queryReleaseSchema = z.strictObject({
	epsilon: z.number().min(1e-3).max(100).describe("of all queries together"),
	queries: z
		.array(questionSchema)
		.min(1)
		.max(1000)
		.refine(
			(queries) => queries.reduce((total, query) => total + answerCount(query), 0) <= MOST_ANSWERS,
			`all queries together have at most ${MOST_ANSWERS} answers to choose among`,
		),
});

export type QueryRelease = z.infer<typeof queryReleaseSchema>;

/**
 * Queries from an untrusted object, defaults filled in.
 * @throws AlthingError `query.invalid` naming each key that is wrong
 */
export function parseQueryRelease(value: unknown): QueryRelease {
	return parsedQuestion(value, queryReleaseSchema);
}

/** Public answers that a query chooses among; a quantile's number of choices follows from the records. */
function answerCount(query: ReleaseQuery): number {
	if ("answers" in query) return stepsOf(query.answers);
	return "by" in query ? query.by.categories.length : 0;
}

function stepsOf({ least, largest, step }: z.infer<typeof answersSchema>): number {
	return Math.floor((largest - least) / step) + 1;
}

export interface ReleasedAnswer {
	readonly kind: ReleaseQuery["kind"];
	readonly answer: number | string;
	/** What this answer costs. */
	readonly event: PrivacyEvent;
	/**
	 * With 95 % probability the answer is no farther than this from the true one (if that lies in the
	 * domain): in units of the answer, in ranks for a quantile, in records for the mode.
	 */
	readonly error95: number;
}

/** One query made ready: what it costs is known before a record is read. */
interface Selection {
	readonly event: PrivacyEvent;
	readonly error95: number;
	readonly answer: (records: QueryRecords) => number | string;
}

/** The event of all queries together: what is charged before {@link releaseQueries} is called. */
export function releaseEvent(release: QueryRelease): PrivacyEvent {
	return composed(...selectionsOf(release, new RandomWords()).map(({ event }) => event));
}

/** @throws AlthingError `query.unknown_column`, `query.not_numeric`, `query.not_categorical` */
export function releaseQueries(
	records: QueryRecords,
	release: QueryRelease,
	words: RandomWords = new RandomWords(),
): ReleasedAnswer[] {
	return selectionsOf(release, words).map(({ event, error95, answer }, index) => ({
		kind: release.queries[index]!.kind,
		answer: answer(records),
		event,
		error95,
	}));
}

function selectionsOf({ epsilon, queries }: QueryRelease, words: RandomWords): Selection[] {
	const total = queries.reduce((sum, { weight }) => sum + weight, 0);
	// Downwards over the rounding of the shares, so that they cost no more than epsilon together.
	return queries.map((query) =>
		selectionOf(query, ((epsilon * query.weight) / total) * (1 - 2 ** -40), words),
	);
}

function selectionOf(query: ReleaseQuery, epsilon: number, words: RandomWords): Selection {
	switch (query.kind) {
		case "count":
			return nearestAnswer(query, epsilon, words, 1, (records) => exactSums(records, query, 1)[0]!);
		case "sum":
			return nearestAnswer(
				query,
				epsilon,
				words,
				sumScale(query),
				(records) => exactSums(records, query, 1)[0]!,
			);
		case "mode": {
			const { categories } = query.by;
			const mechanism = exponentialMechanism({ epsilon, sensitivity: 1, monotone: true }, words);
			return {
				event: mechanism.event,
				error95: Math.log(categories.length / 0.05) / epsilon,
				answer: (records) => {
					const steps = exactSums(records, { ...query, kind: "topK" }, categories.length);
					return String(categories[mechanism.select(steps.map((count) => count / VALUE_STEPS))]!);
				},
			};
		}
		case "quantile": {
			const quantile = privateQuantile({ epsilon, fraction: query.fraction, bounds: query.bounds }, words);
			return {
				event: quantile.event,
				error95: quantile.rankError95,
				answer: (records) => {
					const meets = rowFilter(records, query.where);
					const value = numberOf(records, query.column);
					const rows = Array.from({ length: records.dataset.rows }, (_, row) => row).filter(meets);
					return quantile.select(Float64Array.from(rows, value));
				},
			};
		}
	}
}

/** Answers and truths are kept within it: scores stay below 2^51. */
const FARTHEST_STEPS = 2 ** 50;

/**
 * An answer near a number that one record moves by at most `unit`, in steps of unit / VALUE_STEPS.
 * The chance to be t beyond the nearest candidate is at most 2 exp(-eta t) / (1 - exp(-eta L / 2)), L
 * the width of the domain: two geometric tails over at least one half of the domain.
 */
function nearestAnswer(
	{ answers }: Extract<ReleaseQuery, { kind: "count" | "sum" }>,
	epsilon: number,
	words: RandomWords,
	unit: number,
	trueSteps: (records: QueryRecords) => number,
): Selection {
	const { least, largest, step } = answers;
	const mechanism = exponentialMechanism({ epsilon, sensitivity: VALUE_STEPS, monotone: false }, words);
	const toSteps = (answer: number) => Math.round((answer / unit) * VALUE_STEPS);
	if (![least, largest].every((end) => Math.abs(toSteps(end)) <= FARTHEST_STEPS)) {
		throw new AlthingError(
			"query.bad_domain",
			`The answers from ${least} to ${largest} lie too far out for what one record can add (${unit}). Choose a domain that the answer can be in.`,
		);
	}
	const rate = epsilon / (2 * unit);
	return {
		event: mechanism.event,
		error95: step / 2 + Math.log(40 / -Math.expm1((-rate * (largest - least)) / 2)) / rate,
		answer: (records) => {
			// Moves no two numbers apart, and keeps every distance small enough to be a score.
			const truth = Math.max(-FARTHEST_STEPS, Math.min(FARTHEST_STEPS, trueSteps(records)));
			const candidates = Float64Array.from({ length: stepsOf(answers) }, (_, index) => least + index * step);
			return candidates[mechanism.select(candidates.map((one) => -Math.abs(toSteps(one) - truth)))]!;
		},
	};
}
