/** Gossip averaging as a job file states it, and which keys go with it. */
import { z } from "zod";

export const gossipSchema = z.strictObject({
	degree: z
		.int()
		.min(2)
		.max(64)
		.refine((degree) => degree % 2 === 0, "must be even")
		.default(4)
		.describe(
			"neighbours that each node exchanges models with; all others, where there are no more than one above",
		),
	radius: z
		.number()
		.positive()
		.max(1e9)
		.optional()
		.describe(
			"L2 bound of the step towards one neighbour, before its weight; by default 4 x serverLearningRate x aggregation.updateNormBound",
		),
});

export type GossipChoice = z.infer<typeof gossipSchema>;

/** What the rules look at of a job. */
interface JobKeys {
	readonly training: {
		readonly schedule: string;
		readonly algorithm: string;
		readonly gossip?: GossipChoice | undefined;
		readonly optimizer: string;
		readonly momentum: number;
		readonly serverLearningRate: number;
	};
	readonly privacy: { readonly mechanism: string };
	readonly aggregation: {
		readonly minimumSurvivors?: number | undefined;
		readonly updateNormBound: number;
	};
}

/** Parts of a job that are about a sum of all participants. */
const ABOUT_SUMS = ["personalization", "selection", "compression", "robustness"] as const;
/** Their updates are corrected by what all participants did. */
const CORRECTED = ["scaffold", "fednova"];

/** The first contradiction, with the way out; undefined where there is none. */
export function gossipContradiction(
	spec: JobKeys & Partial<Record<(typeof ABOUT_SUMS)[number], unknown>>,
): string | undefined {
	const { training, privacy, aggregation } = spec;
	if (training.schedule !== "gossip")
		return training.gossip === undefined ? undefined : "training.gossip needs training.schedule gossip";
	if (privacy.mechanism === "distributed_gaussian")
		return "training.schedule gossip has no sum to add noise in shares to: use privacy.mechanism site_gaussian, where each site adds all the noise to what it releases";
	if (CORRECTED.includes(training.algorithm))
		return `training.algorithm ${training.algorithm} is corrected by a sum of all participants, which training.schedule gossip does without: use fedavg or fedprox`;
	if (training.optimizer !== "sgd" || training.momentum !== 0)
		return "training.schedule gossip has no common optimizer: leave training.optimizer and momentum out";
	if (aggregation.minimumSurvivors !== undefined)
		return "aggregation.minimumSurvivors means nothing with training.schedule gossip: no sum is opened";
	const other = ABOUT_SUMS.find((key) => spec[key] !== undefined);
	return other === undefined
		? undefined
		: `${other} is about a sum of all participants, which training.schedule gossip does without`;
}

/** The bound of a step towards one neighbour. */
export function mixingRadius({ training, aggregation }: Pick<JobKeys, "training" | "aggregation">): number {
	return training.gossip?.radius ?? 4 * training.serverLearningRate * aggregation.updateNormBound;
}

export function gossipDegree({ training }: Pick<JobKeys, "training">): number {
	return training.gossip?.degree ?? 4;
}
