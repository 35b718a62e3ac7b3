/** What is kept of a job's current model, beside the state itself, which lies among the blobs. */
import { z } from "zod";
import type { Model } from "../store/index.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().nonnegative();

/** What the model record's `metrics` hold: everything that changes from round to round. */
const modelFactsSchema = z.strictObject({
	/** Latest evaluation, and how many rounds had made the model that it measured. */
	loss: z.number().nonnegative().optional(),
	accuracy: z.number().min(0).max(1).optional(),
	evaluatedRounds: count.optional(),
	epsilonSpent: z.number().nonnegative().optional(),
	delta: z.number().nonnegative().optional(),
	participants: count,
	parameterCount: count,
	/** Canonical hash of the parameters, as on the model card. */
	canonicalHash: hash,
	/** Hash of the certified round result. */
	resultHash: hash,
	/** State of the round before: kept, because a restart may have to vote on that round's successor again. */
	previousState: hash.optional(),
});

/** What stays the same for a job, kept once. */
export const modelJobSchema = z.strictObject({
	jobId: z.string(),
	name: z.string(),
	federation: z.string(),
	backend: z.string(),
	/** The resolved job specification. */
	spec: z.record(z.string(), z.json()),
});

export type ModelFacts = z.infer<typeof modelFactsSchema>;
export type ModelJob = z.infer<typeof modelJobSchema>;

export function factsOf(model: Model): ModelFacts {
	return modelFactsSchema.parse(model.metrics);
}

/** Facts as the store takes them: without keys that have no value. */
export function recordedFacts(
	facts: { [K in keyof ModelFacts]: ModelFacts[K] | undefined },
): Model["metrics"] {
	const known = Object.entries(facts).filter(([, value]) => value !== undefined);
	return modelFactsSchema.parse(Object.fromEntries(known)) as Model["metrics"];
}
