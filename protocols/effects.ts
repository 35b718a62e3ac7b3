/** Collects the effects of one step of a machine, in the order in which they were asked for. */
import type { Effects, Fault, Outgoing, PeerId, Timer, Work } from "./contract.ts";

export class EffectCollector<Message, Task, Output, Promise_> {
	readonly #send: Outgoing<Message>[] = [];
	readonly #setTimer: Timer[] = [];
	readonly #work: Work<Task>[] = [];
	readonly #persist: Promise_[] = [];
	readonly #faults: Fault[] = [];
	readonly #output: Output[] = [];

	send(to: PeerId, message: Message, blob?: Uint8Array): void {
		this.#send.push(blob === undefined ? { to, message } : { to, message, blob });
	}

	sendAll(peers: Iterable<PeerId>, message: Message): void {
		for (const to of peers) this.#send.push({ to, message });
	}

	timer(id: string, afterMs: number | null): void {
		this.#setTimer.push({ id, afterMs });
	}

	work(id: string, task: Task): void {
		this.#work.push({ id, task });
	}

	persist(record: Promise_): void {
		this.#persist.push(record);
	}

	fault(fault: Fault): void {
		this.#faults.push(fault);
	}

	output(output: Output): void {
		this.#output.push(output);
	}

	/** The collected effects. */
	effects(): Effects<Message, Task, Output, Promise_> {
		return {
			send: this.#send,
			setTimer: this.#setTimer,
			work: this.#work,
			persist: this.#persist,
			faults: this.#faults,
			output: this.#output,
		};
	}
}
