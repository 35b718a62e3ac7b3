/**
 * How a training job stands up to participants that send wrong updates, as its file states it.
 * Three modes work on what secure aggregation can show (nothing, sums of buckets, sketches); `clear`
 * shows every participant's vector to all the others and may use any rule; `none` is the plain mean.
 */
import { z } from "zod";

const attackers = z
	.int()
	.min(1)
	.max(31)
	.describe("f: how many participants may send wrong updates; every rule states how many it stands");
const clientMomentum = z
	.number()
	.min(0)
	.lt(1)
	.default(0.9)
	.describe(
		"momentum that each site keeps of its own updates before it sends them: honest sites then differ less",
	);

const noneSchema = z.strictObject({
	mode: z
		.literal("none")
		.describe("the plain mean, by numbers of records where nothing is private: one participant can ruin it"),
});

const normBoundSchema = z.strictObject({
	mode: z
		.literal("norm_bound")
		.describe("secure aggregation; every update is held to a public L2 bound, then the mean"),
	largestWeight: z
		.int()
		.min(2)
		.max(100_000)
		.optional()
		.describe(
			"without privacy: records up to which a site weighs more the more it has, no more than a few times the mean; without the key all weigh alike",
		),
	clientMomentum,
});

const bucketedSchema = z.strictObject({
	mode: z
		.literal("bucketed")
		.describe(
			"secure aggregation of small buckets, dealt anew for each round, whose sums are seen; the bound of norm_bound under them, a robust rule over the bucket means",
		),
	attackers,
	bucketSize: z
		.int()
		.min(2)
		.max(64)
		.describe(
			"participants whose sum is seen, two more than the charter's corrupt members at least: fewer tell more of each",
		),
	rule: z
		.enum(["coordinate_median", "trimmed_mean", "geometric_median"])
		.describe("over the means of the buckets: 2 attackers + 1 of them at least"),
	clientMomentum,
});

const strictSchema = z.strictObject({
	mode: z
		.literal("strict")
		.describe(
			"secure aggregation of the participants that a score over shared sketches of their updates selects",
		),
	attackers,
	clientMomentum,
});

const reputationSchema = z.strictObject({
	mode: z
		.literal("reputation")
		.describe(
			"norm_bound, and who has pulled against the common model, or ahead of it, for rounds is left out of the mean",
		),
	attackers,
	clientMomentum,
});

/** Rules over the vectors themselves. */
export const CLEAR_RULES = [
	"coordinate_median",
	"trimmed_mean",
	"krum",
	"multi_krum",
	"bulyan",
	"geometric_median",
	"centered_clipping",
	"norm_clipping",
	"spectral",
	"trust_score",
] as const;
export type ClearRule = (typeof CLEAR_RULES)[number];

const clearSchema = z.strictObject({
	mode: z
		.literal("clear")
		.describe(
			"no secure aggregation: every participant sees every vector; for privacy.mechanism none or site_gaussian",
		),
	rule: z.enum(CLEAR_RULES),
	attackers,
	mixing: z
		.enum(["none", "nearest_neighbours", "bucketing"])
		.default("none")
		.describe("before the rule: average each vector with its n - f nearest, or random buckets of bucketSize"),
	bucketSize: z
		.int()
		.min(2)
		.max(16)
		.optional()
		.describe("mixing bucketing: vectors in a bucket; 2 by default"),
	radius: z
		.number()
		.positive()
		.max(1e6)
		.optional()
		.describe(
			"centered_clipping and norm_clipping: L2 radius; by default the median of the vectors' distances or norms",
		),
	rootRecords: z
		.array(
			z.strictObject({
				features: z.array(z.number()).min(1).max(4096),
				label: z.union([z.string().max(100), z.number()]),
			}),
		)
		.min(1)
		.max(256)
		.optional()
		.describe("trust_score: the root data, a few public records as they are in the organizations' files"),
	clientMomentum,
});

export const robustnessSchema = z.discriminatedUnion("mode", [
	normBoundSchema,
	bucketedSchema,
	strictSchema,
	reputationSchema,
	clearSchema,
	noneSchema,
]);

export type RobustnessChoice = z.infer<typeof robustnessSchema>;
export type ClearChoice = z.infer<typeof clearSchema>;
export type BucketedChoice = z.infer<typeof bucketedSchema>;

/** Modes in which every site's vector is screened under secure aggregation. */
export const SCREENED_MODES: readonly RobustnessChoice["mode"][] = [
	"norm_bound",
	"bucketed",
	"reputation",
	"strict",
];

/** What a screening shows of the sites. */
const SHOWN: Readonly<Record<string, string>> = {
	norm_bound: "16 numbers of",
	bucketed: "16 numbers of",
	reputation: "17 numbers of",
	strict: "distances between",
};

/** The first reason why a job cannot have this robustness, with the way out; undefined where there is none. */
export function robustnessContradiction(
	choice: RobustnessChoice,
	{ mechanism }: { readonly mechanism: "none" | "site_gaussian" | "distributed_gaussian" },
): string | undefined {
	if (choice.mode === "clear") {
		if (mechanism === "distributed_gaussian")
			return "robustness.mode clear shows each site's vector, which distributed_gaussian leaves nearly without noise; use privacy.mechanism site_gaussian";
		const misplaced = misplacedKey(choice);
		if (misplaced !== undefined) return misplaced;
	}
	if (choice.mode === "norm_bound" && choice.largestWeight !== undefined && mechanism !== "none")
		return "robustness.largestWeight needs privacy.mechanism none: private updates weigh alike";
	const screened = SCREENED_MODES.includes(choice.mode);
	if (screened && mechanism === "distributed_gaussian")
		return `robustness.mode ${choice.mode} shows ${SHOWN[choice.mode] ?? "vectors of"} the sites' vectors, which distributed_gaussian leaves nearly without noise; use privacy.mechanism site_gaussian, or none. With distributed_gaussian every honest site keeps to privacy.clippingNorm, but nothing holds the others to it`;
	return undefined;
}

function misplacedKey({ rule, mixing, bucketSize, radius, rootRecords }: ClearChoice) {
	if (mixing !== "bucketing" && bucketSize !== undefined)
		return "robustness.bucketSize belongs to robustness.mixing bucketing";
	if (rule !== "centered_clipping" && rule !== "norm_clipping" && radius !== undefined)
		return "robustness.radius belongs to robustness.rule centered_clipping or norm_clipping";
	if (rule === "trust_score") {
		if (rootRecords === undefined)
			return "robustness.rule trust_score needs rootRecords: public records that say which way is right";
		if (mixing !== "none") return "robustness.mixing would mix vectors before trust_score has judged them";
	} else if (rootRecords !== undefined) {
		return "robustness.rootRecords belong to robustness.rule trust_score";
	}
	return undefined;
}
