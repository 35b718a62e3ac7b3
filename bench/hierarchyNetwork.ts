/**
 * Members of a hierarchy on a network of their own: one queue of events in virtual time, latencies drawn from a
 * seeded log-normal distribution, every sender's uplink and every machine busy with one thing at a time. A step
 * takes as long as its CPU time on this machine.
 */

import { verification } from "../crypto/identity.ts";
import {
	type AggregationTask,
	type AggregationTaskResult,
	runAggregationTask,
} from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import {
	decodeHierarchyMessage,
	encodeHierarchyMessage,
	type HierarchyEffects,
	type HierarchyMember,
	type HierarchyMessage,
	type HierarchyOutput,
} from "../protocols/hierarchy/index.ts";
import { EventQueue } from "../testnet/simulate/eventQueue.ts";
import { seededRandomForTests } from "../testnet/simulate/seededRandom.ts";

export interface LinkSpeed {
	/** Median of the one-way latency; a sixth of all take longer than twice this. */
	readonly latencyMs: number;
	/** Of every member's uplink. */
	readonly megabitsPerSecond: number;
}

/** ln 2: one standard deviation of the logarithm doubles the latency. */
const SPREAD = Math.LN2;

export interface MemberOnNetwork {
	readonly peer: PeerId;
	machine: HierarchyMember | undefined;
	readonly durable: Uint8Array[];
	readonly outputs: HierarchyOutput[];
	cpuSeconds: number;
	/** What was read and unmasked once for all, and would be this member's own work elsewhere. */
	sharedSeconds: number;
	verifications: number;
	sentBytes: number;
	receivedBytes: number;
	faults: number;
	readyMs: number;
	uplinkFreeMs: number;
	readonly timers: Map<string, number>;
}

/** What leaves the network: its members' messages to somebody who is not on it. */
export type Departure = {
	readonly from: PeerId;
	readonly to: PeerId;
	readonly kind: HierarchyMessage["kind"];
};

export class HierarchyNetwork {
	nowMs = 0;
	delivered = 0;
	readonly members = new Map<PeerId, MemberOnNetwork>();
	readonly #random: () => number;
	readonly #speed: LinkSpeed;
	readonly #react: (member: MemberOnNetwork, output: HierarchyOutput) => void;
	readonly #depart: (departure: Departure) => void;
	readonly #queue = new EventQueue();
	#serial = 0;
	/** The unmasking of one certified sum is the same computation at every member. */
	readonly #unmaskings = new Map<
		string,
		{ readonly result: AggregationTaskResult; readonly seconds: number }
	>();
	readonly #decoded = new WeakMap<
		Uint8Array,
		{ readonly message: HierarchyMessage; readonly seconds: number }
	>();
	#encoded: { readonly message: HierarchyMessage; readonly bytes: Uint8Array } | undefined;

	constructor(options: {
		readonly seed: number;
		readonly speed: LinkSpeed;
		readonly react: (member: MemberOnNetwork, output: HierarchyOutput) => void;
		readonly depart: (departure: Departure) => void;
	}) {
		this.#random = seededRandomForTests(options.seed);
		this.#speed = options.speed;
		this.#react = options.react;
		this.#depart = options.depart;
	}

	/** Adds a member, whose machine starts at a virtual time. */
	add(peer: PeerId, machine: HierarchyMember, startMs = 0): void {
		const member: MemberOnNetwork = {
			peer,
			machine,
			durable: [],
			outputs: [],
			cpuSeconds: 0,
			sharedSeconds: 0,
			verifications: 0,
			sentBytes: 0,
			receivedBytes: 0,
			faults: 0,
			readyMs: startMs,
			uplinkFreeMs: 0,
			timers: new Map(),
		};
		this.members.set(peer, member);
		this.at(startMs, () => this.step(member, (running) => running.start(this.nowMs)));
	}

	/** The member is gone; those told of it learn it as from a broken link. */
	lose(member: MemberOnNetwork, told: readonly PeerId[]): void {
		member.machine = undefined;
		for (const peer of told) {
			const other = this.members.get(peer);
			if (other === undefined) continue;
			this.at(this.nowMs + this.#latency(), () =>
				this.step(other, (machine) => machine.connectivity(member.peer, false)),
			);
		}
	}

	at(atMs: number, run: () => void): void {
		this.#queue.push(atMs, run);
	}

	/** Runs until `until` holds or nothing is left. */
	run(until: () => boolean): void {
		while (!until()) {
			const next = this.#queue.pop();
			if (next === undefined) return;
			this.nowMs = next.atMs;
			next.run();
		}
	}

	/** Steps a member's machine: not before it is ready, and it is busy for as long as the step takes. */
	step(member: MemberOnNetwork, run: (machine: HierarchyMember) => HierarchyEffects): void {
		if (member.machine === undefined) return;
		if (member.readyMs > this.nowMs) {
			this.at(member.readyMs, () => this.step(member, run));
			return;
		}
		const asked = verification.asked;
		const before = process.threadCpuUsage();
		const effects = run(member.machine);
		this.#busy(member, secondsSince(before));
		member.verifications += verification.asked - asked;
		this.#perform(member, effects);
	}

	#busy(member: MemberOnNetwork, seconds: number): void {
		member.cpuSeconds += seconds;
		member.readyMs = Math.max(member.readyMs, this.nowMs) + 1000 * seconds;
	}

	#perform(member: MemberOnNetwork, effects: HierarchyEffects): void {
		member.durable.push(...(effects.persist ?? []));
		member.faults += effects.faults?.length ?? 0;
		for (const { to, message, blob } of effects.send ?? []) this.#send(member, to, message, blob);
		for (const { id, afterMs } of effects.setTimer ?? []) this.#setTimer(member, id, afterMs);
		for (const { id, task } of effects.work ?? []) {
			const result = this.#execute(member, task);
			this.at(member.readyMs, () =>
				this.step(member, (machine) => machine.completed(id, result, this.nowMs)),
			);
		}
		for (const output of effects.output ?? []) {
			member.outputs.push(output);
			this.#react(member, output);
		}
	}

	#execute(member: MemberOnNetwork, task: AggregationTask): AggregationTaskResult {
		const removes = task.kind === "unmask" && task.masks !== undefined;
		const key = removes ? Buffer.from(task.seed).toString("hex") : undefined;
		const known = key === undefined ? undefined : this.#unmaskings.get(key);
		if (known !== undefined) {
			member.sharedSeconds += known.seconds;
			member.readyMs += 1000 * known.seconds;
			return known.result;
		}
		const before = process.threadCpuUsage();
		const result = runAggregationTask(task);
		const seconds = secondsSince(before);
		this.#busy(member, seconds);
		if (key !== undefined) this.#unmaskings.set(key, { result, seconds });
		return result;
	}

	#send(member: MemberOnNetwork, to: PeerId, message: HierarchyMessage, blob: Uint8Array | undefined): void {
		const receiver = this.members.get(to);
		if (receiver === undefined) {
			this.#depart({ from: member.peer, to, kind: message.kind });
			return;
		}
		// One message to many is encoded once here; its author pays for it each time.
		const before = process.threadCpuUsage();
		if (this.#encoded?.message !== message)
			this.#encoded = { message, bytes: encodeHierarchyMessage(message) };
		this.#busy(member, secondsSince(before));
		const { bytes } = this.#encoded;
		const size = bytes.length + (blob?.length ?? 0);
		member.sentBytes += size;
		const leavesMs =
			Math.max(member.readyMs, member.uplinkFreeMs) + (8 * size) / (1000 * this.#speed.megabitsPerSecond);
		member.uplinkFreeMs = leavesMs;
		this.at(leavesMs + this.#latency(), () => {
			if (receiver.machine === undefined) return;
			receiver.receivedBytes += size;
			this.delivered++;
			this.step(receiver, (machine) =>
				machine.receive(member.peer, this.#decode(receiver, bytes), this.nowMs, blob),
			);
		});
	}

	/** What one message to many says is read once here. */
	#decode(member: MemberOnNetwork, bytes: Uint8Array): HierarchyMessage {
		const known = this.#decoded.get(bytes);
		if (known !== undefined) {
			member.sharedSeconds += known.seconds;
			return known.message;
		}
		const before = process.threadCpuUsage();
		const message = decodeHierarchyMessage(bytes);
		this.#decoded.set(bytes, { message, seconds: secondsSince(before) });
		return message;
	}

	#setTimer(member: MemberOnNetwork, id: string, afterMs: number | null): void {
		if (afterMs === null) {
			member.timers.delete(id);
			return;
		}
		const serial = ++this.#serial;
		member.timers.set(id, serial);
		this.at(this.nowMs + afterMs, () => {
			if (member.timers.get(id) !== serial) return;
			member.timers.delete(id);
			this.step(member, (machine) => machine.expired(id, this.nowMs));
		});
	}

	/** Log-normal, by Box and Muller. */
	#latency(): number {
		const radius = Math.sqrt(-2 * Math.log(1 - this.#random()));
		return this.#speed.latencyMs * Math.exp(SPREAD * radius * Math.cos(2 * Math.PI * this.#random()));
	}
}

function secondsSince(before: NodeJS.CpuUsage): number {
	const { user, system } = process.threadCpuUsage(before);
	return (user + system) / 1e6;
}
