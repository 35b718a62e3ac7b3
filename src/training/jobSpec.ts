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
import { checkSpecification, readSpecification } from "../jobs/specificationText.ts";
import type { OptimizerSettings } from "../learning/optimizer.ts";
import { robustnessContradiction, robustnessSchema } from "../robustness/robustnessChoice.ts";
import { modelChoiceSchema } from "./modelChoice.ts";
import { contradiction, privacySchema } from "./privacyChoice.ts";

const name = z
	.string()
	.regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "use lower-case letters, digits and dashes, at most 63 characters");

const trainingSchema = z.strictObject({
	algorithm: z
		.enum(["fedsgd", "fedavg"])
		.default("fedsgd")
		.describe("fedsgd: one summed gradient a round; fedavg: local epochs, averaged updates"),
	rounds: z.int().min(1).max(100_000),
	serverLearningRate: z.number().positive().max(1000).default(1).describe("step size of the common model"),
	optimizer: z.enum(["sgd", "adam"]).default("sgd").describe("how released sums move the common model"),
	momentum: z
		.number()
		.min(0)
		.lt(1)
		.default(0)
		.describe("momentum of the common optimizer; adam's beta1, where 0.9 is usual"),
	secondMomentDecay: z
		.number()
		.min(0.5)
		.lt(1)
		.optional()
		.describe("adam's beta2, the decay of the mean square; 0.999 by default"),
	adamEpsilon: z
		.number()
		.positive()
		.max(1)
		.optional()
		.describe("adam: added to the root of the mean square; 1e-8 by default"),
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

const aggregationSchema = z.strictObject({
	minimumSurvivors: z
		.int()
		.min(2)
		.max(64)
		.optional()
		.describe(
			"fewest sites a sum may be opened for, not below the charter's threshold, which is the default",
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
	aggregation: aggregationSchema.prefault({}),
	robustness: robustnessSchema
		.optional()
		.describe("against participants that send wrong updates; without it the plain mean"),
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

/** Rules between fields. */
function validated(spec: JobSpec, where: string): JobSpec {
	const refuse = (message: string): never => {
		throw new AlthingError("job.invalid", `${where}: ${message}`, { where });
	};
	const { privacy, training, robustness } = spec;
	const contradicts =
		contradiction(privacy, training) ??
		(robustness === undefined ? undefined : robustnessContradiction(robustness, privacy));
	if (contradicts !== undefined) refuse(contradicts);
	if (training.optimizer === "sgd" && (training.secondMomentDecay ?? training.adamEpsilon) !== undefined)
		refuse("training.secondMomentDecay and adamEpsilon belong to training.optimizer adam");
	return spec;
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

/** The common optimizer of a job. */
export function optimizerOf({ training }: Pick<JobSpec, "training">): OptimizerSettings {
	const { serverLearningRate: learningRate, momentum, optimizer } = training;
	if (optimizer === "sgd") return { learningRate, momentum };
	const { secondMomentDecay = 0.999, adamEpsilon: epsilon = 1e-8 } = training;
	return { learningRate, momentum, adam: { secondMomentDecay, epsilon } };
}
