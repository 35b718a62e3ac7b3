/** The comparison: the same kind of model trained on everybody's records in one place, without privacy. */
import { randomBytes } from "../crypto/random.ts";
import type { Dataset } from "../src/data/dataset.ts";
import { trainLocally } from "../src/learning/localTraining.ts";
import { initialParameters, type Model } from "../src/learning/model.ts";
import { createTrainer, type Trainer } from "../src/learning/trainer.ts";

const BATCH_SIZE = 64;
/** Step sizes tried; the one that fits the training records best is kept, so no test record decides. */
const LEARNING_RATES = [0.1, 0.5, 2] as const;
const EPOCHS_BETWEEN_LOOKS = 10;
const MOST_EPOCHS = 60;
/** A large model is good enough for a comparison after this long, for each step size. */
const MOST_MS = 60_000;
/** Converged when this many epochs lower the training loss by less than this share. */
const LEAST_IMPROVEMENT = 0.02;
/** Bound of one example's loss in evaluations; far above what a trained model shows. */
const LOSS_BOUND = 8;

export interface Quality {
	readonly accuracy: number;
	readonly loss: number;
}

/** Accuracy and mean loss of a model on records. */
export async function qualityOf(model: Model, parameters: Float32Array, data: Dataset): Promise<Quality> {
	const trainer = await createTrainer({ model });
	try {
		return await evaluated(trainer, parameters, data);
	} finally {
		await trainer.dispose();
	}
}

/** Mini-batch gradient descent on the pooled records until it converges, judged on the test records. */
export async function pooledBaseline(model: Model, pooled: Dataset, test: Dataset): Promise<Quality> {
	const trainer = await createTrainer({ model });
	try {
		let best: { readonly parameters: Float32Array; readonly loss: number } | undefined;
		for (const learningRate of LEARNING_RATES) {
			const trained = await converged(trainer, model, pooled, learningRate);
			if (best === undefined || trained.loss < best.loss) best = trained;
		}
		return await evaluated(trainer, best!.parameters, test);
	} finally {
		await trainer.dispose();
	}
}

async function converged(
	trainer: Trainer,
	model: Model,
	data: Dataset,
	learningRate: number,
): Promise<{ parameters: Float32Array; loss: number }> {
	let parameters = initialParameters(model, randomBytes(32));
	let { loss } = await evaluated(trainer, parameters, data);
	const startedMs = performance.now();
	for (let epochs = 0; epochs < MOST_EPOCHS; epochs += EPOCHS_BETWEEN_LOOKS) {
		if (performance.now() - startedMs > MOST_MS) break;
		const plan = { epochs: EPOCHS_BETWEEN_LOOKS, batchSize: BATCH_SIZE, learningRate };
		const { delta } = await trainLocally(trainer, parameters, data, plan);
		const next = parameters.map((value, i) => value + delta[i]!);
		const { loss: nextLoss } = await evaluated(trainer, next, data);
		if (nextLoss >= loss) break;
		const improvement = 1 - nextLoss / loss;
		parameters = next;
		loss = nextLoss;
		if (improvement < LEAST_IMPROVEMENT) break;
	}
	return { parameters, loss };
}

async function evaluated(trainer: Trainer, parameters: Float32Array, data: Dataset): Promise<Quality> {
	const { correct, lossSum, examples } = await trainer.evaluate(parameters, data, LOSS_BOUND);
	return { accuracy: correct / examples, loss: lossSum / examples };
}
