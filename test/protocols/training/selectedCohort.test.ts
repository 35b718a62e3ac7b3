import { describe, expect, test } from "vitest";
import { canBeSecured, cohortOfSelected } from "../../../protocols/training/selectedCohort.ts";
import type { SelectionRule } from "../../../src/selection/select.ts";
import { selectionSchema } from "../../../src/selection/selectionChoice.ts";

const members = Array.from({ length: 400 }, (_, i) => `member-${String(i).padStart(4, "0")}`);

function job(strategy: string, minimumSurvivors: number, corruption = 40) {
	const selection: SelectionRule = {
		choice: selectionSchema.parse({ strategy, size: 200 }),
		characteristics: new Map(),
		minimumSurvivors,
	};
	return { electorate: { members, corruption }, selection, minimumSurvivors };
}

describe("the graph of a session among the selected", () => {
	test("is complete, and asks nothing of luck, up to 128 of them", () => {
		expect(cohortOfSelected(job("fair", 100), 128)).toEqual({ graph: "complete" });
	});

	test("reckons with fewer corrupt ones of a uniform part than of one by behaviour", () => {
		const [uniform, fair] = ["uniform", "fair"].map((strategy) => cohortOfSelected(job(strategy, 160), 200));
		if (uniform?.graph !== "ring" || fair?.graph !== "ring") throw new Error("200 make a ring");
		expect(uniform.holders).toBeLessThanOrEqual(fair.holders);
	});

	test("does not exist where too few of too many have to survive: attempts grow no further", () => {
		expect(canBeSecured(job("uniform", 160, 80), 200)).toBe(true);
		expect(canBeSecured(job("uniform", 160, 80), 400)).toBe(false);
	});
});
