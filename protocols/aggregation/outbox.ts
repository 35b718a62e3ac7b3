/** Collects what one step asks of the driver. */
import type { Effects, Fault, Outgoing, PeerId, Timer, Work } from "../contract.ts";
import type { AggregationOutput } from "./configuration.ts";
import type { AggregationTask } from "./masking.ts";
import type { AggregationMessage } from "./messages.ts";

export class Outbox {
	readonly sends: Outgoing<AggregationMessage>[] = [];
	readonly #timers: Timer[] = [];
	readonly #work: Work<AggregationTask>[] = [];
	readonly #persist: Uint8Array[] = [];
	readonly #faults: Fault[] = [];
	readonly #output: AggregationOutput[] = [];

	send(to: PeerId, message: AggregationMessage, blob?: Uint8Array): void {
		this.sends.push({ to, message, blob });
	}

	timer(id: string, afterMs: number | null): void {
		this.#timers.push({ id, afterMs });
	}

	work(id: string, task: AggregationTask): void {
		this.#work.push({ id, task });
	}

	persist(record: Uint8Array): void {
		this.#persist.push(record);
	}

	/** Names a peer's misbehaviour; `evidence` makes it a proof for third parties. */
	fault(peer: PeerId, code: string, message: string, evidence?: readonly Uint8Array[]): void {
		this.#faults.push({
			peer,
			code: `aggregation.${code}`,
			message,
			proof: evidence !== undefined,
			evidence,
		});
	}

	output(output: AggregationOutput): void {
		this.#output.push(output);
	}

	effects(): Effects<AggregationMessage, AggregationTask, AggregationOutput> {
		return {
			send: this.sends,
			setTimer: this.#timers,
			work: this.#work,
			persist: this.#persist,
			faults: this.#faults,
			output: this.#output,
		};
	}
}
