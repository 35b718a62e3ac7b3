import { describe, expect, it } from "vitest";
import { SparsePerceptron, sparse } from "../../bench/robustness/sparsePerceptron.ts";
import { gather } from "../../src/data/dataset.ts";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { initialParameters, multilayerPerceptron, parameterCount } from "../../src/learning/model.ts";
import { createTrainer } from "../../src/learning/trainer.ts";

const INPUTS = 12;
const ROWS = 20;
const model = multilayerPerceptron(INPUTS, [5], 3, "relu", "multiclass");
const random = seededRandomForTests(7);
const data = {
	features: Float32Array.from({ length: ROWS * INPUTS }, () => (random() < 0.6 ? 0 : random())),
	labels: Float32Array.from({ length: ROWS }, () => Math.floor(3 * random())),
	rows: ROWS,
	columns: Array.from({ length: INPUTS }, (_, i) => String(i)),
	labelNames: ["a", "b", "c"],
};
const parameters = initialParameters(model, new Uint8Array(32).fill(4)).map((value) => value + 0.05);
const network = new SparsePerceptron(INPUTS, 5, 3);

describe("the experiments' perceptron", () => {
	it("has the gradient of the node's trainer, and as many answers right", async () => {
		const trainer = await createTrainer({ model });
		try {
			const rows = Int32Array.of(0, 3, 3, 19);
			const { sum } = await trainer.gradientSum(parameters, gather(data, rows));
			const ours = new Float64Array(parameterCount(model)).fill(1);
			network.addGradient(parameters, sparse(data), rows, 0.5, ours);
			for (const [i, value] of sum.entries()) expect(ours[i]).toBeCloseTo(1 + value / 2, 5);
			const { correct } = await trainer.evaluate(parameters, data, 8);
			expect(network.correct(parameters, sparse(data))).toBe(correct);
		} finally {
			await trainer.dispose();
		}
	});

	it("counts no answer right where outputs are equal or no numbers", () => {
		const nothing = new Float32Array(parameterCount(model));
		expect(network.correct(nothing, sparse(data))).toBe(0);
		expect(network.correct(nothing.fill(Number.NaN), sparse(data))).toBe(0);
	});
});
