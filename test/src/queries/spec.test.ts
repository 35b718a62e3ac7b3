import { describe, expect, it } from "vitest";
import { parseQuerySpec } from "../../../src/queries/spec.ts";

const privacy = { epsilon: 1, delta: 1e-6 };

describe("query specifications", () => {
	it("fill in what was left out", () => {
		expect(parseQuerySpec({ kind: "count", privacy })).toEqual({
			kind: "count",
			where: [],
			privacy,
			maximumRecordsPerSite: 1_000_000,
		});
	});

	it("are refused with the key that is wrong", () => {
		const by = { column: "group", categories: ["a", "b"] };
		const bad: [unknown, string][] = [
			[{ kind: "count" }, "privacy"],
			[{ kind: "median", privacy }, "kind"],
			[{ kind: "count", privacy, column: "age" }, "column"],
			[{ kind: "count", privacy: { epsilon: 0 } }, "privacy"],
			[{ kind: "count", privacy: { epsilon: 1, noiseMultiplier: 1 } }, "privacy"],
			[{ kind: "sum", column: "age", bounds: [5, 5], privacy }, "bounds"],
			[{ kind: "sum", column: "age", bounds: [-1e308, 1.5e308], privacy }, "bounds"],
			[{ kind: "mean", column: "age", bounds: [0, 5e-324], privacy }, "bounds"],
			[{ kind: "histogram", by: { column: "age", edges: [0, 10, 10] }, privacy }, "by"],
			// One 32-bit float, which is all that a record can hold.
			[{ kind: "histogram", by: { column: "age", edges: [0, 1, 1 + 1e-9] }, privacy }, "by"],
			[{ kind: "histogram", by: { column: "age", categories: [1, 1 + 1e-9] }, privacy }, "by"],
			// One class, written as a number and as a text.
			[{ kind: "histogram", by: { column: "group", categories: [0.1, "0.1"] }, privacy }, "by"],
			[{ kind: "histogram", by: { ...by, edges: [0, 1] }, privacy }, "by"],
			// Beyond any 32-bit float; squares of such widths would not be finite.
			[{ kind: "variance", column: "age", bounds: [0, 1e200], privacy }, "bounds"],
			[{ kind: "count", privacy: { noiseMultiplier: 0.1 } }, "privacy"],
			[{ kind: "quantiles", column: "age", bounds: [0, 1], fractions: [1], privacy }, "fractions.0"],
			[{ kind: "topK", by, k: 0, privacy }, "k"],
			[{ kind: "contingencyTable", by: [by], privacy }, "by"],
			[{ kind: "count", where: [{ column: "age", between: [2, 1] }], privacy }, "where.0"],
			[{ kind: "count", maximumRecordsPerSite: 0, privacy }, "maximumRecordsPerSite"],
		];
		for (const [value, key] of bad) {
			expect(() => parseQuerySpec(value), JSON.stringify(value)).toThrow(
				expect.objectContaining({ code: "query.invalid", message: expect.stringContaining(key) }),
			);
		}
		const wide = { column: "age", edges: Array.from({ length: 300 }, (_, i) => i) };
		expect(() => parseQuerySpec({ kind: "contingencyTable", by: [wide, wide], privacy })).toThrow(
			/65536 cells/,
		);
	});
});
