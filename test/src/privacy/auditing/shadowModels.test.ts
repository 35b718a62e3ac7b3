/** The whole membership experiment on real models: an overfitted one gives its records away. */
import { afterAll, describe, expect, it } from "vitest";
import { takeRows } from "../../../../src/learning/batch.ts";
import { trainLocally } from "../../../../src/learning/localTraining.ts";
import { initialParameters, softmaxRegression } from "../../../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../../../src/learning/trainer.ts";
import { inferMembership } from "../../../../src/privacy/auditing/shadowModels.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";

const RECORDS = 160;
const FEATURES = 200;
const random = seededRandomForTests(4);
const model = softmaxRegression(FEATURES, 2);
/** Labels have nothing to do with features: whatever a model learns, it remembers. */
const records = {
	features: Float32Array.from({ length: RECORDS * FEATURES }, () => 2 * random() - 1),
	labels: Float32Array.from({ length: RECORDS }, () => (random() < 0.5 ? 0 : 1)),
	rows: RECORDS,
};
const trainers: Trainer[] = [];
afterAll(() => Promise.all(trainers.map((trainer) => trainer.dispose())));

/** @param epochs 0 trains nothing */
async function experiment(epochs: number) {
	const trainer = await createTrainer({ model });
	trainers.push(trainer);
	const initial = initialParameters(model, new Uint8Array(32));
	return inferMembership({
		records: RECORDS,
		shadows: 6,
		trainOn: async (included) => {
			const rows = Uint32Array.from(included.flatMap((inside, row) => (inside ? [row] : [])));
			const parameters = initial.slice();
			if (epochs > 0) {
				const plan = { epochs, batchSize: 64, learningRate: 2 };
				const { delta } = await trainLocally(trainer, initial, takeRows(records, rows), plan);
				for (const [i, value] of delta.entries()) parameters[i]! += value;
			}
			const losses: number[] = [];
			for (let row = 0; row < RECORDS; row++) {
				const one = takeRows(records, Uint32Array.of(row));
				losses.push((await trainer.evaluate(parameters, one, 30)).lossSum);
			}
			return losses;
		},
	});
}

describe("membership inference", () => {
	it("finds the records of a model that remembers them, with and without shadow models", async () => {
		const { loss, likelihoodRatio } = await experiment(60);
		expect(loss.auc.lower).toBeGreaterThan(0.6);
		expect(likelihoodRatio.auc.lower).toBeGreaterThan(0.6);
		expect(loss.advantage.estimate).toBeGreaterThan(0.3);
	});

	it("finds nothing in a model that was not trained", async () => {
		const { loss } = await experiment(0);
		// AUC has a standard error of 0.053 here: 0.8 is more than 5 of them away.
		expect(loss.auc.estimate).toBeLessThan(0.8);
		expect(loss.auc.estimate).toBeGreaterThan(0.2);
	});

	it("refuses an experiment that is too small", async () => {
		const trainOn = async () => [];
		await expect(inferMembership({ records: 100, shadows: 3, trainOn })).rejects.toThrowError(/even number/);
		await expect(inferMembership({ records: 5, shadows: 4, trainOn })).rejects.toThrowError(/20 records/);
	});
});
