import { describe, expect, test } from "vitest";
import { declaredFor } from "../../../node/jobs/selection.ts";
import { selectionSchema } from "../../../src/selection/selectionChoice.ts";

const own = { region: "north", size: "medium" };
const by = (characteristic: string) =>
	selectionSchema.parse({ strategy: "stratified", characteristic, strata: { north: 2, south: 2 } });

describe("what an organization declares with its acceptance", () => {
	test("is the one characteristic that the job goes by", () => {
		expect(declaredFor(by("region"), own)).toEqual({ region: "north" });
	});

	test("is nothing where the job goes by none, or by one it has not", () => {
		expect(declaredFor(undefined, own)).toBeUndefined();
		expect(declaredFor(selectionSchema.parse({ strategy: "fair", size: 3 }), own)).toBeUndefined();
		expect(declaredFor(by("speed"), own)).toBeUndefined();
	});
});
