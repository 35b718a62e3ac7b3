/** One session attempt seen by one node: joins the participant and the coordinator role. */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { Effects, Machine, Outgoing, PeerId } from "../contract.ts";
import { type AggregationConfig, type AggregationOutput, checkConfig } from "./configuration.ts";
import { Context } from "./context.ts";
import { COORDINATOR_WORK, Coordinator, DEADLINE_TIMER, REPEAT_TIMER } from "./coordinator.ts";
import type { AggregationTask, AggregationTaskResult } from "./masking.ts";
import type { AggregationMessage } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import { Participant } from "./participant.ts";

export type AggregationEffects = Effects<AggregationMessage, AggregationTask, AggregationOutput>;

export class AggregationSession
	implements Machine<AggregationMessage, AggregationTask, AggregationTaskResult, AggregationOutput>
{
	readonly #context: Context;
	readonly #participant: Participant;
	#coordinator: Coordinator | undefined;

	/** @throws AlthingError `aggregation.bad_configuration` | `aggregation.missing_dead` | `aggregation.bad_promise` */
	constructor(config: AggregationConfig) {
		checkConfig(config);
		this.#context = new Context(config);
		this.#participant = new Participant(this.#context);
	}

	/** Hex of sidPre: equal on nodes with the same view of model, configuration and cohort. */
	get id(): string {
		return toHex(this.#context.sidPre);
	}

	/** True once this node has released the sum or the attempt is dead: no secret is held any more. */
	get ended(): boolean {
		return this.#participant.ended;
	}

	/** The coordinator opens the session; the others wait for its messages. A restarted coordinator recovers instead. */
	start(_nowMs: number): AggregationEffects {
		return this.#step((out) => {
			const { self, config, coordinator } = this.#context;
			if (self !== coordinator) return;
			this.#coordinator = new Coordinator(this.#context, this.#participant);
			if (config.promises.length === 0) this.#coordinator.start(out);
			else this.#coordinator.recover(out);
		});
	}

	receive(from: PeerId, message: AggregationMessage, _nowMs: number, blob?: Uint8Array): AggregationEffects {
		return this.#step((out) => this.#deliver(from, message, blob, out));
	}

	expired(timerId: string, _nowMs: number): AggregationEffects {
		return this.#step((out) => {
			if (timerId === DEADLINE_TIMER) this.#coordinator?.deadline(out);
			else if (timerId === REPEAT_TIMER) this.#coordinator?.repeat(out);
		});
	}

	completed(workId: string, result: AggregationTaskResult | Error, _nowMs: number): AggregationEffects {
		return this.#step((out) => {
			if (result instanceof Error) {
				const message = `A computation of the aggregation session failed (${workId.split(":")[0]}): ${result.message}`;
				out.output({
					kind: "failed",
					error: new AlthingError("aggregation.work_failed", message, {}, { cause: result }),
				});
			} else if (workId.startsWith(COORDINATOR_WORK)) this.#coordinator?.completed(workId, result, out);
			else {
				this.#participant.completed(workId, result, out);
			}
		});
	}

	/**
	 * Buffered rounds: this node has a contribution ready, computed from this version of the model, and joins
	 * the roster if there is room left.
	 */
	offer(version: number, _nowMs: number): AggregationEffects {
		return this.#step((out) => this.#participant.contributor.offer(version, out));
	}

	/**
	 * Answers `input_wanted`, once, after the budget was charged durably.
	 * @param values `length` integers, each below 2^modulusBits
	 * @param publicPart `publicBytes` bytes that everybody may see
	 * @throws AlthingError `aggregation.not_wanted` | `aggregation.bad_input`
	 */
	provideInput(values: Uint32Array, _nowMs: number, publicPart?: Uint8Array): AggregationEffects {
		return this.#step((out) => this.#participant.contributor.provideInput(values, publicPart, out));
	}

	/** A higher term was certified: from now on its coordinator is followed, and nobody else. */
	coordinatorChanged(term: number, coordinator: PeerId, _nowMs: number): AggregationEffects {
		return this.#step((out) => {
			const context = this.#context;
			if (term <= context.term || !context.members.includes(coordinator)) return;
			context.term = term;
			context.coordinator = coordinator;
			out.timer(DEADLINE_TIMER, null);
			out.timer(REPEAT_TIMER, null);
			this.#coordinator = undefined;
			if (coordinator !== context.self) return;
			this.#coordinator = new Coordinator(context, this.#participant);
			this.#coordinator.recover(out);
		});
	}

	/** The state of a link: a coordinator does not wait for a member that cannot answer. */
	connectivity(peer: PeerId, connected: boolean): AggregationEffects {
		const { unreachable } = this.#context;
		if (connected) {
			unreachable.delete(peer);
			return {};
		}
		unreachable.add(peer);
		return this.#step((out) => this.#coordinator?.connectionLost(out));
	}

	/** Runs a step, delivering messages from this node to itself within it. */
	#step(run: (out: Outbox) => void): AggregationEffects {
		const out = new Outbox();
		run(out);
		const leaving: Outgoing<AggregationMessage>[] = [];
		// A message to itself may cause more; the queue grows while it is worked off.
		for (let next = out.sends.shift(); next !== undefined; next = out.sends.shift()) {
			if (next.to === this.#context.self) this.#deliver(next.to, next.message, next.blob, out);
			else leaving.push(next);
		}
		return { ...out.effects(), send: leaving };
	}

	#deliver(from: PeerId, message: AggregationMessage, blob: Uint8Array | undefined, out: Outbox): void {
		if (!this.#context.members.includes(from)) {
			out.fault(from, "not_a_member", `${from} is no participant of this job; its message is ignored.`);
			return;
		}
		this.#participant.receive(from, message, blob, out);
		this.#coordinator?.receive(from, message, blob, out);
	}
}
