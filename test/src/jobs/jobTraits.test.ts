import { describe, expect, test } from "vitest";
import { traitsOf } from "../../../src/jobs/jobTraits.ts";
import { checkAnyJob, resolveSpecification } from "../../../src/jobs/specification.ts";
import { verticalJobSchema } from "../../../src/vertical/verticalSpec.ts";
import { digitsJob } from "../training/federation.ts";

const open = { privacy: { mechanism: "none" } };

describe("what tells jobs apart", () => {
	test("of a model: whose model it is, who is asked, what a site keeps", () => {
		const plain = traitsOf(digitsJob(open));
		expect(plain).toMatchObject({ schedule: "synchronous", trainsModel: true, siteState: "none" });
		expect(plain.parameters()).toBe(650);
		expect([plain.contributors(9), plain.buffer?.(9)]).toEqual([9, undefined]);
		const training = { algorithm: "scaffold", rounds: 2, expectedBatch: undefined };
		const scaffold = traitsOf(digitsJob({ ...open, training, robustness: { mode: "none" } }));
		expect(scaffold).toMatchObject({ siteState: "if_summed", personalizes: false });
	});

	test("of a query: everybody, once, and nothing is kept", () => {
		const query = checkAnyJob({
			name: "count",
			technique: "query",
			data: { set: "digits-8x8" },
			query: { kind: "count", privacy: { epsilon: 1, delta: 1e-6 } },
		});
		expect(traitsOf(resolveSpecification(query))).toMatchObject({
			schedule: "synchronous",
			trainsModel: false,
			siteState: "none",
			recorded: { mechanism: "distributed_gaussian" },
		});
	});

	test("of columns: own parts stand, whatever becomes of a round", () => {
		const vertical = verticalJobSchema.parse({
			name: "cancer",
			technique: "vertical_learning",
			data: { set: "breast-cancer", records: 569, classes: ["benign", "malignant"] },
			model: { kind: "split_logistic_regression" },
			training: { epochs: 1 },
			privacy: { mechanism: "none" },
		});
		const traits = traitsOf(vertical);
		expect(traits).toMatchObject({ siteState: "standing", recorded: { mechanism: "none" } });
		expect(traits.parameters()).toBe(0);
	});
});
