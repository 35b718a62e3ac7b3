import type { AbortOptions, PeerId as Libp2pPeerId, PeerInfo } from "@libp2p/interface";
import type { KadDHT } from "@libp2p/kad-dht";
import type { CID } from "multiformats/cid";
import type { PeerId } from "../../../crypto/identity.ts";
import type { NetworkLog } from "./options.ts";

const QUERY_MS = 10_000;

export interface Discovered {
	readonly peer: PeerId;
	readonly addresses: readonly string[];
}

/**
 * Finds the federation's nodes through the DHT, where each provides one record under the
 * federation's key.
 */
export class Discovery {
	readonly #dht: KadDHT;
	readonly #self: Libp2pPeerId;
	readonly #provider: CID;
	readonly #log: NetworkLog;
	readonly #stop = new AbortController();
	#filling: Promise<void> | undefined;
	#provided = false;

	constructor(deps: { dht: KadDHT; self: Libp2pPeerId; provider: CID; log: NetworkLog }) {
		this.#dht = deps.dht;
		this.#self = deps.self;
		this.#provider = deps.provider;
		this.#log = deps.log;
	}

	/**
	 * Looks ourselves up, which fills the routing tables on the way, then provides the
	 * federation's record. A private DHT stays empty without it: kad-dht's first self-query
	 * runs on an empty table and its next comes five minutes later (1.9 of 19 entries after
	 * 60 s, measured).
	 */
	fill(): Promise<void> {
		this.#filling ??= this.#fill().finally(() => {
			this.#filling = undefined;
		});
		return this.#filling;
	}

	/** Nodes that provide the federation's record, ourselves not among them. */
	async find(): Promise<Discovered[]> {
		const found = new Map<PeerId, Set<string>>();
		const add = (info: PeerInfo): void => {
			if (info.id.equals(this.#self)) return;
			const addresses = found.get(info.id.toString()) ?? new Set();
			for (const address of info.multiaddrs) addresses.add(address.toString());
			found.set(info.id.toString(), addresses);
		};
		try {
			for await (const event of this.#dht.findProviders(this.#provider, this.#options())) {
				if (event.name === "PROVIDER" || event.name === "PEER_RESPONSE") event.providers.forEach(add);
			}
		} catch (error) {
			// A query cut off by its time limit still found what it found.
			this.#log.debug({ error: String(error) }, "provider query ended early");
		}
		return [...found].map(([peer, addresses]) => ({ peer, addresses: [...addresses] }));
	}

	stop(): void {
		this.#stop.abort();
	}

	async #fill(): Promise<void> {
		try {
			for await (const _ of this.#dht.getClosestPeers(this.#self.toMultihash().bytes, this.#options())) {
				// Only the walk matters.
			}
			let stored = 0;
			for await (const event of this.#dht.provide(this.#provider, this.#options())) {
				if (event.name === "PEER_RESPONSE") stored += 1;
			}
			if (!this.#provided) this.#log.debug({ stored }, "provided the federation's record");
			this.#provided = true;
		} catch (error) {
			this.#log.debug({ error: String(error) }, "filling the routing table ended early");
		}
	}

	#options(): AbortOptions {
		return { signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(QUERY_MS)]) };
	}
}
