/** The privacy of a training job as its file states it, and which of its keys go together. */
import { z } from "zod";
import type { TrainingChoice } from "./trainingChoice.ts";

const epsilon = z.number().min(0.01).max(100);
const delta = z.number().positive().max(1e-2);
const norm = z.number().positive().max(1e6);
const samplingRate = z.number().positive().max(1);

const distributedGaussianSchema = z.strictObject({
	mechanism: z
		.literal("distributed_gaussian")
		.describe("noise added in shares under the masks: nobody ever sees an un-noised sum"),
	server_side: z
		.boolean()
		.optional()
		.describe(
			"a statement that is checked: true with distributed_gaussian, where noise is added in shares to the sum that nobody holds without it; false with site_gaussian",
		),
	epsilon,
	delta,
	unit: z
		.enum(["record", "client"])
		.default("record")
		.describe("whom epsilon protects: each record, or each organization's whole part in the job"),
	clippingNorm: norm
		.default(1)
		.describe("L2 bound of one record's gradient; with unit client of an organization's update"),
	clipping: z
		.enum(["flat", "per_layer", "automatic", "adaptive"])
		.default("flat")
		.describe(
			"flat: one norm; per_layer: clippingNorm spread over the layers; automatic: every gradient scaled to the norm; adaptive: the norm follows a quantile of the gradients' norms, from clippingNorm on",
		),
	targetQuantile: z
		.number()
		.min(0.05)
		.max(0.95)
		.optional()
		.describe("adaptive clipping: share of the gradients that should stay whole; 0.5 by default"),
	clippingRate: z
		.number()
		.positive()
		.max(1)
		.optional()
		.describe("adaptive clipping: how fast the norm moves, in its logarithm; 0.2 by default"),
	samplingRate: samplingRate
		.optional()
		.describe("probability with which each record joins a round; not with unit client or correlated noise"),
	noiseSchedule: z
		.enum(["constant", "linear", "geometric", "adaptive"])
		.default("constant")
		.describe(
			"how the noise moves from the first round to the last, in at most 8 steps; adaptive: less of it each time the released loss stalls",
		),
	noiseRatio: z
		.number()
		.min(0.1)
		.max(10)
		.optional()
		.describe(
			"noise of the last round over that of the first: below 1 decreasing, above 1 increasing; adaptive: the least noise over the most, at most 0.9",
		),
	correlation: z
		.enum(["none", "tree", "banded"])
		.default("none")
		.describe(
			"noise correlated over rounds (DP-FTRL), for when records cannot be sampled: each takes part once in minimumSeparation rounds",
		),
	minimumSeparation: z
		.int()
		.min(2)
		.max(4096)
		.optional()
		.describe("correlated noise: rounds from one use of a record to its next"),
	bands: z
		.int()
		.min(1)
		.max(256)
		.optional()
		.describe("banded noise: rounds that one draw of noise is spread over; up to 32 by default"),
});

const siteGaussianSchema = z.strictObject({
	mechanism: z
		.literal("site_gaussian")
		.describe(
			"every site adds all the noise itself: no other party is trusted (fedavg with private local steps)",
		),
	server_side: z.boolean().optional(),
	epsilon,
	delta,
	unit: z.literal("record").default("record"),
	clippingNorm: norm.default(1),
	clipping: z.enum(["flat", "per_layer", "automatic"]).default("flat"),
	samplingRate,
});

export const privacySchema = z.discriminatedUnion("mechanism", [
	distributedGaussianSchema,
	siteGaussianSchema,
	z.strictObject({ mechanism: z.literal("none") }),
]);

export type PrivacyChoice = z.infer<typeof privacySchema>;
export type SharedNoise = z.infer<typeof distributedGaussianSchema>;

/** Below it there is something to choose between. */
const LARGEST_ADAPTIVE_RATIO = 0.9;
const LEAST_ADAPTIVE_EVALUATIONS = 4;

/** What the rules below look at of the training part. */
interface TrainingKeys {
	readonly algorithm: TrainingChoice["algorithm"];
	readonly rounds: number;
	readonly evaluateEveryRounds: number;
	readonly expectedBatch?: number | undefined;
}

/** The first contradiction between the keys, with the way out; undefined where there is none. */
export function contradiction(privacy: PrivacyChoice, training: TrainingKeys): string | undefined {
	switch (privacy.mechanism) {
		case "none":
			return undefined;
		case "site_gaussian":
			if (training.algorithm === "fednova")
				return "training.algorithm fednova evens out different numbers of local steps, and with privacy.mechanism site_gaussian all sites take the same number: use fedavg";
			if (training.algorithm === "fedsgd")
				return "privacy.mechanism site_gaussian needs training.algorithm fedavg; for fedsgd use distributed_gaussian";
			if (privacy.server_side === true)
				return "privacy.server_side true contradicts site_gaussian, where every site adds all the noise itself; use distributed_gaussian";
			return undefined;
		case "distributed_gaussian":
			return contradictionInShares(privacy, training);
	}
}

function contradictionInShares(privacy: SharedNoise, training: TrainingKeys): string | undefined {
	const { unit, clipping, noiseSchedule, correlation } = privacy;
	if (privacy.server_side === false)
		return "privacy.server_side false contradicts distributed_gaussian, whose noise is added in shares under the masks; use site_gaussian";
	if (clipping !== "adaptive" && (privacy.targetQuantile ?? privacy.clippingRate) !== undefined)
		return "privacy.targetQuantile and clippingRate belong to privacy.clipping adaptive";
	if (noiseSchedule === "constant" && privacy.noiseRatio !== undefined)
		return "privacy.noiseRatio needs privacy.noiseSchedule linear, geometric or adaptive";
	if (noiseSchedule !== "constant" && privacy.noiseRatio === undefined)
		return `privacy.noiseSchedule ${noiseSchedule} needs privacy.noiseRatio`;
	if (noiseSchedule === "adaptive" && unit === "client")
		return "privacy.noiseSchedule adaptive needs privacy.unit record";
	if (correlation === "none" && (privacy.minimumSeparation ?? privacy.bands) !== undefined)
		return "privacy.minimumSeparation and bands belong to privacy.correlation tree or banded";
	return unit === "client" ? clientContradiction(privacy, training) : recordContradiction(privacy, training);
}

function clientContradiction(privacy: SharedNoise, training: TrainingKeys): string | undefined {
	if (privacy.samplingRate !== undefined)
		return "privacy.samplingRate means nothing with privacy.unit client: who takes part is known to all, so no amplification is claimed";
	if (training.expectedBatch !== undefined)
		return "training.expectedBatch means nothing with privacy.unit client: sums are divided by the number of organizations";
	if (privacy.correlation !== "none")
		return "privacy.correlation needs privacy.unit record: an organization takes part in every round";
	if (privacy.clipping === "per_layer" || privacy.clipping === "automatic")
		return `privacy.clipping ${privacy.clipping} bounds single gradients; with privacy.unit client use flat or adaptive`;
	return undefined;
}

function recordContradiction(privacy: SharedNoise, training: TrainingKeys): string | undefined {
	if (training.algorithm !== "fedsgd")
		return "privacy.mechanism distributed_gaussian bounds one example's gradient, so it needs training.algorithm fedsgd; for local epochs use site_gaussian, or privacy.unit client";
	if (training.expectedBatch === undefined)
		return "training.expectedBatch is needed with distributed_gaussian: a public number near the records that join a round, samplingRate x all of them";
	if (privacy.correlation === "none")
		return privacy.samplingRate === undefined
			? "privacy.samplingRate is needed with distributed_gaussian: the probability with which each record joins a round"
			: adaptiveContradiction(privacy, training);
	if (privacy.samplingRate !== undefined)
		return "privacy.samplingRate contradicts privacy.correlation: each record takes part once in minimumSeparation rounds, and no sampling is claimed";
	if (privacy.minimumSeparation === undefined)
		return `privacy.correlation ${privacy.correlation} needs privacy.minimumSeparation`;
	if (privacy.noiseSchedule !== "constant")
		return "privacy.noiseSchedule must be constant with correlated noise";
	if (privacy.correlation === "tree" && privacy.bands !== undefined)
		return "privacy.bands belongs to privacy.correlation banded";
	if ((privacy.bands ?? 1) > privacy.minimumSeparation)
		return "privacy.bands must not be above privacy.minimumSeparation: a record's rounds would overlap";
	return undefined;
}

function adaptiveContradiction(privacy: SharedNoise, training: TrainingKeys): string | undefined {
	if (privacy.noiseSchedule !== "adaptive") return undefined;
	if ((privacy.noiseRatio ?? 1) > LARGEST_ADAPTIVE_RATIO)
		return `privacy.noiseRatio must be at most ${LARGEST_ADAPTIVE_RATIO} with privacy.noiseSchedule adaptive, which lowers the noise when the loss stalls`;
	if (training.rounds < LEAST_ADAPTIVE_EVALUATIONS * training.evaluateEveryRounds)
		return `privacy.noiseSchedule adaptive decides by evaluations and needs at least ${LEAST_ADAPTIVE_EVALUATIONS} of them: more training.rounds, or a smaller training.evaluateEveryRounds`;
	return undefined;
}

/** The share of a site's records in one round, on average; 1 where each takes part in every round. */
export function recordRate(privacy: Exclude<PrivacyChoice, { mechanism: "none" }>): number {
	if (privacy.mechanism === "site_gaussian") return privacy.samplingRate;
	return privacy.samplingRate ?? 1 / (privacy.minimumSeparation ?? 1);
}
