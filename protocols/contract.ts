/**
 * The contract of every peer-to-peer protocol: a sans-IO state machine.
 *
 * A machine owns its state and nothing else. It is stepped by four kinds of input and
 * answers each with {@link Effects}; it holds no socket, clock or global randomness.
 * `node/network` drives it over libp2p, `testnet/simulate` over a simulated network, a
 * test steps it by hand.
 *
 * The driver's promises: effects of one step are carried out in the order persist, send,
 * setTimer, work; a `persist` record is durable before any `send` of the same step
 * leaves (a crash between the two may repeat a message, never contradict one); `receive`
 * gets a message whose bytes have been size-checked and decoded by the protocol's own
 * schema, and whose `from` is the authenticated peer id of the link.
 */
import type { PeerId } from "../crypto/identity.ts";

export type { PeerId };

/** A message to one peer. A `blob` is a large byte string that travels as a payload. */
export interface Outgoing<Message> {
	readonly to: PeerId;
	readonly message: Message;
	/** Sent in chunks beside the message and handed over with it, whole and hash-checked. */
	readonly blob?: Uint8Array | undefined;
}

/** Ask to be called back through `expired(id)`; setting an id again replaces it. */
export interface Timer {
	readonly id: string;
	/** Milliseconds from now; `null` cancels the timer. */
	readonly afterMs: number | null;
}

/** A heavy computation (more than about 5 ms) for the worker pool; answered through `completed(id, result)`. */
export interface Work<Task> {
	readonly id: string;
	readonly task: Task;
}

/** Misbehaviour of a peer that the machine can name; `evidence` is portable where `proof` is true. */
export interface Fault {
	readonly peer: PeerId;
	/** Dotted code, e.g. `aggregation.equivocation`. */
	readonly code: string;
	readonly message: string;
	/** True when two signed messages of the peer contradict each other: anybody can check it. */
	readonly proof: boolean;
	readonly evidence?: readonly Uint8Array[] | undefined;
}

/** What a step asks of the driver. Absent fields mean nothing of that kind. */
export interface Effects<Message, Task, Output, Promise_ = Uint8Array> {
	readonly send?: readonly Outgoing<Message>[] | undefined;
	readonly setTimer?: readonly Timer[] | undefined;
	readonly work?: readonly Work<Task>[] | undefined;
	/** Promises to write durably before the sends of this step leave. */
	readonly persist?: readonly Promise_[] | undefined;
	readonly faults?: readonly Fault[] | undefined;
	/** Progress and results, in order. */
	readonly output?: readonly Output[] | undefined;
}

/** A protocol's state machine. `nowMs` is the driver's monotonic clock in milliseconds. */
export interface Machine<Message, Task, Result, Output, Promise_ = Uint8Array> {
	start(nowMs: number): Effects<Message, Task, Output, Promise_>;
	receive(
		from: PeerId,
		message: Message,
		nowMs: number,
		blob?: Uint8Array,
	): Effects<Message, Task, Output, Promise_>;
	expired(timerId: string, nowMs: number): Effects<Message, Task, Output, Promise_>;
	completed(workId: string, result: Result | Error, nowMs: number): Effects<Message, Task, Output, Promise_>;
}

/** Bytes from the system CSPRNG in the daemon; from a named seeded generator in tests and simulations. */
export type RandomBytes = (length: number) => Uint8Array;
