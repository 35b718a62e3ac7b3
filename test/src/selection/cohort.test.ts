import { describe, expect, test } from "vitest";
import { contributorsOf, requireSafeCohort } from "../../../src/selection/cohort.ts";
import { selectionContradiction, selectionSchema } from "../../../src/selection/selectionChoice.ts";

describe("what fractions of a cohort are fractions of", () => {
	test.each([
		[undefined, 9],
		[{ strategy: "uniform", size: 4, overselection: 1 }, 4],
		[{ strategy: "fair", size: 40 }, 9],
		[{ strategy: "poisson", probability: 0.5 }, 4],
		[{ strategy: "poisson", probability: 0.01 }, 2],
		[{ strategy: "stratified", characteristic: "size", strata: { a: 1, b: 4 } }, 5],
	])("%j: %i of 9", (choice, expected) => {
		expect(contributorsOf(choice === undefined ? undefined : selectionSchema.parse(choice), 9)).toBe(
			expected,
		);
	});
});

describe("a cohort's safety", () => {
	test("counts all corrupt participants among the selected", () => {
		expect(() => requireSafeCohort({ contributors: 5, corruption: 2, minimumSurvivors: 4 })).not.toThrow();
		for (const corruption of [3, 4])
			expect(() => requireSafeCohort({ contributors: 5, corruption, minimumSurvivors: 4 })).toThrow(
				expect.objectContaining({ code: "job.cohort_too_small" }),
			);
	});

	test("never has fewer than two survivors, nor more than are selected", () => {
		for (const minimumSurvivors of [1, 6])
			expect(() => requireSafeCohort({ contributors: 5, corruption: 0, minimumSurvivors })).toThrow(
				expect.objectContaining({ code: "job.cohort_too_small" }),
			);
	});
});

describe("the job file's keys", () => {
	test.each([
		{ strategy: "uniform" },
		{ strategy: "uniform", size: 1 },
		{ strategy: "uniform", size: 3, weights: { a: 1 } },
		{ strategy: "weighted", size: 3, characteristic: "size", weights: {} },
		{ strategy: "weighted", size: 3, characteristic: "size", weights: { Large: 2 } },
		{ strategy: "weighted", size: 3, characteristic: "size", weights: { large: 0.5 } },
		{ strategy: "poisson", probability: 0 },
		{ strategy: "oracle", size: 3 },
		{ strategy: "utility", size: 3, exploration: 0 },
		{ strategy: "power_of_choice", size: 3 },
	])("%j is refused", (choice) => {
		expect(selectionSchema.safeParse(choice).success).toBe(false);
	});

	test("a selection and correlated noise do not go together", () => {
		const choice = selectionSchema.parse({ strategy: "uniform", size: 3 });
		expect(
			selectionContradiction(choice, { mechanism: "distributed_gaussian", correlation: "tree" }),
		).toContain("correlated noise");
		expect(selectionContradiction(choice, { mechanism: "none" })).toBeUndefined();
	});

	test("losses are reported only where they are paid for", () => {
		const choice = selectionSchema.parse({ strategy: "utility", size: 3 });
		const shared = { mechanism: "distributed_gaussian", unit: "record", noiseSchedule: "constant" };
		expect(selectionContradiction(choice, shared)).toBeUndefined();
		for (const privacy of [
			{ mechanism: "none" },
			{ mechanism: "site_gaussian", unit: "record" },
			{ ...shared, unit: "client" },
			{ ...shared, noiseSchedule: "adaptive" },
		])
			expect(selectionContradiction(choice, privacy)).toContain("selection.strategy utility");
		expect(selectionContradiction(choice, shared, { robustness: { mode: "norm_bound" } })).toContain(
			"robustness",
		);
		expect(selectionContradiction(choice, shared, { robustness: { mode: "none" } })).toBeUndefined();
		const few = selectionSchema.parse({ strategy: "power_of_choice", size: 4, candidates: 3 });
		expect(selectionContradiction(few, shared)).toContain("candidates");
	});
});
