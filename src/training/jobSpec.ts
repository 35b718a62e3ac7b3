/**
 * The job specification: what one training is, in the words of the YAML file that a data
 * scientist submits. Unknown keys are refused; every default is stated here; the resolved
 * specification (data set description filled in) is what every organization signs for.
 */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { catalog } from "../data/catalog.ts";
import { type DataDescription, dataDescriptionSchema } from "../data/description.ts";
import { gossipContradiction } from "../gossip/gossipChoice.ts";
import { checkSpecification, readSpecification } from "../jobs/specificationText.ts";
import { robustnessContradiction, robustnessSchema } from "../robustness/robustnessChoice.ts";
import { selectionContradiction, selectionSchema } from "../selection/selectionChoice.ts";
import { bucketedContradiction } from "./bucketedUpdate.ts";
import { scheduleContradiction } from "./bufferedRounds.ts";
import { cohortTreeContradiction } from "./cohortTreeChoice.ts";
import { compressionContradiction, compressionSchema } from "./compressionChoice.ts";
import { robustnessGap, robustnessOf } from "./defaultRobustness.ts";
import { modelChoiceSchema } from "./modelChoice.ts";
import { personalizationContradiction, personalizationSchema } from "./personalizationChoice.ts";
import { contradiction, privacySchema } from "./privacyChoice.ts";
import { weighsAlike } from "./robustUpdate.ts";
import { trainingContradiction, trainingSchema } from "./trainingChoice.ts";

const name = z
	.string()
	.regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "use lower-case letters, digits and dashes, at most 63 characters");

const aggregationSchema = z.strictObject({
	minimumSurvivors: z
		.int()
		.min(2)
		.max(1024)
		.optional()
		.describe(
			"fewest sites a sum may be opened for, not below the charter's threshold, which is the default; above 128 participants it also decides how many neighbours each is masked against",
		),
	cohortSize: z
		.int()
		.min(3)
		.max(1024)
		.optional()
		.describe(
			"deals the participants into cohorts of at least so many, by the beacon of the job's start, and adds the cohorts' sums along a tree: each cohort's own sum is seen by everybody, so shares of noise are sized for one cohort; without it one sum of all",
		),
	phaseTimeoutMs: z.int().min(500).max(600_000).default(5000),
	updateNormBound: z
		.number()
		.positive()
		.max(1e6)
		.default(10)
		.describe("without record-level privacy: L2 bound that each site's update is clipped to"),
});

export const jobSpecSchema = z.strictObject({
	name,
	technique: z.literal("federated_learning"),
	description: z.string().max(2000).optional(),
	data: z.strictObject({
		set: name.describe("name under which every organization registered its own records"),
		description: dataDescriptionSchema
			.optional()
			.describe("public description of the records; may be left out for a built-in data set"),
	}),
	model: modelChoiceSchema,
	training: trainingSchema,
	privacy: privacySchema,
	personalization: personalizationSchema
		.optional()
		.describe("models of the organizations' own beside the common one; they never leave their organization"),
	selection: selectionSchema
		.optional()
		.describe("who is asked to contribute to a round, drawn from the public beacon; without it everybody"),
	aggregation: aggregationSchema.prefault({}),
	compression: compressionSchema
		.optional()
		.describe("fewer bytes for the same sum: rotation, quantization, sparsification, sketches"),
	robustness: robustnessSchema
		.optional()
		.describe(
			"against participants that send wrong updates; without it norm_bound, with clientMomentum 0.9 for fedsgd and 0 for local steps, buffers and compression; with distributed_gaussian none",
		),
});

/** A job as submitted. */
export type JobSpec = z.infer<typeof jobSpecSchema>;
/** A job with its data description filled in: the thing that is hashed, signed and run. */
export type ResolvedJobSpec = JobSpec & { data: { description: z.infer<typeof dataDescriptionSchema> } };

/**
 * Parses a training job's file.
 * @param text the YAML (or JSON) text; `file` names it in errors.
 * @throws AlthingError `job.invalid_file` naming file, line, column, key and what is allowed.
 */
export function parseJobSpec(text: string, file: string): JobSpec {
	return validated(readSpecification(text, file, jobSpecSchema), file);
}

/** Checks a training specification that arrived as an object (over RPC or from a peer). @throws AlthingError `job.invalid` */
export function checkJobSpec(value: unknown): JobSpec {
	return validated(checkSpecification(value, jobSpecSchema), "job");
}

/** Rules between fields, and what a job without a choice against wrong updates gets. */
function validated(spec: JobSpec, where: string): JobSpec {
	const refuse = (message: string): never => {
		throw new AlthingError("job.invalid", `${where}: ${message}`, { where });
	};
	const { privacy, training, personalization, selection, compression } = spec;
	const robustness = robustnessOf(spec);
	const alike = privacy.mechanism !== "none" || weighsAlike({ robustness });
	const contradicts =
		gossipContradiction(spec) ??
		trainingContradiction(training) ??
		scheduleContradiction(spec) ??
		cohortTreeContradiction({ ...spec, robustness }) ??
		(personalization && personalizationContradiction(personalization, training, privacy)) ??
		contradiction(privacy, training) ??
		(selection === undefined ? undefined : selectionContradiction(selection, privacy, spec)) ??
		(compression === undefined
			? undefined
			: compressionContradiction(compression, privacy, training, personalization, alike)) ??
		(robustness === undefined ? undefined : robustnessContradiction(robustness, privacy)) ??
		robustnessGap(spec) ??
		bucketedContradiction(spec);
	if (contradicts !== undefined) refuse(contradicts);
	return robustness === undefined ? spec : { ...spec, robustness };
}

/**
 * Fills in the public data description, of a job of any technique.
 * @throws AlthingError `job.unknown_data` when the set is not built in and none was given.
 */
export function resolveJobSpec<Spec extends Pick<JobSpec, "data">>(
	spec: Spec,
): Spec & { data: { description: DataDescription } } {
	const description = spec.data.description ?? catalog.get(spec.data.set)?.description;
	if (description === undefined) {
		throw new AlthingError(
			"job.unknown_data",
			`data set "${spec.data.set}" is not built in: give its public description under data.description`,
			{ set: spec.data.set },
		);
	}
	return { ...spec, data: { ...spec.data, description } };
}

/** SHA-256 of the canonical encoding of a resolved specification. */
export function jobSpecHash(spec: ResolvedJobSpec): Uint8Array {
	return hashFields("althing/job-spec/1", encodeCanonical(spec as never));
}
