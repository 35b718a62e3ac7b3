/**
 * QC-SecAgg: the sum of private vectors, and nothing else, for cohorts of up to 1024.
 *
 * Every participant hides its vector under a self mask and pairwise masks of fresh keys,
 * shares the seeds verifiably among its holders (all, in small cohorts), and opens only what one quorum-certified survivor
 * set allows. The coordinator moves messages; it is trusted with nothing.
 *
 * An {@link AggregationSession} is one attempt seen by one node. It ends with `released` (a
 * sum this node verified), `dead` (a certificate that allows attempt + 1) or `failed`.
 *
 * @example
 * ```ts
 * const session = new AggregationSession(config);
 * perform(session.start(now));
 * // on output { kind: "input_wanted" }: charge the budget durably, then
 * perform(session.provideInput(values, now));
 * // on a message: perform(session.receive(from, decodeMessage(bytes), now, blob));
 * // on output { kind: "released", sum }: done
 * ```
 *
 * Threat model, message diagram and the privacy argument: README.md beside this file.
 */
export type { BufferRules } from "./admission.ts";
export type { BucketRules } from "./bucketGraph.ts";
export { smallestRoster } from "./cohort.ts";
export { graphSeedOf } from "./cohortGraph.ts";
export { type CohortParameters, cohortParameters, corruptionAmong } from "./cohortParameters.ts";
export {
	OWN_COMPUTATIONS,
	type PublicComputation,
	type PublicComputations,
} from "./computations.ts";
export type { AggregationConfig, AggregationOutput, AggregationPhase } from "./configuration.ts";
export { LARGEST_COMPLETE_COHORT, MAX_COHORT } from "./limits.ts";
export { type AggregationTask, type AggregationTaskResult, runAggregationTask } from "./masking.ts";
export { decodeMembers, encodeMembers, packCertificate, unpackCertificate } from "./memberSet.ts";
export { type AggregationMessage, decodeMessage, encodeMessage } from "./messages.ts";
export { type AggregationEffects, AggregationSession } from "./session.ts";
export { preliminarySessionId, survivorsSlot } from "./sessionId.ts";
