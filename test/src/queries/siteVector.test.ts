import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planQuery } from "../../../src/queries/plan.ts";
import { levelStart, treeLength } from "../../../src/queries/quantileTree.ts";
import { querySiteVector } from "../../../src/queries/siteVector.ts";
import { parseQuerySpec, type QuerySpec } from "../../../src/queries/spec.ts";
import { type Person, peopleRecords, population } from "./recordsForTests.ts";

const who = { participants: 5, corruption: 1, minimumSurvivors: 4 };
const privacy = { epsilon: 1, delta: 1e-6 };
const groups = { column: "group", categories: ["a", "b", "c"] };
const ages = { column: "age", edges: [0, 30, 50, 120] };

const specs: readonly QuerySpec[] = [
	{ kind: "count", where: [{ column: "age", between: [20, 60] }] },
	{ kind: "sum", column: "income", bounds: [-500, 8000] },
	{ kind: "mean", column: "age", bounds: [0, 100], where: [{ column: "group", equals: "a" }] },
	{ kind: "variance", column: "income", bounds: [0, 10_000] },
	{ kind: "histogram", by: ages },
	{ kind: "quantiles", column: "age", bounds: [0, 100], levels: 3 },
	{ kind: "topK", by: groups, k: 2 },
	{ kind: "contingencyTable", by: [groups, ages] },
].map((spec) => parseQuerySpec({ ...spec, privacy }));

/** A site's vector in records, rounding undone by division. */
function inRecords(people: readonly Person[], spec: QuerySpec): number[] {
	const plan = planQuery(spec, who);
	return Array.from(
		querySiteVector(peopleRecords(people), spec, plan),
		(value) => value / plan.unitsPerRecord,
	);
}

describe("a site's vector", () => {
	const people = population(500);

	it("counts and sums what the query asks for", () => {
		const spec = (value: object) => parseQuerySpec({ ...value, privacy });
		const within = people.filter(({ age }) => age >= 20 && age <= 60).length;
		expect(inRecords(people, specs[0]!)).toEqual([within]);
		const incomes = people.reduce((sum, { income }) => sum + Math.min(8000, income), 0) / 8000;
		expect(Math.abs(inRecords(people, specs[1]!)[0]! - incomes)).toBeLessThan(0.1);
		const group = people.filter((person) => person.group === "a");
		const [count, deviations] = inRecords(people, specs[2]!);
		expect(count).toBe(group.length);
		expect(deviations).toBeCloseTo(
			group.reduce((sum, { age }) => sum + (age - 50) / 50, 0),
			0,
		);
		expect(inRecords(people, specs[4]!)).toEqual([
			people.filter(({ age }) => age < 30).length,
			people.filter(({ age }) => age >= 30 && age < 50).length,
			people.filter(({ age }) => age >= 50).length,
		]);
		const table = inRecords(people, specs[7]!);
		expect(table).toHaveLength(9);
		// Row-major: group b, age 30 to 50.
		expect(table[4]).toBe(
			people.filter(({ age, group: name }) => name === "b" && age >= 30 && age < 50).length,
		);
		const tree = inRecords(people, specs[5]!);
		expect(tree).toHaveLength(treeLength(3));
		expect(tree[levelStart(1)]).toBe(people.filter(({ age }) => age < 25).length);
		for (const level of [1, 2, 3]) {
			const nodes = tree.slice(levelStart(level), levelStart(level + 1));
			expect(nodes.reduce((sum, node) => sum + node, 0)).toBe(people.length);
		}
		// Closed upper end of the last cell; outside the edges a record counts nowhere.
		const edges = spec({ kind: "histogram", by: { column: "age", edges: [18, 19, 89] } });
		expect(inRecords(people, edges).reduce((sum, cell) => sum + cell, 0)).toBe(people.length);
		const narrow = spec({ kind: "histogram", by: { column: "age", edges: [40, 41] } });
		expect(inRecords(people, narrow)).toEqual([
			people.filter(({ age }) => age === 40).length + people.filter(({ age }) => age === 41).length,
		]);
	});

	it("compares as 32-bit floats, which is what records are", () => {
		const decimals = [0.1, 0.7, 0.7, 0.3].map((age) => ({ age, income: 0, group: "a" }));
		const count = (condition: object) =>
			inRecords(decimals, parseQuerySpec({ kind: "count", where: [condition], privacy }))[0];
		expect(count({ column: "age", equals: 0.7 })).toBe(2);
		expect(count({ column: "age", between: [0.3, 0.7] })).toBe(3);
		expect(count({ column: "group", equals: "nobody" })).toBe(0);
	});

	it("moves by no more than the plan's sensitivity when one record leaves, whatever it holds", () => {
		const person = fc.record({
			age: fc.float({ noNaN: true }),
			income: fc.float({ noNaN: true, min: -20_000, max: 20_000 }),
			group: fc.constantFrom("a", "b", "c", "d"),
		});
		for (const spec of specs) {
			const plan = planQuery(spec, who);
			fc.assert(
				fc.property(fc.array(person, { minLength: 1, maxLength: 30 }), fc.nat(), (all, index) => {
					const without = all.filter((_, i) => i !== index % all.length);
					// A class that only the record that leaves had would rename the others' codes, not move them.
					const [one, other] = [all, without].map((list) =>
						querySiteVector(peopleRecords(list), spec, plan),
					) as [Int32Array, Int32Array];
					const differences = Array.from(one, (value, i) => value - other[i]!);
					expect(Math.max(...differences.map(Math.abs))).toBeLessThanOrEqual(plan.unitsPerRecord);
					const length = Math.sqrt(differences.reduce((sum, value) => sum + value * value, 0));
					expect(length).toBeLessThanOrEqual(plan.encoding.sensitivity);
				}),
				{ seed: 1, numRuns: 150 },
			);
		}
	});

	it("takes a numeric label by its value, not by its place among the values that a site has", () => {
		// As the reader of IDX files returns labels: places in the list of those in use.
		const digits = (values: readonly number[]) => {
			const labelNames = [...new Set(values)].sort((a, b) => a - b).map(String);
			return {
				dataset: {
					features: new Float32Array(0),
					labels: Float32Array.from(values, (value) => labelNames.indexOf(String(value))),
					rows: values.length,
					columns: [],
					labelNames,
				},
				label: { column: "digit", kind: "number" as const },
			};
		};
		const spec = parseQuerySpec({ kind: "sum", column: "digit", bounds: [0, 9], privacy });
		const plan = planQuery(spec, who);
		const [all] = querySiteVector(digits([3, 7, 7, 7, 7]), spec, plan);
		// The only 3 leaves: the sevens stay sevens.
		const [without] = querySiteVector(digits([7, 7, 7, 7]), spec, plan);
		expect(all! / plan.unitsPerRecord).toBeCloseTo(31 / 9, 1);
		expect(without! / plan.unitsPerRecord).toBeCloseTo(28 / 9, 1);
		expect(Math.abs(all! - without!)).toBeLessThanOrEqual(plan.unitsPerRecord);
	});

	it("does not depend on the order of the records", () => {
		const mixed = population(200).map((person, i) => ({
			...person,
			income: Math.fround(person.income / 3 + i),
		}));
		for (const spec of specs) {
			const plan = planQuery(spec, who);
			const forwards = querySiteVector(peopleRecords(mixed), spec, plan);
			expect(querySiteVector(peopleRecords(mixed.toReversed()), spec, plan)).toEqual(forwards);
		}
	});

	it("is zero without records, and refuses a wrong column with them as without", () => {
		for (const spec of specs) expect(inRecords([], spec).every((value) => value === 0)).toBe(true);
		const sum = parseQuerySpec({ kind: "sum", column: "group", bounds: [0, 1], privacy });
		for (const records of [[], people])
			expect(() => inRecords(records, sum)).toThrow(expect.objectContaining({ code: "query.not_numeric" }));
	});

	it("is cut off at the public number of records", () => {
		const spec = parseQuerySpec({ kind: "count", privacy, maximumRecordsPerSite: 100 });
		expect(inRecords(people, spec)).toEqual([100]);
	});

	it("is refused for columns that are not there or not of that kind, without a word on records", () => {
		const ask = (value: object) => () => inRecords(people, parseQuerySpec({ ...value, privacy }));
		const code = (name: string) => expect.objectContaining({ code: name });
		expect(ask({ kind: "sum", column: "height", bounds: [0, 1] })).toThrow(code("query.unknown_column"));
		expect(ask({ kind: "sum", column: "group", bounds: [0, 1] })).toThrow(code("query.not_numeric"));
		expect(ask({ kind: "histogram", by: { column: "group", edges: [0, 1] } })).toThrow(
			code("query.not_numeric"),
		);
		expect(ask({ kind: "count", where: [{ column: "age", equals: "old" }] })).toThrow(
			code("query.not_categorical"),
		);
		expect(ask({ kind: "topK", by: { column: "age", categories: ["x", "y"] }, k: 1 })).toThrow(
			code("query.not_categorical"),
		);
	});
});

describe("query plans", () => {
	it("give a sum of shares with the noise that is charged, for any survivors allowed", () => {
		for (const spec of specs) {
			const plan = planQuery(spec, who);
			const honest = plan.sigmaLocal * Math.sqrt(who.minimumSurvivors - who.corruption);
			expect(honest).toBeGreaterThanOrEqual(plan.noiseMultiplier * plan.encoding.sensitivity);
			expect(plan.event).toEqual({ kind: "gaussian", noiseMultiplier: plan.noiseMultiplier });
			// Every participant's plan is the same to the last bit, whatever its processor makes of exp.
			expect(Number.isInteger(plan.noiseMultiplier * 2 ** 20)).toBe(true);
			// The price of integers: below half a percent.
			expect(honest).toBeLessThan(plan.noiseMultiplier * plan.encoding.sensitivity * 1.005);
			expect(plan.encoding.wrapProbability).toBeLessThan(1e-20);
			const largest = who.participants * plan.encoding.coordinateBound;
			expect(largest + 12 * plan.sigmaLocal * Math.sqrt(who.participants)).toBeLessThan(2 ** 31);
		}
	});

	it("take a noise multiplier as it is", () => {
		const spec = parseQuerySpec({ kind: "count", privacy: { noiseMultiplier: 3 } });
		expect(planQuery(spec, who).event).toEqual({ kind: "gaussian", noiseMultiplier: 3 });
	});

	it("are refused where they cannot be kept", () => {
		const pure = parseQuerySpec({ kind: "count", privacy: { epsilon: 1 } });
		expect(() => planQuery(pure, who)).toThrow(expect.objectContaining({ code: "query.needs_delta" }));
		const huge = parseQuerySpec({ kind: "count", privacy, maximumRecordsPerSite: 1e9 });
		expect(() => planQuery(huge, who)).toThrow(expect.objectContaining({ code: "privacy.no_headroom" }));
		const count = parseQuerySpec({ kind: "count", privacy });
		expect(() => planQuery(count, { ...who, corruption: 4 })).toThrow(
			expect.objectContaining({ code: "privacy.no_honest_noise" }),
		);
	});
});
