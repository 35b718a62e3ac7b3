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
} from "../training/jobSpec.ts";
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
export type Specification = JobSpec | QueryJob;
/** With its data description filled in. */
export type ResolvedSpecification = ResolvedJobSpec | ResolvedQueryJob;

/** A job's file, of any technique. @throws AlthingError `job.invalid_file` naming file, line, column and key */
export function parseAnyJob(text: string, file: string): Specification {
	const { technique } = readSpecification(text, file, techniqueSchema);
	return technique === "query" ? readSpecification(text, file, queryJobSchema) : parseJobSpec(text, file);
}

/** A job that arrived as an object (over RPC or from a peer). @throws AlthingError `job.invalid` */
export function checkAnyJob(value: unknown): Specification {
	const { technique } = checkSpecification(value, techniqueSchema);
	return technique === "query" ? checkSpecification(value, queryJobSchema) : checkJobSpec(value);
}

const techniqueSchema = z.looseObject({ technique: z.enum(["federated_learning", "query"]) });

/** SHA-256 of the canonical encoding of a resolved specification. */
export function specificationHash(spec: ResolvedSpecification): Uint8Array {
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
	const { privacy } = spec;
	if (privacy.mechanism === "none") return undefined;
	const { mechanism, epsilon, delta } = privacy;
	const adaptive = mechanism === "distributed_gaussian" && privacy.noiseSchedule === "adaptive";
	return { mechanism, epsilon, delta, ...(adaptive ? { filterEpsilon: epsilon } : {}) };
}

/** Rounds that a job takes if all goes well. */
export function roundsOf(spec: Specification): number {
	return spec.technique === "query" ? 1 : spec.training.rounds;
}
