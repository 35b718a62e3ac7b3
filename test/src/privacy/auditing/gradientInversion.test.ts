import { afterAll, describe, expect, it } from "vitest";
import {
	initialParameters,
	multilayerPerceptron,
	softmaxRegression,
} from "../../../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../../../src/learning/trainer.ts";
import { invertGradient, similarity } from "../../../../src/privacy/auditing/gradientInversion.ts";
import { tableGaussian } from "../../../../src/privacy/samplers/tableGaussian.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";

const FEATURES = 64;
const random = seededRandomForTests(9);
const trainers: Trainer[] = [];
afterAll(() => Promise.all(trainers.map((trainer) => trainer.dispose())));

function recordsOf(rows: number) {
	return {
		features: Float32Array.from({ length: rows * FEATURES }, () => 2 * random() - 1),
		labels: Float32Array.from({ length: rows }, (_, row) => row % 10),
		rows,
	};
}

const models = [
	["softmax regression", softmaxRegression(FEATURES, 10)],
	["a perceptron", multilayerPerceptron(FEATURES, [32], 10, "tanh")],
] as const;

describe("inverting an update", () => {
	it.each(models)("of one record recovers it from %s", async (_, model) => {
		const trainer = await createTrainer({ model });
		trainers.push(trainer);
		const parameters = initialParameters(model, new Uint8Array(32));
		const record = recordsOf(1);
		const { sum } = await trainer.gradientSum(parameters, record);
		const recovered = invertGradient(model, sum);
		expect(similarity(recovered, record.features)).toBeGreaterThan(0.99999);
		for (const [i, value] of record.features.entries()) expect(recovered[i]).toBeCloseTo(value, 3);
	});

	it.each(models)("fails on %s after clipping, summing and noise", async (_, model) => {
		const trainer = await createTrainer({ model });
		trainers.push(trainer);
		const parameters = initialParameters(model, new Uint8Array(32));
		const batch = recordsOf(32);
		const { sum } = await trainer.clippedGradientSum(parameters, batch, { mode: "flat", norm: 1 });
		// Noise of multiplier 1 on a grid of 2^-10.
		const noise = new Int32Array(sum.length);
		tableGaussian(1024).fill(noise);
		const recovered = invertGradient(
			model,
			sum.map((value, i) => value + noise[i]! / 1024),
		);
		// An unrelated direction in 64 dimensions has a cosine above 0.75 with probability below 1e-10.
		for (let row = 0; row < batch.rows; row++) {
			const truth = batch.features.subarray(row * FEATURES, (row + 1) * FEATURES);
			expect(Math.abs(similarity(recovered, truth))).toBeLessThan(0.75);
		}
	});

	it("refuses a model whose first layer shows nothing", () => {
		const model = { ...softmaxRegression(4, 2), layers: [{ kind: "dense", units: 2, useBias: false }] };
		expect(() => invertGradient(model as never, new Float64Array(8))).toThrowError(/dense layer with a bias/);
	});
});
