/**
 * Local training of pFedMe (Dinh et al. 2020, arXiv:2006.08848, algorithm 1): every local step finds a
 * personal model near the shared one, and moves the shared one towards it.
 */
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { type Batch, takeRows } from "./batch.ts";
import { Descent } from "./localDescent.ts";
import { difference, type LocalTrainingPlan, type LocalUpdate, shuffledRows } from "./localTraining.ts";
import type { Trainer } from "./trainer.ts";

export interface ProximalPlan extends Pick<LocalTrainingPlan, "epochs" | "batchSize" | "learningRate"> {
	/** lambda, > 0; learningRate x lambda at most 1, or the shared model would step over the personal ones. */
	readonly weight: number;
	/** Gradient steps towards a personal model, >= 1, of this size. */
	readonly innerSteps: number;
	readonly innerLearningRate: number;
}

/**
 * For each batch: theta approaches argmin f(theta; batch) + lambda/2 |theta - w|^2 by gradient steps,
 * from the theta before, then w <- w - learningRate lambda (w - theta).
 * @returns the difference of w, and the last theta: the personal model
 * @throws AlthingError `learning.invalid_argument`, `learning.not_finite`
 */
export async function trainByProximalModels(
	trainer: Trainer,
	common: Float32Array,
	data: Batch,
	plan: ProximalPlan,
	random: (length: number) => Uint8Array = randomBytes,
): Promise<LocalUpdate & { readonly personal: Float32Array }> {
	const { epochs, batchSize, weight, innerSteps, innerLearningRate } = plan;
	const rate = plan.learningRate * weight;
	if (!(rate > 0 && rate <= 1)) {
		throw new AlthingError(
			"learning.invalid_argument",
			`The local learning rate times the weight of the proximal term must be above 0 and at most 1, not ${rate}.`,
		);
	}
	const shared = common.slice();
	const personal = common.slice();
	const descent = new Descent(
		{ learningRate: innerLearningRate, proximal: { weight, anchor: shared } },
		personal,
	);
	let steps = 0;
	for (let epoch = 0; epoch < epochs; epoch++) {
		const order = shuffledRows(data.rows, random);
		for (let first = 0; first < order.length; first += batchSize) {
			const batch = takeRows(data, order.subarray(first, first + batchSize));
			for (let inner = 0; inner < innerSteps; inner++)
				descent.step((await trainer.gradientSum(personal, batch)).sum, batch.rows);
			for (let i = 0; i < shared.length; i++) shared[i]! -= rate * (shared[i]! - personal[i]!);
			steps += 1;
		}
	}
	return { delta: difference(shared, common), personal, steps };
}
