import { describe, expect, it } from "vitest";
import { queryText } from "../../../node/cli/queryText.ts";
import type { QueryAnswer } from "../../../src/queries/answer.ts";

const estimate = { value: 41.23456, standardError: 1.5, interval: [38.3, 44.2] } as const;
const counts = { counts: [3, -0.5], standardError: 1, halfWidth95: 1.96 };
const text = (answer: QueryAnswer) => queryText(answer, (heading) => heading);
const lines = (answer: QueryAnswer) => text(answer).split("\n");

describe("answers for people", () => {
	it("state one number with its interval and standard error", () => {
		expect(lines({ kind: "count", count: estimate })).toEqual([
			"       ANSWER  95 % INTERVAL OF THE NOISE  STANDARD ERROR",
			"count  41.23   38.3 to 44.2                1.5",
		]);
		expect(lines({ kind: "sum", sum: estimate })[1]).toMatch(/^sum +41\.23 +38\.3 to 44\.2 +1\.5$/);
	});

	it("state a mean or variance beside the number of records, or that there are too few", () => {
		for (const kind of ["mean", "variance"] as const) {
			const answered = lines({ kind, estimate, records: { ...estimate, value: 100 } });
			expect(answered[1]).toMatch(new RegExp(`^${kind} +41\\.23 `));
			expect(answered[2]).toMatch(/^records +100 /);
			const refused = lines({ kind, estimate: null, records: estimate });
			expect(refused[1]).toContain("too few records");
			expect(refused[2]).toMatch(/^records +41\.23 /);
		}
	});

	it("give a histogram a line for each cell and one for the total", () => {
		const axis = { column: "age", cells: ["[0, 30)", "[30, 90]"] };
		const [, first, second, total] = lines({ kind: "histogram", axis, ...counts, total: estimate });
		expect(first).toMatch(/^\[0, 30\) +3 +1\.04 to 4\.96 +1$/);
		expect(second).toMatch(/^\[30, 90\] +-0\.5 +-2\.46 to 1\.46 +1$/);
		expect(total).toMatch(/^total +41\.23 /);
	});

	it("name a table's cells in the order of its counts, under the columns' names", () => {
		const answer: QueryAnswer = {
			kind: "contingencyTable",
			axes: [
				{ column: "group", cells: ["a", "b"] },
				{ column: "age", cells: ["young", "old"] },
			],
			counts: [1, 2, 3, 4],
			standardError: 1,
			halfWidth95: 1.96,
			margins: [],
			total: estimate,
		};
		const [title, , ...rows] = lines(answer);
		expect(title).toBe("group / age");
		expect(rows.map((row) => row.replace(/ {2,}.*/, ""))).toEqual([
			"a / young",
			"a / old",
			"b / young",
			"b / old",
			"total",
		]);
		expect(rows[2]).toMatch(/^b \/ young +3 /);
	});

	it("list the most frequent categories, and say when there is none", () => {
		const top = [{ category: "a", count: estimate }];
		expect(lines({ kind: "topK", column: "group", top })[1]).toMatch(/^a +41\.23 /);
		expect(text({ kind: "topK", column: "group", top: [] })).toBe("The answer is empty.");
	});

	it("list quantiles by fraction, or say that there are too few records", () => {
		const quantiles = [{ fraction: 0.5, value: 48.3333, interval: [46, 50] as const }];
		expect(lines({ kind: "quantiles", quantiles })).toEqual([
			"FRACTION  ANSWER  95 % INTERVAL OF THE NOISE",
			"     0.5  48.33   46 to 50",
		]);
		expect(text({ kind: "quantiles", quantiles: null })).toContain("Too few records");
	});

	it("let no control character of another organization's names through", () => {
		const clearScreen = "\u001b[2J";
		const axes = [
			{ column: `x${clearScreen}`, cells: [`a${clearScreen}`] },
			{ column: "y", cells: ["b"] },
		];
		const answer: QueryAnswer = {
			kind: "contingencyTable",
			axes,
			counts: [1],
			standardError: 1,
			halfWidth95: 1.96,
			margins: [],
			total: estimate,
		};
		expect(text(answer)).not.toContain("\u001b");
		expect(text(answer)).toContain("x?[2J / y");
	});
});
