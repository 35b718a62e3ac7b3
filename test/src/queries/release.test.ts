import { describe, expect, it } from "vitest";
import { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import { queryReleaseSchema, releaseEvent, releaseQueries } from "../../../src/queries/release.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";
import { peopleRecords, population } from "./recordsForTests.ts";

const people = population(600);
const records = peopleRecords(people);
const release = queryReleaseSchema.parse({
	epsilon: 2,
	queries: [
		{
			kind: "count",
			where: [{ column: "group", equals: "a" }],
			answers: { least: 0, largest: 2000, step: 1 },
		},
		{
			kind: "sum",
			column: "age",
			bounds: [0, 100],
			answers: { least: 0, largest: 100_000, step: 25 },
			weight: 2,
		},
		{ kind: "mode", by: { column: "group", categories: ["c", "b", "a"] } },
		{ kind: "quantile", column: "age", bounds: [0, 100], fraction: 0.5 },
	],
});

describe("private query release", () => {
	it("divides one epsilon by weight, never above it", () => {
		const event = releaseEvent(release);
		if (event.kind !== "composed") throw new Error(event.kind);
		const parts = event.events.map((part) => (part.kind === "boundedRange" ? part.epsilon : Number.NaN));
		expect(parts[1]! / parts[0]!).toBeCloseTo(2, 9);
		const total = parts.reduce((sum, part) => sum + part, 0);
		expect(total).toBeLessThanOrEqual(2);
		expect(total).toBeCloseTo(2, 9);
	});

	it("answers from each public domain, as near to the truth as it says", () => {
		const words = new RandomWords(seededWordsForTests(1));
		const ages = people.map(({ age }) => age).sort((a, b) => a - b);
		const truths = {
			count: people.filter(({ group }) => group === "a").length,
			sum: ages.reduce((sum, age) => sum + age, 0),
		};
		let beyond = 0;
		const trials = 20;
		for (let i = 0; i < trials; i++) {
			for (const { kind, answer, error95 } of releaseQueries(records, release, words)) {
				if (kind === "mode") expect(answer).toBe("a");
				else if (typeof answer !== "number") throw new Error(kind);
				else if (kind === "quantile") {
					const rank = ages.filter((age) => age <= answer).length;
					if (Math.abs(rank - 300) > error95 + 9) beyond++;
				} else {
					expect(Number.isInteger(kind === "count" ? answer : answer / 25)).toBe(true);
					if (Math.abs(answer - truths[kind]) > error95) beyond++;
				}
			}
		}
		// The bounds are loose: 5 % of 60 would be 3.
		expect(beyond).toBeLessThan(4);
	});

	it("answers at the end of a domain that the truth lies beyond", () => {
		const narrow = queryReleaseSchema.parse({
			epsilon: 5,
			queries: [{ kind: "count", answers: { least: 0, largest: 10, step: 1 } }],
		});
		const [answer] = releaseQueries(records, narrow, new RandomWords(seededWordsForTests(2)));
		expect(answer!.answer).toBeGreaterThanOrEqual(7);
	});

	it("refuses what has no public domain", () => {
		const count = { kind: "count", answers: { least: 0, largest: 10, step: 1 } };
		for (const bad of [
			{ epsilon: 1, queries: [] },
			{ epsilon: 0, queries: [count] },
			{ epsilon: 1, queries: [{ kind: "count" }] },
			{ epsilon: 1, queries: [{ ...count, answers: { least: 0, largest: 1e9, step: 1 } }] },
			{ epsilon: 1, queries: [{ ...count, answers: { least: 1, largest: 1, step: 1 } }] },
			{ epsilon: 1, queries: [{ ...count, weight: 0 }] },
			{ epsilon: 1, queries: [{ ...count, delta: 1e-6 }] },
			// Each by itself is small enough.
			{ epsilon: 1, queries: Array(5).fill({ ...count, answers: { least: 0, largest: 65_535, step: 1 } }) },
		]) {
			expect(queryReleaseSchema.safeParse(bad).success).toBe(false);
		}
		const far = queryReleaseSchema.parse({
			epsilon: 1,
			queries: [
				{ kind: "sum", column: "age", bounds: [0, 1e-9], answers: { least: 0, largest: 1e6, step: 1e3 } },
			],
		});
		expect(() => releaseEvent(far)).toThrow(expect.objectContaining({ code: "query.bad_domain" }));
		const unknown = queryReleaseSchema.parse({
			epsilon: 1,
			queries: [{ kind: "quantile", column: "height", bounds: [0, 1], fraction: 0.5 }],
		});
		expect(() => releaseQueries(records, unknown)).toThrow(
			expect.objectContaining({ code: "query.unknown_column" }),
		);
	});
});
