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
	/** Work under way and steps not carried out, beyond which messages wait; default {@link MAX_UNDER_WAY}. */
	readonly maximumUnderWay?: number;
	/** What waiting messages may take; default {@link MAX_INBOX_BYTES}. */
	readonly maximumInboxBytes?: number;
}

/** Far more than any round has under way at once, unless messages come faster than their work is done. */
const MAX_UNDER_WAY = 256;
const MAX_INBOX_BYTES = 64 * 2 ** 20;

/** The inputs of a machine that the driver itself provides. */
export interface DrivenMachine<Message, Task, Result, Output, Promise_> {
	expired(timerId: string, nowMs: number): Effects<Message, Task, Output, Promise_>;
	completed?(workId: string, result: Result | Error, nowMs: number): Effects<Message, Task, Output, Promise_>;
}

export class MachineDriver<Message, Task, Result, Output, Promise_> {
	readonly #machine: DrivenMachine<Message, Task, Result, Output, Promise_>;
	readonly #options: DriverOptions<Message, Task, Result, Output, Promise_>;
	readonly #timers = new Map<string, NodeJS.Timeout>();
	readonly #inbox: { readonly sizeBytes: number; readonly step: () => void }[] = [];
	#inboxBytes = 0;
	#underWay = 0;
	#tail: Promise<void> = Promise.resolve();
	#stopped = false;

	constructor(
		machine: DrivenMachine<Message, Task, Result, Output, Promise_>,
		options: DriverOptions<Message, Task, Result, Output, Promise_>,
	) {
		this.#machine = machine;
		this.#options = options;
	}

	/** Work under way and steps that are not carried out yet, and bytes of the messages that wait for them. */
	get load(): { readonly underWay: number; readonly inboxBytes: number } {
		return { underWay: this.#underWay, inboxBytes: this.#inboxBytes };
	}

	/**
	 * Steps the machine by a peer's message, in the order of arrival: at once, or when some of the work
	 * that is under way is done. Timers and finished work do not wait behind messages.
	 * @returns false when too much waits: the message was not taken, which its sender must be told
	 */
	deliver(sizeBytes: number, input: (nowMs: number) => Effects<Message, Task, Output, Promise_>): boolean {
		const { maximumUnderWay = MAX_UNDER_WAY, maximumInboxBytes = MAX_INBOX_BYTES } = this.#options;
		if (this.#inbox.length === 0 && this.#underWay < maximumUnderWay) {
			this.step(input);
			return true;
		}
		// One is always taken: its size has been checked against the network's own limits.
		if (this.#inbox.length > 0 && this.#inboxBytes + sizeBytes > maximumInboxBytes) return false;
		this.#inbox.push({ sizeBytes, step: () => this.step(input) });
		this.#inboxBytes += sizeBytes;
		return true;
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
		this.#underWay += 1 + (effects.work?.length ?? 0);
		this.#tail = this.#tail.then(() => this.#perform(effects)).then(() => this.#done());
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
		this.#inbox.length = 0;
		this.#inboxBytes = 0;
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
		const done = this.#options.execute(task).then(
			(result) => this.step((nowMs) => this.#machine.completed?.(id, result, nowMs) ?? {}),
			(error: unknown) => {
				const failure = error instanceof Error ? error : new Error(String(error));
				this.step((nowMs) => this.#machine.completed?.(id, failure, nowMs) ?? {});
			},
		);
		void done.then(() => this.#done());
	}

	/** A step or a piece of work is over: messages that waited for it go on. */
	#done(): void {
		this.#underWay -= 1;
		const { maximumUnderWay = MAX_UNDER_WAY } = this.#options;
		while (this.#underWay < maximumUnderWay) {
			const next = this.#inbox.shift();
			if (next === undefined) return;
			this.#inboxBytes -= next.sizeBytes;
			next.step();
		}
	}
}
