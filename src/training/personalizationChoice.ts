/**
 * How a job file asks for models of the organizations' own beside the common one, and which ways go
 * with which privacy. What is personal is computed, kept and evaluated at its organization alone.
 */
import { z } from "zod";
import type { PrivacyChoice } from "./privacyChoice.ts";
import type { TrainingChoice } from "./trainingChoice.ts";

/** Clusters are aggregated side by side, so each costs a whole vector. */
const MOST_CLUSTERS = 4;

const epochs = z
	.int()
	.min(1)
	.max(100)
	.default(1)
	.describe("passes over the site's own records for the personal model, each time it is trained");
const learningRate = z
	.number()
	.positive()
	.max(100)
	.optional()
	.describe("step size of the personal model; training.localLearningRate by default");
const ownLayers = z
	.int()
	.min(1)
	.max(64)
	.default(1)
	.describe("how many of the last layers with parameters stay at each site");

export const personalizationSchema = z.discriminatedUnion("method", [
	z.strictObject({
		method: z
			.literal("fine_tuning")
			.describe("when the job is complete every site goes on training the common model for itself"),
		epochs,
		learningRate,
	}),
	z.strictObject({
		method: z
			.literal("fedbn")
			.describe("scales and biases of normalization layers (layerNorm, groupNorm) stay at each site"),
	}),
	z.strictObject({
		method: z.literal("fedper").describe("the last layers stay at each site, all are trained together"),
		ownLayers,
	}),
	z.strictObject({
		method: z
			.literal("fedrep")
			.describe(
				"the last layers stay at each site and are trained first, then the shared ones with those fixed",
			),
		ownLayers,
		ownEpochs: z
			.int()
			.min(1)
			.max(100)
			.default(1)
			.describe("passes over the site's own records for its own layers each round"),
	}),
	z.strictObject({
		method: z
			.literal("ditto")
			.describe("a personal model beside the common one, trained each round and pulled towards it"),
		weight: z
			.number()
			.min(0)
			.max(1000)
			.default(0.1)
			.describe("lambda, how strongly the personal model is pulled towards the common one"),
		epochs,
		learningRate,
	}),
	z.strictObject({
		method: z
			.literal("pfedme")
			.describe("local steps towards personal models that solve a proximal problem around the shared one"),
		weight: z
			.number()
			.positive()
			.max(1000)
			.default(5)
			.describe(
				"lambda: the larger, the closer the personal models stay to the shared one; training.localLearningRate x weight must not be above 1",
			),
		innerSteps: z
			.int()
			.min(1)
			.max(100)
			.default(5)
			.describe("steps that approach a personal model, for each local step"),
		learningRate,
	}),
	z.strictObject({
		method: z
			.literal("clustered")
			.describe(
				"several common models; each round every site trains the one that fits it best, hidden in the sum",
			),
		clusters: z
			.int()
			.min(2)
			.max(MOST_CLUSTERS)
			.default(2)
			.describe("common models; each costs a whole vector"),
		jointRounds: z
			.int()
			.min(0)
			.max(100_000)
			.optional()
			.describe(
				"rounds that train all common models alike before they part, the last of them only measuring; a quarter of the rounds by default",
			),
	}),
]);

export type PersonalizationChoice = z.infer<typeof personalizationSchema>;

/** What a job without the key does. */
export type Personalization = PersonalizationChoice | undefined;

/** The first contradiction with the other keys, with the reason and the way out; undefined where there is none. */
export function personalizationContradiction(
	personalization: PersonalizationChoice,
	training: TrainingChoice,
	privacy: PrivacyChoice,
): string | undefined {
	const { method } = personalization;
	const prefix = `personalization.method ${method}`;
	const protectsRecords = privacy.mechanism !== "none" && privacy.unit === "record";
	const inShares = privacy.mechanism === "distributed_gaussian";
	switch (method) {
		case "fine_tuning":
		case "ditto":
			return undefined;
		case "fedbn":
		case "fedper":
		case "fedrep":
			if (protectsRecords && inShares)
				return `${prefix} does not go with distributed_gaussian for records: a site's own layers come of all its records, so one record would move the shared gradients of all the others, which no clipping bounds; use privacy.unit client, or site_gaussian with fedper or fedbn, or personalization.method ditto`;
			if (method === "fedrep" && protectsRecords)
				return `${prefix} does not go with site_gaussian: the passes for a site's own layers would be private steps to be charged beside the others; use fedper`;
			if (training.algorithm === "fedsgd")
				return `${prefix} needs local steps, which train a site's own layers: training.algorithm fedavg, fedprox, scaffold or fednova`;
			return undefined;
		case "pfedme":
			if (protectsRecords)
				return `${prefix} does not protect records: its shared steps follow a personal model that is trained on them without noise; use privacy.unit client, or personalization.method ditto, whose personal model nothing follows`;
			if (training.algorithm !== "fedavg")
				return `${prefix} brings local steps of its own: training.algorithm must be fedavg`;
			if (training.localLearningRate * personalization.weight > 1)
				return "training.localLearningRate x personalization.weight must not be above 1 with pfedme: the shared model would step over the personal ones";
			if (training.localMomentum > 0)
				return `training.localMomentum does not go with ${prefix}, whose local steps are the paper's plain ones`;
			return undefined;
		case "clustered":
			if (protectsRecords)
				return `${prefix} does not protect records: one record can change which cluster its site chooses, and with it the whole vector; use privacy.unit client`;
			if (training.algorithm === "scaffold" || training.algorithm === "fednova")
				return `${prefix} needs training.algorithm fedsgd, fedavg or fedprox: ${training.algorithm} keeps one account for one common model`;
			return undefined;
	}
}

/** Whether the site keeps layers of its own, which are in no sum. */
export function keepsOwnLayers(personalization: Personalization): boolean {
	return ["fedbn", "fedper", "fedrep"].includes(personalization?.method ?? "");
}

/** Whether a site keeps anything of the job for itself: a model or layers, a choice, a control variate. */
export function keepsSiteState(job: {
	readonly training: Pick<TrainingChoice, "algorithm">;
	readonly personalization?: Personalization;
}): boolean {
	return job.training.algorithm === "scaffold" || job.personalization !== undefined;
}

/**
 * What becomes of the common models of a clustered job in a round: all are moved alike (`joint`); their
 * mean losses are measured and nothing moves (`measured`); each site chooses one by how much better it
 * does here than on average (`parting`); each chooses the best (`apart`). Without clusters `joint`.
 */
export type ClusterPhase = "joint" | "measured" | "parting" | "apart";

export function clusterPhase(
	personalization: Personalization,
	{ rounds }: Pick<TrainingChoice, "rounds">,
	round: number,
): ClusterPhase {
	if (personalization?.method !== "clustered") return "joint";
	const joint = personalization.jointRounds ?? Math.ceil(rounds / 4);
	if (round < joint) return round < joint - 1 ? "joint" : "measured";
	return round === joint && joint > 0 ? "parting" : "apart";
}

/** Common models that are aggregated side by side. */
export function clustersOf(personalization: Personalization): number {
	return personalization?.method === "clustered" ? personalization.clusters : 1;
}
