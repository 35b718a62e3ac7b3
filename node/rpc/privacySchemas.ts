/** The shapes of the planning and auditing methods. Multipliers are standard deviations over L2 sensitivity. */
import { z } from "zod";
import { allocationStrategies } from "./allocationStrategies.ts";
import { jsonObject, shortName, time } from "./schemas.ts";

const positive = z.number().positive().finite();
const probability = z.number().gt(0).lte(1);
const rounds = z.int().min(1).max(10_000_000);
const target = { epsilon: positive.max(1000), delta: z.number().gt(0).lt(1) };
/** Infinity, which JSON does not have, is left out. */
const nonnegative = z.number().nonnegative();

const strategy = z.enum(allocationStrategies);

export const planRequest = z.strictObject({
	...target,
	strategy: strategy.default("optimal"),
	/** Of the geometric strategy: each round's share of the budget over that of the round before. */
	ratio: positive.default(1.05),
	phases: z
		.array(
			z.strictObject({
				name: z.string().min(1).max(63),
				rounds: rounds.default(1),
				samplingProbability: probability.default(1),
				/** In the units that the noise is counted in. */
				sensitivity: positive.default(1),
				/** Utility lost per round for each unit of noise variance. */
				weight: positive.default(1),
			}),
		)
		.min(1)
		.max(64),
});

export const allocation = z.object({
	phases: z.array(
		z.object({
			name: z.string(),
			rounds,
			noiseMultiplier: positive,
			sigma: positive,
			/** What the phase would cost alone; phases' figures do not add up. */
			epsilonAlone: nonnegative,
		}),
	),
	epsilon: nonnegative,
	delta: z.number(),
	loss: nonnegative,
});

/** A round of private training: Poisson sample, Gaussian noise. */
export const roundsRequest = z.strictObject({
	dataset: shortName,
	samplingProbability: probability,
	noiseMultiplier: positive,
	rounds,
});

export const cost = z.object({
	/** Epsilon spent now and after those rounds, at the account's delta. */
	before: nonnegative,
	after: nonnegative,
	cost: nonnegative,
	/** In the data set's account and every one above. */
	fits: z.boolean(),
	/** Rounds of this kind that the data set's account has room for. */
	largestRounds: z.int().nonnegative(),
});

export const forecastRequest = z.strictObject({
	dataset: shortName,
	/** The past that stands for the future. */
	windowDays: z
		.number()
		.min(1 / 24)
		.max(3650)
		.default(30),
});

export const forecastView = z.object({
	/** Less what is delegated. */
	epsilonLimit: nonnegative,
	epsilonSpent: nonnegative,
	recentCharges: z.int().nonnegative(),
	/** Absent when nothing was charged in the window, or the budget lasts beyond the horizon. */
	exhaustedAt: time.optional(),
	course: z.array(z.object({ at: time, epsilon: nonnegative })),
});

export const optimizeRequest = z.strictObject({
	...target,
	/** Over all sites: public, or a public estimate. */
	records: z.int().min(1).max(1e12),
	parameters: z.int().min(1).max(1e9),
	/** Noise-to-signal ratio wanted at most. */
	utilityLimit: positive.default(1),
	clipping: z
		.array(z.strictObject({ norm: positive, signal: positive }))
		.min(1)
		.max(16)
		.default([{ norm: 1, signal: 0.3 }]),
	/** Gradients of single records over the whole job, at most; default 100 passes over the records. */
	largestWork: positive.optional(),
	samplingProbabilities: z.array(probability).min(1).max(16).default([0.001, 0.005, 0.02, 0.1, 0.5]),
	rounds: z.array(rounds).min(1).max(16).default([30, 100, 300, 1000, 3000]),
	/** Epsilons for which the best setting is listed, too. */
	frontier: z.array(positive.max(1000)).max(16).default([]),
});

const setting = z.object({
	samplingProbability: probability,
	rounds,
	clippingNorm: positive,
	noiseMultiplier: positive,
	noiseToSignal: nonnegative,
});

export const optimization = z.object({
	best: setting,
	meetsLimit: z.boolean(),
	/** Above 1: the limit is missed by this factor. */
	excess: nonnegative,
	/** What would meet the limit, everything else kept. */
	wouldMeet: z.object({ records: z.int(), epsilon: positive.optional() }).optional(),
	/** Settings that no other beats in epsilon and noise. */
	frontier: z.array(setting.extend({ epsilon: positive })),
});

export const auditRequest = z.strictObject({
	dataset: shortName,
	/** The job's specification; its own data set name is replaced by this one. */
	spec: jsonObject,
	/** Who looks: at every sum that rounds open, or at the final model alone. */
	attacker: z.enum(["sums", "model"]).default("sums"),
	canaries: z.int().min(50).max(100_000).default(2000),
	/** Rounds to run; default the job's, at most 200. */
	rounds: z.int().min(1).max(10_000).optional(),
	/** Sites assumed in the sum, all honest but `corruption`. */
	participants: z.int().min(1).max(64).default(3),
	corruption: z.int().min(0).max(63).default(0),
	/** Probability of calling a sound mechanism a violation. */
	significance: z.number().gt(0).lt(0.5).default(0.01),
});

const rate = z.object({ measured: z.number(), lower: z.number(), upper: z.number() });

export const auditView = z.object({
	canaries: z.int(),
	rounds,
	significance: z.number(),
	delta: z.number(),
	claimedEpsilon: nonnegative,
	/** The larger of the lower bounds below. */
	epsilonLower: nonnegative,
	violated: z.boolean(),
	oneRun: z.object({
		guesses: z.int(),
		correct: z.int(),
		epsilonLower: nonnegative,
		refutesClaim: z.boolean(),
	}),
	independent: z.object({
		epsilonLower: nonnegative,
		gaussianEpsilonLower: nonnegative,
		refutesClaim: z.boolean(),
		truePositiveRate: rate,
		falsePositiveRate: rate,
	}),
});
