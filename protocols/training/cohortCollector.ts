/** Effects of what concerns one cohort of a job's tree: who coordinates it is said in messages of the cohort's own. */
import type { Fault, PeerId } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import type { Collector, TrainingOutput, TrainingTask } from "./contract.ts";
import type { TrainingMessage } from "./messages.ts";
import type { PersistedStep } from "./promises.ts";

export class CohortCollector extends EffectCollector<
	TrainingMessage,
	TrainingTask,
	TrainingOutput,
	PersistedStep
> {
	readonly #out: Collector;

	constructor(out: Collector) {
		super();
		this.#out = out;
	}

	override send(to: PeerId, message: TrainingMessage, blob?: Uint8Array): void {
		this.#out.send(to, ofCohort(message), blob);
	}

	override sendAll(peers: Iterable<PeerId>, message: TrainingMessage): void {
		this.#out.sendAll(peers, ofCohort(message));
	}

	override timer(id: string, afterMs: number | null): void {
		this.#out.timer(id, afterMs);
	}

	override work(id: string, task: TrainingTask): void {
		this.#out.work(id, task);
	}

	override persist(record: PersistedStep): void {
		this.#out.persist(record);
	}

	override fault(fault: Fault): void {
		this.#out.fault(fault);
	}

	override output(output: TrainingOutput): void {
		this.#out.output(output);
	}
}

function ofCohort(message: TrainingMessage): TrainingMessage {
	switch (message.kind) {
		case "heartbeat":
		case "status":
		case "term_vote":
		case "term":
			return { kind: "cohort", message };
		default:
			return message;
	}
}
