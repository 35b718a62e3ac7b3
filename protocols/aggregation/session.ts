/** One session attempt seen by one node: joins the participant and the coordinator role. */
import type { Effects, Machine, PeerId } from "../contract.ts";
import { type AggregationConfig, type AggregationOutput, checkConfig } from "./configuration.ts";
import type { AggregationTask, AggregationTaskResult } from "./masking.ts";
import type { AggregationMessage } from "./messages.ts";

export type AggregationEffects = Effects<AggregationMessage, AggregationTask, AggregationOutput>;

export class AggregationSession
	implements Machine<AggregationMessage, AggregationTask, AggregationTaskResult, AggregationOutput>
{
	/** @throws AlthingError `aggregation.bad_configuration` | `aggregation.missing_dead` */
	constructor(config: AggregationConfig) {
		checkConfig(config);
	}

	/** Hex of sidPre: the same on every node with the same view of the round; routes messages. */
	get id(): string {
		return "";
	}

	/** True once the session has released, died or failed and holds no secret any more. */
	get ended(): boolean {
		return false;
	}

	start(_nowMs: number): AggregationEffects {
		return {};
	}

	receive(_from: PeerId, _message: AggregationMessage, _nowMs: number, _blob?: Uint8Array): AggregationEffects {
		return {};
	}

	expired(_timerId: string, _nowMs: number): AggregationEffects {
		return {};
	}

	completed(_workId: string, _result: AggregationTaskResult | Error, _nowMs: number): AggregationEffects {
		return {};
	}

	/** Answers `input_wanted` with values mod 2^modulusBits. Call once, after the budget was charged. */
	provideInput(_values: Uint32Array, _nowMs: number): AggregationEffects {
		return {};
	}

	/** A higher term was certified: its coordinator finishes or ends the session. */
	coordinatorChanged(_term: number, _coordinator: PeerId, _nowMs: number): AggregationEffects {
		return {};
	}
}
