/**
 * Runs protocol machines against each other under virtual time: one seeded, single-threaded
 * event queue with latency, loss, partitions, crashes and restarts. The same seed gives the
 * same run. For tests and simulations only.
 *
 * Every message is encoded and decoded by the protocol's own codec on its way, so wire
 * schemas are exercised; links keep order, as the network port does.
 *
 * @example
 * ```ts
 * const simulation = new MachineSimulation({ seed: 1, encode, decode, runTask });
 * for (const [peer, machine] of machines) simulation.add(peer, machine);
 * simulation.onOutput((peer, output) => { ... });
 * simulation.run({ untilMs: 60_000, until: () => finished });
 * ```
 */
import type { Effects, Fault, Machine, PeerId } from "../../protocols/contract.ts";
import { EventQueue } from "./eventQueue.ts";
import { seededRandomForTests } from "./seededRandom.ts";

export interface SimulationOptions<Message, Task, Result> {
	readonly seed: number;
	/** Latency of a message is uniform between these. Default 5 to 40 ms. */
	readonly latencyMs?: readonly [number, number];
	/** Chance that a message is lost, 0 to 1. Default 0. */
	readonly lossProbability?: number;
	readonly encode: (message: Message) => Uint8Array;
	readonly decode: (bytes: Uint8Array) => Message;
	/** Executes a work task; its result arrives `taskMs` later. */
	readonly runTask: (task: Task) => Result;
	/** Virtual time that a task takes; one millisecond by default. */
	readonly taskMs?: (task: Task) => number;
}

/** A message on its way; hooks may change, drop, delay or multiply it. */
export interface Envelope<Message> {
	readonly from: PeerId;
	readonly to: PeerId;
	readonly message: Message;
	readonly blob?: Uint8Array | undefined;
}

/** Returns what travels instead; `undefined` leaves the message as it is, `[]` drops it. */
export type Interceptor<Message> = (
	envelope: Envelope<Message>,
	nowMs: number,
) => readonly Envelope<Message>[] | undefined;

interface Node<Message, Task, Result, Output> {
	machine: Machine<Message, Task, Result, Output> | undefined;
	/** Rises with each crash: what was under way for an earlier life is dropped. */
	life: number;
	readonly durable: Uint8Array[];
	readonly outputs: Output[];
	readonly faults: Fault[];
	readonly timers: Map<string, number>;
}

export class MachineSimulation<Message, Task, Result, Output> {
	nowMs = 0;
	/** Messages delivered so far. */
	delivered = 0;
	readonly #options: SimulationOptions<Message, Task, Result>;
	readonly #random: () => number;
	readonly #nodes = new Map<PeerId, Node<Message, Task, Result, Output>>();
	readonly #queue = new EventQueue();
	readonly #linkBusyUntil = new Map<string, number>();
	readonly #interceptors: Interceptor<Message>[] = [];
	readonly #listeners: ((peer: PeerId, output: Output, nowMs: number) => void)[] = [];
	#groups: readonly (readonly PeerId[])[] | undefined;
	#timerSerial = 0;

	constructor(options: SimulationOptions<Message, Task, Result>) {
		this.#options = options;
		this.#random = seededRandomForTests(options.seed);
	}

	/** Adds a machine and starts it at the current time. */
	add(peer: PeerId, machine: Machine<Message, Task, Result, Output>): void {
		const node = this.#nodes.get(peer);
		if (node?.machine !== undefined) throw new Error(`${peer} runs already`);
		const added = node ?? {
			machine: undefined,
			life: 0,
			durable: [],
			outputs: [],
			faults: [],
			timers: new Map(),
		};
		this.#nodes.set(peer, added);
		added.machine = machine;
		this.at(this.nowMs, () => {
			if (added.machine === machine) this.perform(peer, machine.start(this.nowMs));
		});
	}

	/** Stops a node at once: its memory, timers and running work are lost, durable records stay. */
	crash(peer: PeerId): void {
		const node = this.#node(peer);
		node.machine = undefined;
		node.life++;
		node.timers.clear();
	}

	/** Starts a crashed node again from its durable records. */
	restart(
		peer: PeerId,
		build: (durable: readonly Uint8Array[]) => Machine<Message, Task, Result, Output>,
	): void {
		this.add(peer, build(this.#node(peer).durable));
	}

	isRunning(peer: PeerId): boolean {
		return this.#node(peer).machine !== undefined;
	}

	/** Cuts every link between different groups; peers in no group are cut from all. */
	partition(groups: readonly (readonly PeerId[])[]): void {
		this.#groups = groups;
	}

	heal(): void {
		this.#groups = undefined;
	}

	/** Adds a hook over every message sent, in the order added. */
	intercept(interceptor: Interceptor<Message>): void {
		this.#interceptors.push(interceptor);
	}

	/** Called with each output after the step that made it. */
	onOutput(listener: (peer: PeerId, output: Output, nowMs: number) => void): void {
		this.#listeners.push(listener);
	}

	/** Runs `action` at a virtual time. */
	at(atMs: number, action: () => void): void {
		this.#queue.push(atMs, action);
	}

	/** Sends a message as if `from` had sent it, through no hook. */
	inject(envelope: Envelope<Message>): void {
		this.#transmit(envelope);
	}

	/** Delivers raw bytes as a message, for malformed input. @returns the decoding error, if any */
	injectBytes(from: PeerId, to: PeerId, bytes: Uint8Array, blob?: Uint8Array): unknown {
		try {
			const message = this.#options.decode(bytes);
			this.inject({ from, to, message, blob });
			return undefined;
		} catch (error) {
			return error;
		}
	}

	/** Carries out effects of a step made outside (an owner's call): persist, send, timers, work, in this order. */
	perform(peer: PeerId, effects: Effects<Message, Task, Output>): void {
		const node = this.#node(peer);
		node.durable.push(...(effects.persist ?? []));
		for (const { to, message, blob } of effects.send ?? []) this.#send({ from: peer, to, message, blob });
		for (const { id, afterMs } of effects.setTimer ?? []) this.#setTimer(peer, node, id, afterMs);
		for (const { id, task } of effects.work ?? []) this.#work(peer, node, id, task);
		node.faults.push(...(effects.faults ?? []));
		for (const output of effects.output ?? []) {
			node.outputs.push(output);
			for (const listener of this.#listeners) listener(peer, output, this.nowMs);
		}
	}

	outputs(peer: PeerId): readonly Output[] {
		return this.#node(peer).outputs;
	}

	faults(peer: PeerId): readonly Fault[] {
		return this.#node(peer).faults;
	}

	durable(peer: PeerId): readonly Uint8Array[] {
		return this.#node(peer).durable;
	}

	/**
	 * Runs until `until` holds, nothing is left to happen, or the virtual time is over.
	 * @throws Error after `maxEvents` events (default 500,000): something never comes to rest
	 */
	run(limits: {
		readonly untilMs: number;
		readonly until?: () => boolean;
		readonly maxEvents?: number;
	}): void {
		let left = limits.maxEvents ?? 500_000;
		while (limits.until?.() !== true) {
			const next = this.#queue.peek();
			if (next === undefined || next.atMs > limits.untilMs) break;
			if (left-- === 0) throw new Error("the simulation does not come to rest");
			this.#queue.pop();
			this.nowMs = next.atMs;
			next.run();
		}
	}

	#node(peer: PeerId): Node<Message, Task, Result, Output> {
		const node = this.#nodes.get(peer);
		if (node === undefined) throw new Error(`${peer} is not part of the simulation`);
		return node;
	}

	#send(envelope: Envelope<Message>): void {
		let travelling: readonly Envelope<Message>[] = [envelope];
		for (const interceptor of this.#interceptors) {
			travelling = travelling.flatMap((one) => interceptor(one, this.nowMs) ?? [one]);
		}
		for (const one of travelling) this.#transmit(one);
	}

	#transmit({ from, to, message, blob }: Envelope<Message>): void {
		const node = this.#nodes.get(to);
		if (node === undefined) return;
		const [least, most] = this.#options.latencyMs ?? [5, 40];
		const latency = least + this.#random() * (most - least);
		const lost = this.#random() < (this.#options.lossProbability ?? 0);
		if (lost || !this.#connected(from, to)) return;
		const bytes = this.#options.encode(message);
		const copy = blob?.slice();
		const link = `${from} ${to}`;
		const arrivesMs = Math.max(this.nowMs + latency, this.#linkBusyUntil.get(link) ?? 0);
		this.#linkBusyUntil.set(link, arrivesMs);
		const { life } = node;
		this.#queue.push(arrivesMs, () => {
			if (node.machine === undefined || node.life !== life || !this.#connected(from, to)) return;
			this.delivered++;
			this.perform(to, node.machine.receive(from, this.#options.decode(bytes), this.nowMs, copy));
		});
	}

	#connected(a: PeerId, b: PeerId): boolean {
		return this.#groups === undefined || this.#groups.some((group) => group.includes(a) && group.includes(b));
	}

	#setTimer(
		peer: PeerId,
		node: Node<Message, Task, Result, Output>,
		id: string,
		afterMs: number | null,
	): void {
		if (afterMs === null) {
			node.timers.delete(id);
			return;
		}
		const serial = ++this.#timerSerial;
		node.timers.set(id, serial);
		this.#queue.push(this.nowMs + afterMs, () => {
			if (node.machine === undefined || node.timers.get(id) !== serial) return;
			node.timers.delete(id);
			this.perform(peer, node.machine.expired(id, this.nowMs));
		});
	}

	#work(peer: PeerId, node: Node<Message, Task, Result, Output>, id: string, task: Task): void {
		const { life } = node;
		const { taskMs = () => 1 } = this.#options;
		this.#queue.push(this.nowMs + taskMs(task), () => {
			if (node.machine === undefined || node.life !== life) return;
			let result: Result | Error;
			try {
				result = this.#options.runTask(task);
			} catch (error) {
				result = error instanceof Error ? error : new Error(String(error));
			}
			this.perform(peer, node.machine.completed(id, result, this.nowMs));
		});
	}
}
