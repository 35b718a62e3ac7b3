/**
 * The network port over libp2p: TCP (or WebSocket), Noise, Yamux, a private DHT, gossip,
 * control streams and payload streams. What is encrypted, who is let in and which limits
 * hold: `../README.md`.
 *
 * ```ts
 * const network = await createLibp2pNetwork({ identitySeed, federationId, federationName: "demo",
 *   listen: ["/ip4/0.0.0.0/tcp/4001"], bootstrap: [], membership, log, softwareVersion: "0.1.0",
 *   charterVersion: () => 1 });
 * network.onRequest("model/fetch", async (from, packet) => ({ body: packet.body }));
 * await network.stop();
 * ```
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { LevelDatastore } from "datastore-level";
import { AlthingError } from "../../../crypto/error.ts";
import { createNode, openProtocols } from "./config.ts";
import { federationNames } from "./names.ts";
import { Libp2pNetwork } from "./network.ts";
import { DEFAULT_LIMITS, type NetworkOptions } from "./options.ts";

export type { Discovered } from "./discovery.ts";
export type { Libp2pNetwork, NetworkStatus } from "./network.ts";
export {
	DEFAULT_LIMITS,
	type Membership,
	type NetworkLimits,
	type NetworkLog,
	type NetworkOptions,
	type PeerClass,
} from "./options.ts";

/**
 * Starts a node and resolves when it listens; links come up afterwards (`onPeerChange`).
 * Rejects with `network.port_taken`, `network.cannot_listen`, `network.bad_federation` or
 * `network.store_locked`.
 */
export async function createLibp2pNetwork(options: NetworkOptions): Promise<Libp2pNetwork> {
	const limits = { ...DEFAULT_LIMITS, ...options.limits };
	const names = federationNames(options.federationId, options.federationName);
	const privateKey = await generateKeyPairFromSeed("Ed25519", options.identitySeed);
	const self = peerIdFromPrivateKey(privateKey).toString();
	const network = new Libp2pNetwork(options, self, limits, names, openProtocols(names));
	const store = await openStore(options.dataDirectory);
	const closeStore = async (): Promise<void> => {
		await store?.close();
	};
	try {
		const node = await createNode(options, {
			privateKey,
			limits,
			names,
			gate: network.gate,
			...(store === undefined ? {} : { datastore: store }),
		});
		await network.start(node, closeStore);
	} catch (error) {
		await closeStore();
		throw error;
	}
	return network;
}

/** libp2p neither opens nor closes the datastore it is given. */
async function openStore(dataDirectory: string | undefined): Promise<LevelDatastore | undefined> {
	if (dataDirectory === undefined) return undefined;
	const path = join(dataDirectory, "peerstore");
	await mkdir(path, { recursive: true, mode: 0o700 });
	const store = new LevelDatastore(path);
	try {
		await store.open();
	} catch (cause) {
		throw new AlthingError(
			"network.store_locked",
			`The address book in ${path} cannot be opened; is another daemon running on this data directory?`,
			{ path },
			{ cause },
		);
	}
	return store;
}
