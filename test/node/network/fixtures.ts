import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import type { Stream } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { afterEach } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { sha256 } from "../../../crypto/hash.ts";
import { peerIdFromPublicKey, publicKeyOf, signingKeyFromSeed } from "../../../crypto/identity.ts";
import { createNode, type Node, openProtocols } from "../../../node/network/libp2p/config.ts";
import {
	createLibp2pNetwork,
	type NetworkOptions,
	type PeerClass,
} from "../../../node/network/libp2p/index.ts";
import { federationNames } from "../../../node/network/libp2p/names.ts";
import { Libp2pNetwork } from "../../../node/network/libp2p/network.ts";
import { DEFAULT_LIMITS } from "../../../node/network/libp2p/options.ts";
import type { Network } from "../../../node/network/port.ts";

const text = new TextEncoder();

export const bytes = (value: string): Uint8Array => text.encode(value);
export const string = (value: Uint8Array): string => new TextDecoder().decode(value);

/** A fixed identity for each name. */
export function seedOf(name: string): Uint8Array {
	return sha256(bytes(`network test ${name}`));
}

export function peerOf(name: string): string {
	return peerIdFromPublicKey(publicKeyOf(signingKeyFromSeed(seedOf(name)).peer));
}

export const FEDERATION = toHex(sha256(bytes("test federation")));

/** Membership that a test can change. */
export class TestMembership {
	readonly classes = new Map<string, PeerClass>();
	readonly addresses = new Map<string, string[]>();
	readonly #listeners = new Set<() => void>();

	constructor(members: readonly string[] = []) {
		for (const name of members) this.classes.set(peerOf(name), "member");
	}

	classify(peer: string): PeerClass {
		return this.classes.get(peer) ?? "stranger";
	}

	members(): { peer: string; addresses: string[] }[] {
		return [...this.classes]
			.filter(([, peerClass]) => peerClass === "member")
			.map(([peer]) => ({ peer, addresses: this.addresses.get(peer) ?? [] }));
	}

	onChange(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	set(name: string, peerClass: PeerClass): void {
		this.classes.set(peerOf(name), peerClass);
		for (const listener of this.#listeners) listener();
	}
}

const running = new Set<Libp2pNetwork>();

afterEach(async () => {
	await Promise.all([...running].map((network) => network.stop()));
	running.clear();
});

export const silentLog = { debug: () => {}, info: () => {}, warn: () => {} };

/** A started node on a free loopback port, stopped after the test. */
export async function startNode(
	name: string,
	membership: TestMembership,
	options: Partial<NetworkOptions> = {},
): Promise<Libp2pNetwork> {
	const network = await createLibp2pNetwork({
		identitySeed: seedOf(name),
		federationId: FEDERATION,
		federationName: "test",
		listen: ["/ip4/127.0.0.1/tcp/0"],
		bootstrap: [],
		membership,
		log: process.env.NETWORK_TEST_LOG ? printingLog(name) : silentLog,
		softwareVersion: "0.0.0",
		charterVersion: () => 1,
		...options,
	});
	running.add(network);
	return network;
}

function printingLog(name: string): NetworkOptions["log"] {
	const print = (facts: object, message: string): void =>
		void process.stderr.write(
			`${Math.round(performance.now())} ${name} ${message} ${JSON.stringify(facts)}\n`,
		);
	return { debug: print, info: print, warn: print };
}

/** Resolves when every one of `peers` is connected; fails after ten seconds. */
export function connected(network: Network, peers: readonly string[], timeoutMs = 10_000): Promise<void> {
	return new Promise((resolve, reject) => {
		const look = (): void => {
			const up = new Set(
				network
					.peers()
					.filter((peer) => peer.connected)
					.map((peer) => peer.peer),
			);
			if (!peers.every((peer) => up.has(peer))) return;
			clearTimeout(timer);
			unsubscribe();
			resolve();
		};
		const timer = setTimeout(() => {
			unsubscribe();
			reject(new Error(`peers did not connect: ${JSON.stringify(network.peers())}`));
		}, timeoutMs);
		const unsubscribe = network.onPeerChange(look);
		look();
	});
}

/** Resolves when `peer` is no longer connected. */
export function lost(network: Network, peer: string, timeoutMs = 10_000): Promise<void> {
	return new Promise((resolve, reject) => {
		const isUp = (): boolean => network.peers().some((state) => state.peer === peer && state.connected);
		if (!isUp()) {
			resolve();
			return;
		}
		const timer = setTimeout(() => reject(new Error(`${peer} stayed connected`)), timeoutMs);
		const unsubscribe = network.onPeerChange(() => {
			if (isUp()) return;
			clearTimeout(timer);
			unsubscribe();
			resolve();
		});
	});
}

/** Two or more linked nodes, all members, the later ones bootstrapped from the first. */
export async function startLinked(
	names: readonly string[],
	options: Partial<NetworkOptions> = {},
): Promise<Libp2pNetwork[]> {
	const nodes: Libp2pNetwork[] = [];
	for (const name of names) {
		const bootstrap = nodes[0] === undefined ? [] : nodes[0].addresses();
		nodes.push(await startNode(name, new TestMembership(names), { bootstrap, ...options }));
	}
	await Promise.all(
		nodes.map((node) =>
			connected(
				node,
				names.map(peerOf).filter((peer) => peer !== node.self),
			),
		),
	);
	return nodes;
}

const rogues = new Set<Node>();

afterEach(async () => {
	await Promise.all([...rogues].map((node) => node.stop()));
	rogues.clear();
});

/**
 * A bare libp2p node under an identity, without Althing's protocols, so that a test can
 * say on the wire what no honest node says.
 */
export async function startRogue(
	name: string,
	federation: string = FEDERATION,
	listen: readonly string[] = [],
): Promise<Node> {
	const membership = new TestMembership(["a", "b"]);
	const names = federationNames(federation, "test");
	const options: NetworkOptions = {
		identitySeed: seedOf(name),
		federationId: federation,
		federationName: "test",
		listen,
		bootstrap: [],
		membership,
		log: silentLog,
		softwareVersion: "0.0.0",
		charterVersion: () => 1,
	};
	const unused = new Libp2pNetwork(options, peerOf(name), DEFAULT_LIMITS, names, openProtocols(names));
	const node = await createNode(options, {
		privateKey: await generateKeyPairFromSeed("Ed25519", seedOf(name)),
		limits: DEFAULT_LIMITS,
		names,
		gate: unused.gate,
	});
	await node.start();
	rogues.add(node);
	return node;
}

/** Connects a rogue to a node and opens a stream of one of the federation's protocols. */
export async function rogueStream(
	rogue: Node,
	to: Network & { addresses(): string[] },
	protocol: string,
): Promise<Stream> {
	const connection = await rogue.dial(multiaddr(to.addresses()[0] as string));
	return await connection.newStream(protocol);
}

/** Resolves when `check` holds; looks again every 20 ms and fails after ten seconds. */
export async function until(check: () => boolean, what: string): Promise<void> {
	for (let tries = 0; tries < 500; tries += 1) {
		if (check()) return;
		await new Promise((resolve) => setTimeout(resolve, 20));
	}
	throw new Error(`never happened: ${what}`);
}
