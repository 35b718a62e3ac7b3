/**
 * Types of events that clients act on; others are shown as they are.
 *
 * | type | data |
 * |---|---|
 * | `job.round` | a {@link RoundView}: a round was agreed |
 * | `job.state` | `{ state, reason? }`: the job changed its state |
 * | `job.stage` | `{ round, attempt, stage }`: a phase of the aggregation began |
 * | `stream.gap` | `{ requested, oldest }`: events between the two are gone |
 *
 * Any other `job.*`, `federation.*` or `peer.*` event carries a sentence in `data.message`.
 */
import type { JobState, NodeEvent, RoundView } from "./services.ts";

export const JOB_ROUND_EVENT = "job.round";
export const JOB_STATE_EVENT = "job.state";
export const JOB_STAGE_EVENT = "job.stage";
export const GAP_EVENT = "stream.gap";

/** The round of a `job.round` event. */
export function jobRoundEvent(event: NodeEvent): RoundView | undefined {
	return event.type === JOB_ROUND_EVENT ? (event.data as RoundView) : undefined;
}

/** The change of a `job.state` event. */
export function jobStateEvent(event: NodeEvent): { state: JobState; reason?: string } | undefined {
	return event.type === JOB_STATE_EVENT ? (event.data as { state: JobState; reason?: string }) : undefined;
}
