/**
 * The network port in memory, for tests and simulations: seeded latency, loss and
 * partitions, in virtual or real time. Held to the same contract suite as libp2p
 * (`test/node/network/contract.ts`). It encrypts nothing and must not carry real data.
 *
 * ```ts
 * const clock = new VirtualClock();
 * const world = new SimulatedWorld({ clock, seed: 1, latencyMs: [5, 30] });
 * const a = world.join(peerA, membershipA);
 * clock.advance(1000);
 * ```
 */
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { checkName, checkPacket, Handlers, type Openness, tooLarge } from "../../node/network/channels.ts";
import {
	type AnnouncementHandler,
	MAX_ANNOUNCEMENT_BYTES,
	type Network,
	type Packet,
	type PeerState,
	type RequestHandler,
} from "../../node/network/port.ts";

/** The time a simulation runs in. */
export interface SimulationClock {
	nowMs(): number;
	/** Calls back after `delayMs`; returns a cancellation. */
	after(delayMs: number, callback: () => void): () => void;
}

export const realClock: SimulationClock = {
	nowMs: () => performance.now(),
	after: (delayMs, callback) => {
		const timer = setTimeout(callback, delayMs);
		return () => clearTimeout(timer);
	},
};

interface Due {
	readonly atMs: number;
	readonly order: number;
	/** Undefined once cancelled. */
	callback: (() => void) | undefined;
}

/** Time that stands still until it is advanced; callbacks due at one moment run in the order they were set. */
export class VirtualClock implements SimulationClock {
	#nowMs = 0;
	#order = 0;
	readonly #heap: Due[] = [];

	nowMs(): number {
		return this.#nowMs;
	}

	after(delayMs: number, callback: () => void): () => void {
		const due: Due = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, callback };
		push(this.#heap, due);
		return () => {
			due.callback = undefined;
		};
	}

	/** Runs the next callback; false when none is left. */
	step(): boolean {
		for (;;) {
			const due = pop(this.#heap);
			if (due === undefined) return false;
			if (due.callback === undefined) continue;
			this.#nowMs = due.atMs;
			due.callback();
			return true;
		}
	}

	/**
	 * Runs everything due within `byMs`, letting promise continuations run after each
	 * callback, since those set further timers.
	 */
	async advance(byMs: number): Promise<void> {
		const untilMs = this.#nowMs + byMs;
		await settle();
		while ((this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY) <= untilMs) {
			this.step();
			await settle();
		}
		this.#nowMs = untilMs;
	}
}

/** All promise continuations run before a macrotask does. */
function settle(): Promise<void> {
	return new Promise((resolve) => setImmediate(resolve));
}

function before(a: Due, b: Due): boolean {
	return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

function push(heap: Due[], due: Due): void {
	let at = heap.push(due) - 1;
	while (at > 0) {
		const parent = (at - 1) >> 1;
		if (!before(due, heap[parent] as Due)) break;
		heap[at] = heap[parent] as Due;
		at = parent;
	}
	heap[at] = due;
}

function pop(heap: Due[]): Due | undefined {
	const top = heap[0];
	const last = heap.pop();
	if (top === undefined || last === undefined || heap.length === 0) return top;
	let at = 0;
	for (;;) {
		let child = 2 * at + 1;
		if (child >= heap.length) break;
		if (child + 1 < heap.length && before(heap[child + 1] as Due, heap[child] as Due)) child += 1;
		if (!before(heap[child] as Due, last)) break;
		heap[at] = heap[child] as Due;
		at = child;
	}
	heap[at] = last;
	return top;
}

/** xorshift32: reproducible, for simulations only; keys and noise never come from it. */
function seededGeneratorForTests(seed: number): () => number {
	let state = seed | 0 || 0x9e3779b9;
	return () => {
		state ^= state << 13;
		state ^= state >>> 17;
		state ^= state << 5;
		return (state >>> 0) / 2 ** 32;
	};
}

export interface SimulatedMembership {
	classify(peer: PeerId): "member" | "candidate" | "stranger";
}

export interface WorldOptions {
	readonly clock: SimulationClock;
	readonly seed: number;
	/** One-way latency in ms, drawn uniformly from the interval. */
	readonly latencyMs?: readonly [number, number];
	/** Bytes per second of every link; payloads add their length over it. */
	readonly bytesPerSecond?: number;
	/**
	 * Probability that a message or request is lost with its link's answer: the sender gets
	 * `network.unreachable`, as after a broken connection.
	 */
	readonly lossRate?: number;
	readonly maxBlobBytes?: number;
	readonly acknowledgeMs?: number;
}

/** All simulated nodes and what lies between them. */
export class SimulatedWorld {
	readonly clock: SimulationClock;
	readonly maxBlobBytes: number;
	readonly acknowledgeMs: number;
	readonly #random: () => number;
	readonly #latencyMs: readonly [number, number];
	readonly #bytesPerSecond: number;
	readonly #nodes = new Map<PeerId, SimulatedNetwork>();
	readonly #side = new Map<PeerId, number>();
	lossRate: number;

	constructor(options: WorldOptions) {
		this.clock = options.clock;
		this.maxBlobBytes = options.maxBlobBytes ?? 64 * 1024 * 1024;
		this.acknowledgeMs = options.acknowledgeMs ?? 30_000;
		this.lossRate = options.lossRate ?? 0;
		this.#random = seededGeneratorForTests(options.seed);
		this.#latencyMs = options.latencyMs ?? [0, 0];
		this.#bytesPerSecond = options.bytesPerSecond ?? Number.POSITIVE_INFINITY;
	}

	/** Adds a node, or brings one back that had left. */
	join(self: PeerId, membership: SimulatedMembership): SimulatedNetwork {
		if (this.#nodes.has(self)) {
			throw new AlthingError("network.already_joined", `${self} is already in the simulated world.`);
		}
		const node = new SimulatedNetwork(this, self, membership);
		this.#nodes.set(self, node);
		this.changed();
		return node;
	}

	leave(self: PeerId): void {
		this.#nodes.delete(self);
		this.changed();
	}

	/** Only nodes of one group reach each other; peers in no group form one more. */
	partition(...groups: readonly (readonly PeerId[])[]): void {
		this.#side.clear();
		groups.forEach((group, index) => {
			for (const peer of group) this.#side.set(peer, index + 1);
		});
		this.changed();
	}

	heal(): void {
		this.partition();
	}

	/** Tells every node whom it can reach now; call it after a change of memberships. */
	changed(): void {
		for (const node of this.#nodes.values()) node.recheck();
	}

	nodes(): Iterable<SimulatedNetwork> {
		return this.#nodes.values();
	}

	/** The node at the other end, when there is a way to it. */
	reach(from: PeerId, to: PeerId): SimulatedNetwork | undefined {
		if (!this.#nodes.has(from) || from === to) return undefined;
		if ((this.#side.get(from) ?? 0) !== (this.#side.get(to) ?? 0)) return undefined;
		return this.#nodes.get(to);
	}

	delayMs(sizeBytes: number): number {
		const [least, most] = this.#latencyMs;
		return least + (most - least) * this.#random() + (sizeBytes / this.#bytesPerSecond) * 1000;
	}

	loses(): boolean {
		return this.lossRate > 0 && this.#random() < this.lossRate;
	}
}

interface Counters {
	bytesIn: number;
	bytesOut: number;
	rttMs: number | undefined;
	lastSeenMs: number | undefined;
}

export class SimulatedNetwork implements Network {
	readonly self: PeerId;
	readonly #world: SimulatedWorld;
	readonly #membership: SimulatedMembership;
	readonly #handlers = new Handlers();
	readonly #observers = new Set<(peer: PeerId, connected: boolean) => void>();
	readonly #connected = new Set<PeerId>();
	readonly #counters = new Map<PeerId, Counters>();
	/** Packets under way by peer and channel, in the order of sending: none overtakes another. */
	readonly #lanes = new Map<string, { arrive: (() => void) | undefined }[]>();
	/** How to give up what waits for an answer of each peer. */
	readonly #pending = new Map<PeerId, Set<() => void>>();

	constructor(world: SimulatedWorld, self: PeerId, membership: SimulatedMembership) {
		this.#world = world;
		this.self = self;
		this.#membership = membership;
	}

	/** Ends the node as a crash would: what is under way to it or from it is lost. */
	stop(): void {
		this.#world.leave(this.self);
		this.recheck();
	}

	async send(to: PeerId, channel: string, packet: Packet): Promise<void> {
		checkName(channel);
		checkPacket(packet, this.#world.maxBlobBytes);
		if (this.#membership.classify(to) !== "member") {
			throw new AlthingError(
				"network.refused",
				`${to} is not a member of the charter: nothing is sent to it.`,
			);
		}
		await this.#carry(to, channel, packet, this.#world.acknowledgeMs, (remote, received, answer) => {
			const settle = remote.#receive(this.self, channel, received);
			answer(16, settle);
		});
	}

	onMessage(
		prefix: string,
		handler: (from: PeerId, channel: string, packet: Packet) => void | Promise<void>,
	): () => void {
		return this.#handlers.onMessage(prefix, handler);
	}

	async request(
		to: PeerId,
		method: string,
		packet: Packet,
		options: { timeoutMs?: number; signal?: AbortSignal } = {},
	): Promise<Packet> {
		checkName(method);
		checkPacket(packet, this.#world.maxBlobBytes);
		const timeoutMs = options.timeoutMs ?? this.#world.acknowledgeMs;
		const answered = this.#carry<Packet>(
			to,
			`request ${method}`,
			packet,
			timeoutMs,
			(remote, received, answer) => {
				void remote.#serve(this.self, method, received).then(
					(response) => answer(sizeOf(response), () => copy(response)),
					(error) =>
						answer(16, () => {
							throw error;
						}),
				);
			},
		);
		const { signal } = options;
		if (signal === undefined) return await answered;
		return await new Promise((resolve, reject) => {
			const onAbort = (): void => reject(signal.reason);
			signal.addEventListener("abort", onAbort, { once: true });
			answered.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
			if (signal.aborted) onAbort();
		});
	}

	onRequest(method: string, handler: RequestHandler, options: { open?: Openness } = {}): () => void {
		return this.#handlers.onRequest(method, handler, options.open ?? "members");
	}

	async announce(topic: string, body: Uint8Array): Promise<void> {
		checkName(topic);
		if (body.length > MAX_ANNOUNCEMENT_BYTES) {
			throw tooLarge("announcement", body.length, MAX_ANNOUNCEMENT_BYTES);
		}
		for (const node of this.#world.nodes()) {
			if (this.#world.reach(this.self, node.self) === undefined || this.#world.loses()) continue;
			const copied = body.slice();
			this.#world.clock.after(this.#world.delayMs(body.length), () => {
				if (this.#world.reach(this.self, node.self) === node) node.#announced(this.self, topic, copied);
			});
		}
	}

	onAnnouncement(topic: string, handler: AnnouncementHandler): () => void {
		const remove = this.#handlers.onAnnouncement(topic, handler);
		return () => void remove();
	}

	peers(): readonly PeerState[] {
		const known = new Set([...this.#connected, ...this.#counters.keys()]);
		return [...known].map((peer) => ({
			peer,
			connected: this.#connected.has(peer),
			addresses: [],
			...this.#count(peer),
		}));
	}

	onPeerChange(handler: (peer: PeerId, connected: boolean) => void): () => void {
		this.#observers.add(handler);
		return () => this.#observers.delete(handler);
	}

	/** Compares who can be reached with who could, and tells the observers. */
	recheck(): void {
		const reachable = new Set<PeerId>();
		for (const node of this.#world.nodes()) {
			const mutual =
				this.#world.reach(this.self, node.self) !== undefined &&
				this.#membership.classify(node.self) === "member" &&
				node.#membership.classify(this.self) === "member";
			if (mutual) reachable.add(node.self);
		}
		for (const peer of [...this.#connected]) if (!reachable.has(peer)) this.#tell(peer, false);
		for (const peer of reachable) if (!this.#connected.has(peer)) this.#tell(peer, true);
		for (const [peer, waiting] of this.#pending) {
			if (this.#world.reach(this.self, peer) === undefined) for (const giveUp of [...waiting]) giveUp();
		}
	}

	/** Calls `arrive` in `delayMs`, but not before the arrivals that were sent earlier on the lane. */
	#inOrder(lane: string, delayMs: number, arrive: () => void): void {
		const queue = this.#lanes.get(lane) ?? [];
		this.#lanes.set(lane, queue);
		const entry: { arrive: (() => void) | undefined } = { arrive: undefined };
		queue.push(entry);
		this.#world.clock.after(delayMs, () => {
			entry.arrive = arrive;
			while (queue[0]?.arrive !== undefined) queue.shift()?.arrive?.();
			if (queue.length === 0 && this.#lanes.get(lane) === queue) this.#lanes.delete(lane);
		});
	}

	#tell(peer: PeerId, connected: boolean): void {
		if (connected) this.#connected.add(peer);
		else this.#connected.delete(peer);
		this.#world.clock.after(0, () => {
			for (const observer of this.#observers) observer(peer, connected);
		});
	}

	/** Takes a packet to `to` and its answer back, each after its delay; either may be lost on the way. */
	#carry<T>(
		to: PeerId,
		lane: string,
		packet: Packet,
		timeoutMs: number,
		deliver: (
			remote: SimulatedNetwork,
			packet: Packet,
			answer: (sizeBytes: number, settle: () => T) => void,
		) => void,
	): Promise<T> {
		const { clock } = this.#world;
		const remote = this.#world.reach(this.self, to);
		const sentMs = clock.nowMs();
		return new Promise((resolve, reject) => {
			const waiting = this.#pending.get(to) ?? new Set();
			this.#pending.set(to, waiting);
			const settled = (): void => {
				cancelTimeout();
				waiting.delete(lost);
				if (waiting.size === 0 && this.#pending.get(to) === waiting) this.#pending.delete(to);
			};
			const lost = (): void => {
				settled();
				reject(unreachable(to));
			};
			const cancelTimeout = clock.after(timeoutMs, () => {
				settled();
				reject(new AlthingError("network.timeout", `${to} did not answer in time.`));
			});
			waiting.add(lost);
			if (remote === undefined) {
				lost();
				return;
			}
			const received = copy(packet);
			const sizeBytes = sizeOf(packet);
			this.#count(to).bytesOut += sizeBytes;
			// A loss is drawn when the packet leaves, so that a run with one seed is reproducible.
			const losesThere = this.#world.loses();
			const losesBack = this.#world.loses();
			this.#inOrder(`${to}|${lane}`, this.#world.delayMs(sizeBytes), () => {
				if (losesThere || this.#world.reach(this.self, to) !== remote) {
					lost();
					return;
				}
				remote.#seen(this.self, sizeBytes);
				deliver(remote, received, (answerBytes, settle) => {
					remote.#count(this.self).bytesOut += answerBytes;
					clock.after(this.#world.delayMs(answerBytes), () => {
						if (losesBack || this.#world.reach(to, this.self) !== this) {
							lost();
							return;
						}
						settled();
						this.#seen(to, answerBytes);
						this.#count(to).rttMs = clock.nowMs() - sentMs;
						try {
							resolve(settle());
						} catch (error) {
							reject(error);
						}
					});
				});
			});
		});
	}

	#receive(from: PeerId, channel: string, packet: Packet): () => void {
		const refuse = (why: string) => () => {
			throw new AlthingError("network.refused", `${this.self} refused: ${why}`);
		};
		if (this.#membership.classify(from) !== "member") return refuse("only members may send messages.");
		const handler = this.#handlers.channel(channel);
		if (handler === undefined) return refuse(`nothing listens on channel "${channel}".`);
		// As over libp2p, a failing handler is its node's own affair.
		try {
			const running = handler(from, channel, packet);
			if (running !== undefined) running.catch(() => {});
		} catch (error) {
			if (!(error instanceof AlthingError) || error.code !== "network.busy") return () => {};
			return () => {
				throw new AlthingError(error.code, `${this.self} refused: ${error.message}`);
			};
		}
		return () => {};
	}

	async #serve(from: PeerId, method: string, packet: Packet): Promise<Packet> {
		const found = this.#handlers.method(method);
		const peerClass = this.#membership.classify(from);
		const allowed = peerClass === "member" || (peerClass === "candidate" && found?.open === "candidates");
		if (!allowed || found === undefined) {
			const why = allowed ? `there is no method "${method}".` : `only members may call "${method}".`;
			throw new AlthingError("network.refused", `${this.self} refused: ${why}`);
		}
		try {
			const answer = await found.handler(from, packet);
			checkPacket(answer, this.#world.maxBlobBytes);
			return answer;
		} catch (error) {
			const told =
				error instanceof AlthingError
					? { remoteCode: error.code, remoteMessage: error.message }
					: { remoteCode: "internal", remoteMessage: "the handler failed; see the peer's log." };
			throw new AlthingError(
				"network.remote_error",
				`${this.self} answered with an error: ${told.remoteMessage}`,
				{ peer: this.self, ...told },
			);
		}
	}

	#announced(from: PeerId, topic: string, body: Uint8Array): void {
		if (this.#membership.classify(from) !== "member") return;
		this.#seen(from, body.length);
		for (const handler of this.#handlers.announced(topic)) handler(from, body);
	}

	#seen(peer: PeerId, sizeBytes: number): void {
		const counters = this.#count(peer);
		counters.bytesIn += sizeBytes;
		counters.lastSeenMs = this.#world.clock.nowMs();
	}

	#count(peer: PeerId): Counters {
		let counters = this.#counters.get(peer);
		if (counters === undefined) {
			counters = { bytesIn: 0, bytesOut: 0, rttMs: undefined, lastSeenMs: undefined };
			this.#counters.set(peer, counters);
		}
		return counters;
	}
}

/** Receivers get bytes of their own, as over a wire: a shared buffer would hide mistakes. */
function copy(packet: Packet): Packet {
	return {
		body: packet.body.slice(),
		...(packet.blob === undefined || packet.blob.length === 0 ? {} : { blob: packet.blob.slice() }),
	};
}

function sizeOf(packet: Packet): number {
	return packet.body.length + (packet.blob?.length ?? 0);
}

function unreachable(peer: PeerId): AlthingError {
	return new AlthingError("network.unreachable", `${peer} cannot be reached in the simulated world.`, {
		peer,
	});
}
