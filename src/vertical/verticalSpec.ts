/**
 * The specification of vertical learning: every organization has its own columns of the same
 * records, the submitter has their labels, and none of them shows its columns to another.
 */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { jobSpecSchema } from "../training/jobSpec.ts";

const { name, description, aggregation } = jobSpecSchema.shape;
const norm = z.number().positive().max(1e3);
const rate = z.number().positive().max(100);
const hidden = z.array(z.int().min(1).max(1024)).max(4);

export const verticalJobSchema = z.strictObject({
	name,
	technique: z.literal("vertical_learning"),
	description,
	data: z.strictObject({
		set: name.describe("name under which every organization registered its own columns"),
		records: z
			.int()
			.min(10)
			.max(1_000_000)
			.describe("how many records there are; every organization has exactly these, by its key column"),
		classes: z
			.array(z.string().min(1).max(200))
			.min(2)
			.max(256)
			.describe("the classes of the label, which the submitter's data set has"),
	}),
	model: z.discriminatedUnion("kind", [
		z.strictObject({
			kind: z
				.literal("split_logistic_regression")
				.describe("each organization weighs its own columns; the sum of it all decides the class"),
		}),
		z.strictObject({
			kind: z
				.literal("split_network")
				.describe(
					"each organization's own part ends in `cut` units; their sum goes into the label holder's part",
				),
			bottom: hidden.default([]).describe("units of the hidden layers of each organization's own part"),
			cut: z.int().min(1).max(256).default(8).describe("units that the own parts end in"),
			top: hidden.default([16]).describe("units of the hidden layers of the label holder's part"),
		}),
	]),
	training: z.strictObject({
		epochs: z.int().min(1).max(1000),
		batch: z.int().min(2).max(4096).default(64).describe("records a step, drawn in public"),
		learningRate: rate.default(0.5).describe("step size of each organization's own part"),
		topLearningRate: rate
			.optional()
			.describe("step size of the label holder's part; learningRate by default"),
	}),
	privacy: z.discriminatedUnion("mechanism", [
		z.strictObject({
			mechanism: z
				.literal("distributed_gaussian")
				.describe("noise at the cut, in shares under the masks, and in every own part's steps"),
			epsilon: z.number().min(0.01).max(1000),
			delta: z.number().positive().max(1e-2),
			activationNorm: norm.default(2).describe("L2 bound of what one record sends through the cut"),
			errorNorm: norm.default(1).describe("L2 bound of what comes back for one record"),
			gradientNorm: norm.default(1).describe("L2 bound of one record's gradient in an own part"),
		}),
		z.strictObject({
			mechanism: z.literal("none"),
			activationNorm: norm.default(16).describe("L2 bound of what one record sends through the cut"),
			errorNorm: norm.default(16).describe("L2 bound of what comes back for one record"),
		}),
	]),
	aggregation: aggregation.unwrap().omit({ updateNormBound: true, cohortSize: true }).prefault({}),
});

export type VerticalJob = z.infer<typeof verticalJobSchema>;
export type VerticalPrivacy = VerticalJob["privacy"];

/** @throws AlthingError `job.invalid` for keys that contradict each other */
export function requireConsistent(spec: VerticalJob): VerticalJob {
	const refuse = (message: string): never => {
		throw new AlthingError("job.invalid", message, { job: spec.name });
	};
	const { classes, records } = spec.data;
	if (new Set(classes).size !== classes.length) refuse("data.classes names a class twice");
	if (spec.training.batch > records) refuse(`training.batch is larger than data.records, ${records}`);
	return spec;
}

/** SHA-256 of the canonical encoding: what every organization signs for. */
export function verticalJobHash(spec: VerticalJob): Uint8Array {
	return hashFields("althing/vertical-job/1", encodeCanonical(spec as never));
}

/** Units of what goes through the cut for one record: with logistic regression the logits themselves. */
export function cutWidth({ model, data }: Pick<VerticalJob, "model" | "data">): number {
	if (model.kind === "split_network") return model.cut;
	return data.classes.length === 2 ? 1 : data.classes.length;
}
