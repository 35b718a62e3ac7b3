import { describe, expect, it } from "vitest";
import { robustnessContradiction, robustnessSchema } from "../../../src/robustness/robustnessChoice.ts";

const clear = (more: object) => {
	const choice = robustnessSchema.parse({ mode: "clear", rule: "coordinate_median", attackers: 1, ...more });
	return (mechanism: "none" | "site_gaussian" | "distributed_gaussian") =>
		robustnessContradiction(choice, { mechanism });
};

describe("robustness of a job", () => {
	it("in the clear is refused where noise in shares would be all that protects a vector", () => {
		expect(clear({})("distributed_gaussian")).toMatch(/use privacy.mechanism site_gaussian/);
	});

	it("is refused with keys of another rule", () => {
		expect(clear({ bucketSize: 2 })("none")).toMatch(/belongs to robustness.mixing bucketing/);
		expect(clear({ radius: 1 })("none")).toMatch(/belongs to robustness.rule centered_clipping/);
		const rootRecords = [{ features: [1], label: "a" }];
		expect(clear({ rootRecords })("none")).toMatch(/belong to robustness.rule trust_score/);
		expect(clear({ rule: "trust_score" })("none")).toMatch(/needs rootRecords/);
		expect(clear({ rule: "trust_score", rootRecords, mixing: "bucketing" })("none")).toMatch(/would mix/);
	});

	it("by a norm bound, under buckets too, is refused where noise in shares would be all that protects what it shows", () => {
		const bucketed = { mode: "bucketed", attackers: 1, bucketSize: 4, rule: "coordinate_median" };
		for (const choice of [{ mode: "norm_bound" }, bucketed].map((one) => robustnessSchema.parse(one))) {
			expect(robustnessContradiction(choice, { mechanism: "none" })).toBeUndefined();
			expect(robustnessContradiction(choice, { mechanism: "site_gaussian" })).toBeUndefined();
			expect(robustnessContradiction(choice, { mechanism: "distributed_gaussian" })).toMatch(/16 numbers/);
		}
	});

	it("has no mode of another name, and no keys of another mode", () => {
		expect(robustnessSchema.safeParse({ mode: "robust" }).success).toBe(false);
		expect(robustnessSchema.safeParse({ mode: "norm_bound", rule: "krum" }).success).toBe(false);
	});
});
