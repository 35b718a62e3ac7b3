/** How a job file says that updates are made smaller before they are masked, and which keys go together. */
import { z } from "zod";
import { MOST_COLUMNS, MOST_ROWS } from "../compression/countSketch.ts";
import type { Personalization } from "./personalizationChoice.ts";
import type { PrivacyChoice } from "./privacyChoice.ts";
import type { TrainingChoice } from "./trainingChoice.ts";

/** Columns for each coordinate that is recovered; with 2 trainings diverged, with 5 and more they did not. */
const LEAST_COLUMNS_EACH = 5;

const sketchSchema = z.strictObject({
	rows: z.int().min(1).max(MOST_ROWS).default(5).describe("an odd number: estimates are medians over rows"),
	columns: z.int().min(16).max(MOST_COLUMNS).describe("cells of a row; rows x columns values are sent"),
	recovered: z
		.int()
		.min(1)
		.max(MOST_COLUMNS)
		.describe("coordinates that a round changes in the model: the largest that the sketch shows"),
	momentum: z.number().min(0).lt(1).default(0).describe("kept in the sketch, in place of training.momentum"),
});

export const compressionSchema = z.strictObject({
	bits: z
		.int()
		.min(2)
		.max(16)
		.optional()
		.describe(
			"each value a site sends, rounded at random without bias; not with distributed_gaussian, where the noise decides",
		),
	rotation: z
		.enum(["hadamard", "none"])
		.default("hadamard")
		.describe("spread updates evenly over their coordinates first, so that few bits are enough for each"),
	coordinates: z
		.enum(["all", "random", "informed"])
		.default("all")
		.describe(
			"which coordinates are sent: all; random ones, the same at all sites; half of them the largest of the last released sum, half random",
		),
	share: z
		.number()
		.min(0.001)
		.max(0.95)
		.optional()
		.describe("random and informed coordinates: the share of all that is sent"),
	errorFeedback: z
		.boolean()
		.default(false)
		.describe("each site keeps what it did not send and adds it to its next update"),
	largestWeight: z
		.int()
		.min(1)
		.max(100_000)
		.optional()
		.describe(
			"with bits, without privacy and robustness: records up to which a site weighs more the more it has; about those of the largest site, or 1 for equal weights",
		),
	sketch: sketchSchema
		.optional()
		.describe("send a count sketch instead of coordinates, and read the largest ones from the sum"),
});

export type CompressionChoice = z.infer<typeof compressionSchema>;

/**
 * The first contradiction between the keys, with the way out; undefined where there is none.
 * @param alike whether all sites weigh the same
 */
export function compressionContradiction(
	choice: CompressionChoice,
	privacy: PrivacyChoice,
	training: TrainingChoice,
	personalization: Personalization,
	alike: boolean,
): string | undefined {
	if (training.algorithm === "scaffold")
		return "compression does not go with training.algorithm scaffold: a control variate that is sent in part is no account of what its site keeps; use fedavg or fedprox";
	if (personalization?.method === "clustered")
		return "compression does not go with personalization.method clustered, whose models are told apart by coordinates that must all arrive";
	return (
		coordinatesContradiction(choice) ??
		privacyContradiction(choice, privacy, alike) ??
		(choice.sketch === undefined ? undefined : sketchContradiction(choice, training))
	);
}

function coordinatesContradiction(choice: CompressionChoice): string | undefined {
	const { coordinates, share, errorFeedback, sketch } = choice;
	if (coordinates === "all" && share !== undefined)
		return "compression.share belongs to compression.coordinates random or informed";
	if (coordinates !== "all" && share === undefined)
		return `compression.coordinates ${coordinates} needs compression.share: how many of them are sent`;
	if (sketch !== undefined && coordinates !== "all")
		return "compression.sketch is of all coordinates; leave out compression.coordinates, or the sketch";
	if (sketch !== undefined && errorFeedback)
		return "compression.errorFeedback contradicts compression.sketch, whose errors are kept in the common state";
	if (coordinates === "all" && errorFeedback)
		return "compression.errorFeedback needs compression.coordinates random or informed: otherwise everything is sent";
	return undefined;
}

function privacyContradiction(
	choice: CompressionChoice,
	privacy: PrivacyChoice,
	alike: boolean,
): string | undefined {
	const { bits, largestWeight, errorFeedback, sketch } = choice;
	if (privacy.mechanism !== "none" && largestWeight !== undefined)
		return "compression.largestWeight needs privacy.mechanism none: private updates weigh alike";
	if (privacy.mechanism === "none" && alike && largestWeight !== undefined)
		return "compression.largestWeight weighs sites by records, and robustness all alike: leave it out, or say robustness: {mode: none}, the plain mean, which one participant can ruin";
	if (privacy.mechanism === "none" && !alike) {
		if (bits !== undefined && largestWeight === undefined)
			return "compression.bits without privacy needs compression.largestWeight: weights are relative to it, and too large a one leaves most of the bits unused";
		if (bits === undefined && largestWeight !== undefined)
			return "compression.largestWeight belongs to compression.bits";
	}
	if (privacy.mechanism !== "distributed_gaussian") return undefined;
	if (bits !== undefined)
		return "compression.bits contradicts distributed_gaussian: the bits follow from the noise, the cohort and the clipping norm";
	if (privacy.correlation !== "none")
		return "compression contradicts privacy.correlation: sums of many rounds are decoded together, and each round would have been compressed in another way";
	if (privacy.unit === "client") return undefined;
	if (errorFeedback)
		return "compression.errorFeedback is not private for records: what is kept of a record would be sent again in rounds that it was not sampled for, and no clipping norm bounds that; use privacy.unit client or site_gaussian, or leave it out";
	if (sketch !== undefined)
		return "compression.sketch is not private for records: a sketch may be much longer than the gradient it is of, since coordinates that share a cell add up, and single gradients cannot be clipped in it; use privacy.unit client, whose sketch is clipped itself, or compression.coordinates random";
	return undefined;
}

function sketchContradiction({ sketch }: CompressionChoice, training: TrainingChoice): string | undefined {
	if (sketch === undefined) return undefined;
	if (sketch.rows % 2 === 0) return "compression.sketch.rows must be odd: estimates are medians over rows";
	if (LEAST_COLUMNS_EACH * sketch.recovered > sketch.columns)
		return `compression.sketch.columns must be at least ${LEAST_COLUMNS_EACH} x recovered: with fewer, errors of the estimates grow from round to round instead of being made up for`;
	if (training.momentum > 0)
		return "training.momentum contradicts compression.sketch: use compression.sketch.momentum, which is kept in the sketch";
	if (training.optimizer !== "sgd")
		return `training.optimizer ${training.optimizer} does not go with compression.sketch, which changes few coordinates in a round; use sgd`;
	return undefined;
}
