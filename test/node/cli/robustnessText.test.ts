import { expect, test } from "vitest";
import { robustnessText } from "../../../node/cli/robustnessText.ts";
import { robustnessSchema } from "../../../src/robustness/robustnessChoice.ts";

test("every mode is said in words, and the plain mean with what it risks", () => {
	for (const option of robustnessSchema.options) {
		const mode = option.shape.mode.value;
		expect(robustnessText({ spec: { robustness: { mode } } })).toContain(`robustness ${mode}): `);
	}
	expect(robustnessText({ spec: { robustness: { mode: "none" } } })).toContain("can ruin the model");
	expect(robustnessText({ spec: { technique: "query" } })).toBeUndefined();
});
