/** How a job file says that a model is trained: the algorithm, the common optimizer, the steps inside a site. */
import { z } from "zod";
import { gossipSchema } from "../gossip/gossipChoice.ts";
import type { LocalTrainingPlan } from "../learning/localTraining.ts";
import type { OptimizerSettings } from "../learning/optimizer.ts";

export const trainingSchema = z.strictObject({
	algorithm: z
		.enum(["fedsgd", "fedavg", "fedprox", "scaffold", "fednova"])
		.default("fedsgd")
		.describe(
			"fedsgd: one summed gradient a round; fedavg: local epochs, averaged updates; and against drift between sites fedprox: steps pulled towards the common model; scaffold: control variates; fednova: updates by step",
		),
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
		.describe("local steps: passes over a site's own records each round"),
	localLearningRate: z
		.number()
		.positive()
		.max(100)
		.default(0.1)
		.describe("local steps: step size inside a site"),
	localLearningRateDecay: z
		.number()
		.min(0.5)
		.max(1)
		.default(1)
		.describe("local steps: factor on the step size inside a site from round to round"),
	localMomentum: z
		.number()
		.min(0)
		.lt(1)
		.default(0)
		.describe("local steps: momentum inside a site, which begins anew each round"),
	localBatch: z.int().min(1).max(8192).default(64).describe("local steps: records a step"),
	proximalWeight: z
		.number()
		.positive()
		.max(1000)
		.optional()
		.describe("fedprox: mu, how strongly local steps are pulled back; 0.1 by default"),
	expectedBatch: z
		.number()
		.positive()
		.max(1e9)
		.optional()
		.describe(
			"fedsgd with privacy: public number that summed gradients are divided by; about samplingRate x all records",
		),
	evaluateEveryRounds: z.int().min(1).max(100_000).default(1),
	schedule: z
		.enum(["synchronous", "buffered", "gossip"])
		.default("synchronous")
		.describe(
			"synchronous: all that are asked train from the same model; buffered: sites train at their own pace, and a round takes the first bufferSize contributions that are ready; gossip: no coordinator and no sum, each site averages its model with its neighbours'",
		),
	gossip: gossipSchema.optional().describe("gossip: who exchanges with whom, and how far a step goes"),
	bufferSize: z.int().min(3).max(1024).optional().describe("buffered: contributions that a round takes"),
	maximumStaleness: z
		.int()
		.min(0)
		.max(1000)
		.optional()
		.describe("buffered: rounds that a contribution may have missed while it was made; 10 by default"),
});

export type TrainingChoice = z.infer<typeof trainingSchema>;

/** The first contradiction between the keys, with the way out; undefined where there is none. */
export function trainingContradiction(training: TrainingChoice): string | undefined {
	const { algorithm, optimizer, secondMomentDecay, optimizerEpsilon } = training;
	if (optimizer === "sgd" && (secondMomentDecay ?? optimizerEpsilon) !== undefined)
		return "training.secondMomentDecay and optimizerEpsilon belong to training.optimizer adam, yogi or adagrad";
	if (optimizer === "adagrad" && secondMomentDecay !== undefined)
		return "training.secondMomentDecay belongs to training.optimizer adam or yogi: adagrad forgets nothing";
	if (algorithm !== "fedprox" && training.proximalWeight !== undefined)
		return "training.proximalWeight belongs to training.algorithm fedprox";
	if (algorithm === "fedsgd" && (training.localMomentum > 0 || training.localLearningRateDecay < 1))
		return "training.localMomentum and localLearningRateDecay need local steps: training.algorithm fedavg, fedprox, scaffold or fednova";
	if (algorithm === "scaffold" && training.localMomentum > 0)
		return "training.localMomentum does not go with training.algorithm scaffold, whose control variates are the mean gradient of plain steps";
	return undefined;
}

/** How a site steps in a round; for algorithms with local steps. */
export function localStepsOf(
	training: TrainingChoice,
	round: number,
	common: Float32Array,
): Pick<LocalTrainingPlan, "epochs" | "batchSize" | "learningRate" | "momentum" | "proximal"> {
	const { algorithm, localEpochs: epochs, localBatch: batchSize, localMomentum: momentum } = training;
	const learningRate = training.localLearningRate * training.localLearningRateDecay ** round;
	return {
		epochs,
		batchSize,
		learningRate,
		momentum,
		...(algorithm === "fedprox"
			? { proximal: { weight: training.proximalWeight ?? 0.1, anchor: common } }
			: {}),
	};
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
