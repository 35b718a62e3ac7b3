/**
 * Training: the rounds of one job, as each participant runs them.
 *
 * In every round each site contributes a masked, noised vector; the aggregation protocol
 * opens only the certified survivors' sum; every node applies it for itself and votes for
 * the resulting state; a quorum certifies it. The coordinator orders messages and may die or
 * lie at any point: the next in line takes over by certificate, and the round is finished
 * or cleanly asked again.
 *
 * @example
 * ```ts
 * const job = new TrainingJob({ self, federationId, jobId, electorate, initialState, ... });
 * perform(job.start(now));
 * perform(job.receive(from, decodeTrainingMessage(bytes), now, blob));
 * // on output { kind: "round", content }: a checkpoint; on { kind: "done" }: the end
 * ```
 */
export { statesNeeded } from "./checkpoint.ts";
export type { TrainingJobOptions, TrainingOutput, TrainingTask, TrainingTaskResult } from "./contract.ts";
export { type CoordinationTiming, DEFAULT_TIMING } from "./coordination.ts";
export { TrainingJob } from "./job.ts";
export { decodeTrainingMessage, encodeTrainingMessage, type TrainingMessage } from "./messages.ts";
export { ownAttempt } from "./ownAttempt.ts";
export type { PersistedStep } from "./promises.ts";
export { type RoundResult, resultHash } from "./result.ts";
