import { describe, expect, it } from "vitest";
import { type QueryOptions, querySpecOf } from "../../../node/cli/queryArguments.ts";
import { parseQuerySpec } from "../../../src/queries/spec.ts";

const holdsClasses = (column: string) => column === "group";

function specOf(kind: string, options: Partial<QueryOptions> = {}): Record<string, unknown> {
	return querySpecOf(kind, { epsilon: 1, ...options }, holdsClasses);
}

describe("a query's options", () => {
	it("become the specification that the node checks, for every kind", () => {
		const groups = { column: "group", categories: ["a", "b"] };
		const ages = { column: "age", edges: [0, 30, 90.5] };
		const given: [string, Partial<QueryOptions>, object][] = [
			["count", {}, { privacy: { epsilon: 1 } }],
			["count", { delta: 1e-6 }, { privacy: { epsilon: 1, delta: 1e-6 } }],
			["sum", { column: "age", bounds: "-5, 1e2" }, { column: "age", bounds: [-5, 100] }],
			["mean", { column: "age", bounds: "0,100", maximumRecords: 500 }, { maximumRecordsPerSite: 500 }],
			["variance", { column: "age", bounds: "0,100" }, { bounds: [0, 100] }],
			["histogram", { by: ["age:0,30,90.5"] }, { by: ages }],
			["histogram", { by: ["age=30,40"] }, { by: { column: "age", categories: [30, 40] } }],
			[
				"quantiles",
				{ column: "age", bounds: "0,100", fractions: "0.1,0.9", levels: 3 },
				{ fractions: [0.1, 0.9], levels: 3 },
			],
			["topK", { by: ["group=a, b"], top: 2 }, { by: groups, k: 2 }],
			["contingencyTable", { by: ["group=a,b", "age:0,30,90.5"] }, { by: [groups, ages] }],
		];
		for (const [kind, options, expected] of given) {
			const spec = specOf(kind, options);
			expect(spec, kind).toMatchObject({ kind, ...expected });
			expect(() => parseQuerySpec(spec), kind).not.toThrow();
		}
	});

	it("name classes by text and numbers by number in conditions, also negative ones", () => {
		const where = ["group=7", "age=7", "age:-1.5..20", "age:-3..-2", "group=a=b"];
		expect(specOf("count", { where }).where).toEqual([
			{ column: "group", equals: "7" },
			{ column: "age", equals: 7 },
			{ column: "age", between: [-1.5, 20] },
			{ column: "age", between: [-3, -2] },
			{ column: "group", equals: "a=b" },
		]);
	});

	it("that cannot be read are refused with the option's name and its form", () => {
		const bad: [Partial<QueryOptions>, string][] = [
			[{ bounds: "0,ten" }, "--bounds"],
			[{ bounds: "0," }, "--bounds"],
			[{ bounds: "0,Infinity" }, "--bounds"],
			[{ fractions: "half" }, "--fractions"],
			[{ by: ["group"] }, "--by"],
			[{ by: ["=a,b"] }, "--by"],
			[{ by: ["age:0,x"] }, "--by"],
			[{ by: ["age=old"] }, "numbers"],
			[{ where: ["age"] }, "--where"],
			[{ where: ["age:1"] }, "--where"],
			[{ where: ["age:1..2..3"] }, "--where"],
			[{ where: ["age:1..old"] }, "--where"],
		];
		for (const [options, name] of bad) {
			expect(() => specOf("count", options), JSON.stringify(options)).toThrow(
				expect.objectContaining({ code: "usage.invalid", message: expect.stringContaining(name) }),
			);
		}
	});

	it("never leave a second dimension out in silence", () => {
		for (const kind of ["histogram", "topK"]) {
			expect(() => specOf(kind, { by: ["group=a,b", "age:0,30"] })).toThrow(
				expect.objectContaining({ code: "usage.invalid", message: expect.stringContaining("2 times") }),
			);
		}
	});

	it("that do not belong to the kind reach the check, which names them", () => {
		expect(() => parseQuerySpec(specOf("count", { column: "age" }))).toThrow(/column/);
		expect(() => parseQuerySpec(specOf("mean", { column: "age" }))).toThrow(/bounds/);
	});
});
