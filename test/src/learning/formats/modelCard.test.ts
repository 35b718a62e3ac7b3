import { describe, expect, test } from "vitest";
import { toHex } from "../../../../crypto/encoding.ts";
import {
	createModelCard,
	type ModelCardFacts,
	modelCardJson,
	modelCardMarkdown,
} from "../../../../src/learning/formats/modelCard.ts";
import { parametersHash, softmaxRegression } from "../../../../src/learning/model.ts";

const model = softmaxRegression(2, 3);
const parameters = new Float32Array(9).fill(0.5);
const facts: ModelCardFacts = {
	job: { name: "digits", id: "ab12" },
	federation: { name: "demo", members: 5 },
	rounds: { completed: 20, planned: 30 },
	data: { description: "Handwritten digits.", features: ["p0", "p1"], label: "digit", licence: "CC BY 4.0" },
	privacy: [
		{
			subject: "north",
			unit: "one record added or removed",
			epsilon: 2.34567,
			delta: 1e-5,
			accountant: "RDP",
		},
	],
	backend: "onnxruntime-node (CPU)",
	metrics: { accuracy: 0.91 },
	limits: ["Hyperparameters were not tuned in private."],
	files: { "model.onnx": "cd34" },
};

describe("model card", () => {
	const card = createModelCard({ model, parameters }, facts);

	test("the JSON form holds every fact, the hashes and the limits", () => {
		const parsed = JSON.parse(modelCardJson(card));
		expect(parsed).toMatchObject({ ...facts, limits: expect.arrayContaining([...facts.limits]) });
		expect(parsed.limits.length).toBeGreaterThan(1);
		expect(parsed.hashes.parameters).toBe(toHex(parametersHash(model, parameters)));
		expect(parsed.parameterCount).toBe(9);
	});

	test("the markdown form shows them", () => {
		const text = modelCardMarkdown(card);
		for (const part of [
			"# Model card: digits",
			"| Federation | demo (5 members) |",
			"| Rounds | 20 of 30 |",
			"2 inputs, dense 3",
			"| north | one record added or removed | 2.346 | 1.00e-5 | RDP |",
			"- Hyperparameters were not tuned in private.",
			"| accuracy | 0.91 |",
			"| model.onnx | cd34 |",
			card.hashes.parameters,
		]) {
			expect(text).toContain(part);
		}
	});

	test("says plainly when there was no privacy", () => {
		const text = modelCardMarkdown(createModelCard({ model, parameters }, { ...facts, privacy: [] }));
		expect(text).toContain("without differential privacy");
		expect(text).not.toContain("Epsilon");
	});

	test("names from others cannot add markup or rows", () => {
		const text = modelCardMarkdown(
			createModelCard({ model, parameters }, { ...facts, job: { name: "x\n# <b>|[a](b)", id: "a|b\n| c" } }),
		);
		expect(text).toContain("# Model card: x \\# \\<b\\>\\|\\[a\\](b)\n");
		expect(text).toContain("| Job | a\\|b \\| c |\n");
	});

	test("is refused for parameters of another model", () => {
		expect(() => createModelCard({ model, parameters: new Float32Array(1) }, facts)).toThrow(
			expect.objectContaining({ code: "learning.parameter_count" }),
		);
	});
});
