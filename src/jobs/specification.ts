/**
 * What can be proposed to a federation: the training of a model, or a query. The technique
 * decides which keys a job file has; the resolved specification is what every organization signs.
 */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { DataDescription } from "../data/description.ts";
import { federatedQuerySchema } from "../queries/spec.ts";
import {
	checkJobSpec,
	type JobSpec,
	jobSpecHash,
	jobSpecSchema,
	parseJobSpec,
	type ResolvedJobSpec,
	resolveJobSpec,
} from "../training/jobSpec.ts";
import { scheduleOf } from "../vertical/schedule.ts";
import {
	requireConsistent,
	type VerticalJob,
	verticalJobHash,
	verticalJobSchema,
} from "../vertical/verticalSpec.ts";
import { checkSpecification, readSpecification } from "./specificationText.ts";

const { name, description, data, aggregation } = jobSpecSchema.shape;

/** A query over the records of all participants: one round, whose answer everybody learns. */
export const queryJobSchema = z.strictObject({
	name,
	technique: z.literal("query"),
	description,
	data,
	query: federatedQuerySchema,
	aggregation: aggregation.unwrap().omit({ updateNormBound: true }).prefault({}),
});

type QueryJob = z.infer<typeof queryJobSchema>;
export type ResolvedQueryJob = QueryJob & { data: { description: DataDescription } };
/** A job as submitted, of any technique. */
export type Specification = JobSpec | QueryJob | VerticalJob;
/** With its data description filled in. */
export type ResolvedSpecification = ResolvedJobSpec | ResolvedQueryJob | VerticalJob;

/** A job's file, of any technique. @throws AlthingError `job.invalid_file` naming file, line, column and key */
export function parseAnyJob(text: string, file: string): Specification {
	const { technique } = readSpecification(text, file, techniqueSchema);
	switch (technique) {
		case "query":
			return readSpecification(text, file, queryJobSchema);
		case "vertical_learning":
			return requireConsistent(readSpecification(text, file, verticalJobSchema));
		case "federated_learning":
			return parseJobSpec(text, file);
	}
}

/** A job that arrived as an object (over RPC or from a peer). @throws AlthingError `job.invalid` */
export function checkAnyJob(value: unknown): Specification {
	const { technique } = checkSpecification(value, techniqueSchema);
	switch (technique) {
		case "query":
			return checkSpecification(value, queryJobSchema);
		case "vertical_learning":
			return requireConsistent(checkSpecification(value, verticalJobSchema));
		case "federated_learning":
			return checkJobSpec(value);
	}
}

const techniqueSchema = z.looseObject({
	technique: z.enum(["federated_learning", "query", "vertical_learning"]),
});

/**
 * Fills in the description of the records. Vertical learning has none in common: every organization's
 * columns are its own.
 * @param own this organization's description of the set, for a submitter who left it out
 * @throws AlthingError `job.unknown_data`
 */
export function resolveSpecification(spec: Specification, own?: DataDescription): ResolvedSpecification {
	if (spec.technique === "vertical_learning") return spec;
	const described =
		spec.data.description === undefined && own !== undefined
			? { ...spec, data: { ...spec.data, description: own } }
			: spec;
	return resolveJobSpec(described);
}

/** SHA-256 of the canonical encoding of a resolved specification. */
export function specificationHash(spec: ResolvedSpecification): Uint8Array {
	if (spec.technique === "vertical_learning") return verticalJobHash(spec);
	if (spec.technique !== "query") return jobSpecHash(spec);
	return hashFields("althing/query-job/1", encodeCanonical(spec as never));
}

/** What a job promises each record: its mechanism, epsilon and delta; none for a job without privacy. */
export interface PrivacyPromise {
	readonly mechanism: "distributed_gaussian" | "site_gaussian";
	readonly epsilon: number;
	readonly delta: number;
	/** Adaptive noise: the epsilon of the filter that the updates stay within, and are stated by. */
	readonly filterEpsilon?: number;
}

export function privacyPromiseOf(spec: Specification): PrivacyPromise | undefined {
	if (spec.technique === "query") {
		return { mechanism: "distributed_gaussian", ...spec.query.privacy };
	}
	if (spec.privacy.mechanism === "none") return undefined;
	if (spec.technique === "vertical_learning") {
		const { mechanism, epsilon, delta } = spec.privacy;
		return { mechanism, epsilon, delta };
	}
	const { privacy } = spec;
	const { mechanism, epsilon, delta } = privacy;
	const adaptive = mechanism === "distributed_gaussian" && privacy.noiseSchedule === "adaptive";
	return { mechanism, epsilon, delta, ...(adaptive ? { filterEpsilon: epsilon } : {}) };
}

/** Rounds that a job takes if all goes well. */
export function roundsOf(spec: Specification): number {
	switch (spec.technique) {
		case "query":
			return 1;
		case "vertical_learning":
			return scheduleOf(spec).rounds;
		case "federated_learning":
			return spec.training.rounds;
	}
}
