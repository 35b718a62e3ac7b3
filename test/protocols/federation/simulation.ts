/** A small simulated network of membership machines under virtual time, from a seed. */
import { createHash } from "node:crypto";
import { type SigningKey, signingKeyFromSeed } from "../../../crypto/identity.ts";
import type { Effects, Fault, PeerId } from "../../../protocols/contract.ts";
import {
	type ChangeRequest,
	CharterChain,
	type Declaration,
	decodeFederationMessage,
	encodeFederationMessage,
	type FederationMessage,
	type FederationOutput,
	Membership,
	parseTicket,
	rulesSchema,
} from "../../../protocols/federation/index.ts";

export const START = Date.parse("2030-01-01T00:00:00Z");

/** Deterministic bytes; in tests only. */
export function seededRandomForTests(seed: string): (length: number) => Uint8Array {
	let counter = 0;
	return (length) => {
		const bytes = new Uint8Array(length);
		for (let at = 0; at < length; at += 32) {
			const block = createHash("sha256").update(`${seed}/${counter++}`).digest();
			bytes.set(block.subarray(0, Math.min(32, length - at)), at);
		}
		return bytes;
	};
}

export function keyFor(name: string): SigningKey {
	return signingKeyFromSeed(Uint8Array.from(createHash("sha256").update(name).digest()));
}

export function declarationOf(organization: string): Declaration {
	return {
		organization,
		declared: { records: 100, software: "althing/0.1.0" },
		addresses: ["/ip4/127.0.0.1/tcp/4001"],
	};
}

export interface Node {
	readonly name: string;
	readonly key: SigningKey;
	machine: Membership;
	online: boolean;
	readonly promises: Uint8Array[];
	chain: CharterChain | undefined;
	readonly outputs: FederationOutput[];
	readonly faults: Fault[];
}

type Event = { readonly at: number; readonly order: number; readonly run: () => void };
type Step = Effects<FederationMessage, never, FederationOutput, Uint8Array>;

export class Simulation {
	readonly nodes = new Map<PeerId, Node>();
	nowMs = 0;
	/** Probability that a message is lost. */
	loss = 0;
	/** Sees every message on its way; returns what arrives instead (undefined: nothing). */
	intercept: (from: PeerId, to: PeerId, message: FederationMessage) => FederationMessage | undefined = (
		_f,
		_t,
		m,
	) => m;
	/** Which requests members approve by themselves. */
	autoApprove: (node: Node, request: ChangeRequest) => boolean = () => true;
	sent = 0;
	readonly #random: (length: number) => Uint8Array;
	readonly #timers = new Map<string, number>();
	#events: Event[] = [];
	#order = 0;

	constructor(seed: string) {
		this.#random = seededRandomForTests(seed);
	}

	/** A federation that already has these members, its founder first; everybody online. */
	found(names: readonly string[], assumedCorruptFraction = 0.2): Node[] {
		const founder = this.addNode(names[0] as string);
		founder.chain = CharterChain.found(founder.key, {
			federation: "demo",
			rules: rulesSchema.parse({ assumedCorruptFraction }),
			declaration: declarationOf(founder.name),
			createdAt: new Date(START).toISOString(),
		});
		this.start(founder);
		for (const name of names.slice(1)) {
			const node = this.addNode(name);
			this.start(node);
			this.join(node, this.invite(founder, name));
			this.run(60_000);
			if (node.machine.chain === undefined) throw new Error(`${name} did not join`);
		}
		return [...this.nodes.values()];
	}

	addNode(name: string): Node {
		const node = {
			name,
			key: keyFor(name),
			online: true,
			promises: [],
			chain: undefined,
			outputs: [],
			faults: [],
		} as unknown as Node;
		this.nodes.set(node.key.peer, node);
		return node;
	}

	/** Starts or restarts a node with nothing but what it persisted. */
	start(node: Node): void {
		node.online = true;
		node.machine = new Membership({
			self: node.key,
			chain: node.chain,
			policy: { autoApprove: (request) => this.autoApprove(node, request) },
			promises: [...node.promises],
			random: this.#random,
			unixOffsetMs: START,
		});
		this.do(node, node.machine.start(this.nowMs));
	}

	invite(by: Node, organization: string, expiresInMs = 24 * 3_600_000): string {
		const addresses = ["/ip4/127.0.0.1/tcp/4001"];
		return by.machine.invite({ organization, expiresInMs, addresses }, this.nowMs).text;
	}

	join(node: Node, ticket: string): void {
		this.do(node, node.machine.requestJoin(parseTicket(ticket), declarationOf(node.name), this.nowMs));
	}

	/** Carries out the effects of a step of a node. */
	do(node: Node, effects: Step): void {
		node.promises.push(...(effects.persist ?? []));
		node.faults.push(...(effects.faults ?? []));
		for (const output of effects.output ?? []) {
			node.outputs.push(output);
			if (output.kind === "charter") node.chain = output.chain;
		}
		for (const { to, message } of effects.send ?? []) this.send(node.key.peer, to, message);
		for (const { id, afterMs } of effects.setTimer ?? []) {
			const key = `${node.key.peer} ${id}`;
			const generation = (this.#timers.get(key) ?? 0) + 1;
			this.#timers.set(key, generation);
			if (afterMs === null) continue;
			const { machine } = node;
			this.#at(afterMs, () => {
				if (this.#timers.get(key) !== generation || !node.online || node.machine !== machine) return;
				this.do(node, machine.expired(id, this.nowMs));
			});
		}
	}

	/** Sends through the wire encoding, with a random delay and perhaps a loss. */
	send(from: PeerId, to: PeerId, original: FederationMessage): void {
		this.sent++;
		const message = this.intercept(from, to, original);
		const [delay = 0, luck = 0] = this.#random(2);
		if (message === undefined || luck / 256 < this.loss) return;
		const wire = encodeFederationMessage(message);
		this.#at(5 + delay, () => {
			const node = this.nodes.get(to);
			if (node === undefined || !node.online || !this.nodes.get(from)?.online) return;
			this.do(node, node.machine.receive(from, decodeFederationMessage(wire), this.nowMs));
		});
	}

	/** Lets virtual time pass. */
	run(durationMs: number): void {
		const end = this.nowMs + durationMs;
		for (let steps = 0; steps < 200_000; steps++) {
			this.#events.sort((a, b) => a.at - b.at || a.order - b.order);
			const next = this.#events[0];
			if (next === undefined || next.at > end) {
				this.nowMs = end;
				return;
			}
			this.#events.shift();
			this.nowMs = next.at;
			next.run();
		}
		throw new Error("the simulation does not come to rest");
	}

	#at(afterMs: number, run: () => void): void {
		this.#events.push({ at: this.nowMs + afterMs, order: this.#order++, run });
	}
}
