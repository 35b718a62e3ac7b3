/**
 * Runs a protocol's state machine over the node's network, journal and workers.
 *
 * Effects are carried out step by step in the order in which the steps happened: what a step
 * persists is durable before anything it says leaves. A failing journal is fatal for the
 * node; a message that cannot be delivered is not, since every machine repeats what matters.
 */
import type { PeerId } from "../../crypto/identity.ts";
import type { Effects, Fault } from "../../protocols/contract.ts";

export interface DriverOptions<Message, Task, Result, Output, Promise_> {
	readonly persist: (record: Promise_) => Promise<void>;
	readonly send: (to: PeerId, message: Message, blob: Uint8Array | undefined) => Promise<void>;
	readonly execute: (task: Task) => Promise<Result>;
	/** Called in order; an error it throws is fatal like a failing journal. */
	readonly onOutput: (output: Output) => void | Promise<void>;
	readonly onFault: (fault: Fault) => void;
	/** A promise could not be written: the node must stop before it says anything more. */
	readonly onFatal: (error: unknown) => void;
	readonly onUndelivered?: (to: PeerId, error: unknown) => void;
	readonly nowMs: () => number;
}

/** The inputs of a machine that the driver itself provides. */
export interface DrivenMachine<Message, Task, Result, Output, Promise_> {
	expired(timerId: string, nowMs: number): Effects<Message, Task, Output, Promise_>;
	completed?(workId: string, result: Result | Error, nowMs: number): Effects<Message, Task, Output, Promise_>;
}

export class MachineDriver<Message, Task, Result, Output, Promise_> {
	readonly #machine: DrivenMachine<Message, Task, Result, Output, Promise_>;
	readonly #options: DriverOptions<Message, Task, Result, Output, Promise_>;
	readonly #timers = new Map<string, NodeJS.Timeout>();
	#tail: Promise<void> = Promise.resolve();
	#stopped = false;

	constructor(
		machine: DrivenMachine<Message, Task, Result, Output, Promise_>,
		options: DriverOptions<Message, Task, Result, Output, Promise_>,
	) {
		this.#machine = machine;
		this.#options = options;
	}

	/** Steps the machine and queues what the step asks for. */
	step(input: (nowMs: number) => Effects<Message, Task, Output, Promise_>): void {
		if (this.#stopped) return;
		let effects: Effects<Message, Task, Output, Promise_>;
		try {
			effects = input(this.#options.nowMs());
		} catch (error) {
			this.#options.onFatal(error);
			return;
		}
		this.#tail = this.#tail.then(() => this.#perform(effects));
	}

	/** Resolves when everything asked for so far has been carried out. */
	async idle(): Promise<void> {
		await this.#tail;
	}

	/** Stops timers, drops later results, and waits until queued effects are carried out. */
	async stop(): Promise<void> {
		this.#stopped = true;
		for (const timer of this.#timers.values()) clearTimeout(timer);
		this.#timers.clear();
		await this.#tail;
	}

	async #perform(effects: Effects<Message, Task, Output, Promise_>): Promise<void> {
		try {
			if (effects.persist?.length)
				await Promise.all(effects.persist.map((record) => this.#options.persist(record)));
			for (const { to, message, blob } of effects.send ?? []) {
				this.#options.send(to, message, blob).catch((error) => this.#options.onUndelivered?.(to, error));
			}
			if (!this.#stopped) {
				for (const { id, afterMs } of effects.setTimer ?? []) this.#setTimer(id, afterMs);
				for (const { id, task } of effects.work ?? []) this.#work(id, task);
			}
			for (const fault of effects.faults ?? []) this.#options.onFault(fault);
			for (const output of effects.output ?? []) await this.#options.onOutput(output);
		} catch (error) {
			this.#stopped = true;
			this.#options.onFatal(error);
		}
	}

	#setTimer(id: string, afterMs: number | null): void {
		clearTimeout(this.#timers.get(id));
		this.#timers.delete(id);
		if (afterMs === null) return;
		this.#timers.set(
			id,
			setTimeout(() => {
				this.#timers.delete(id);
				this.step((nowMs) => this.#machine.expired(id, nowMs));
			}, afterMs),
		);
	}

	#work(id: string, task: Task): void {
		this.#options.execute(task).then(
			(result) => this.step((nowMs) => this.#machine.completed?.(id, result, nowMs) ?? {}),
			(error: unknown) => {
				const failure = error instanceof Error ? error : new Error(String(error));
				this.step((nowMs) => this.#machine.completed?.(id, failure, nowMs) ?? {});
			},
		);
	}
}
