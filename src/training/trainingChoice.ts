/** How a job file says that a model is trained: the algorithm, the common optimizer, the steps inside a site. */
import { z } from "zod";
import type { OptimizerSettings } from "../learning/optimizer.ts";

export const trainingSchema = z.strictObject({
	algorithm: z
		.enum(["fedsgd", "fedavg"])
		.default("fedsgd")
		.describe("fedsgd: one summed gradient a round; fedavg: local epochs, averaged updates"),
	rounds: z.int().min(1).max(100_000),
	serverLearningRate: z.number().positive().max(1000).default(1).describe("step size of the common model"),
	optimizer: z
		.enum(["sgd", "adam", "yogi", "adagrad"])
		.default("sgd")
		.describe(
			"how released sums move the common model; with fedavg: FedAvg, or with momentum FedAvgM; FedAdam; FedYogi; FedAdagrad",
		),
	momentum: z
		.number()
		.min(0)
		.lt(1)
		.default(0)
		.describe("momentum of the common optimizer; beta1 of adam and yogi, where 0.9 is usual"),
	secondMomentDecay: z
		.number()
		.min(0.5)
		.lt(1)
		.optional()
		.describe("adam and yogi: beta2, the decay of the mean square; 0.999 by default"),
	optimizerEpsilon: z
		.number()
		.positive()
		.max(1)
		.optional()
		.describe(
			"adam, yogi, adagrad: added to the root of the squares; 1e-8 by default, 1e-3 is usual with fedavg",
		),
	localEpochs: z
		.int()
		.min(1)
		.max(100)
		.default(1)
		.describe("fedavg: passes over a site's own records each round"),
	localLearningRate: z.number().positive().max(100).default(0.1).describe("fedavg: step size inside a site"),
	localBatch: z.int().min(1).max(8192).default(64).describe("fedavg: records a local step"),
	expectedBatch: z
		.number()
		.positive()
		.max(1e9)
		.optional()
		.describe(
			"fedsgd with privacy: public number that summed gradients are divided by; about samplingRate x all records",
		),
	evaluateEveryRounds: z.int().min(1).max(100_000).default(1),
});

export type TrainingChoice = z.infer<typeof trainingSchema>;

/** The first contradiction between the keys, with the way out; undefined where there is none. */
export function trainingContradiction(training: TrainingChoice): string | undefined {
	const { optimizer, secondMomentDecay, optimizerEpsilon } = training;
	if (optimizer === "sgd" && (secondMomentDecay ?? optimizerEpsilon) !== undefined)
		return "training.secondMomentDecay and optimizerEpsilon belong to training.optimizer adam, yogi or adagrad";
	if (optimizer === "adagrad" && secondMomentDecay !== undefined)
		return "training.secondMomentDecay belongs to training.optimizer adam or yogi: adagrad forgets nothing";
	return undefined;
}

/** The common optimizer of a job. */
export function optimizerOf({
	training,
}: {
	readonly training: Pick<
		TrainingChoice,
		"optimizer" | "serverLearningRate" | "momentum" | "secondMomentDecay" | "optimizerEpsilon"
	>;
}): OptimizerSettings {
	const { serverLearningRate: learningRate, momentum, optimizer: rule } = training;
	if (rule === "sgd") return { learningRate, momentum };
	const { secondMomentDecay = 0.999, optimizerEpsilon: epsilon = 1e-8 } = training;
	return { learningRate, momentum, adaptive: { rule, secondMomentDecay, epsilon } };
}
