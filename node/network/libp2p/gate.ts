import type {
	Connection,
	ConnectionGater,
	StreamHandler,
	StreamHandlerOptions,
	Topology,
} from "@libp2p/interface";
import type { PeerId } from "../../../crypto/identity.ts";
import type { Conduct } from "./conduct.ts";
import type { PeerClass } from "./options.ts";
import type { TrafficMeter } from "./traffic.ts";

/** What of libp2p's registrar the gate stands in front of. */
interface Registrar {
	handle(protocol: string, handler: StreamHandler, options?: StreamHandlerOptions): Promise<void>;
	register(protocol: string, topology: Topology): Promise<string>;
}

/**
 * Decides who may connect and which protocols a connection may use.
 *
 * Every protocol any component registers is closed to non-members, unless it is named in
 * `open` (identify, ping and the DHT for all; control and payload check for themselves).
 * The class is looked up when a stream arrives, before the protocol's handler sees a byte.
 */
export class Gate {
	readonly #classify: (peer: PeerId) => PeerClass;
	readonly #conduct: Conduct;
	readonly #traffic: TrafficMeter;
	readonly #maxStrangers: number;
	readonly #open: ReadonlySet<string>;
	readonly #isLinked: (peer: PeerId) => boolean;
	readonly #strangers = new Map<PeerId, number>();
	readonly #waiting = new Map<PeerId, { topology: Topology; connection: Connection }[]>();

	constructor(deps: {
		classify: (peer: PeerId) => PeerClass;
		conduct: Conduct;
		traffic: TrafficMeter;
		maxStrangers: number;
		open: readonly string[];
		isLinked: (peer: PeerId) => boolean;
	}) {
		this.#classify = deps.classify;
		this.#conduct = deps.conduct;
		this.#traffic = deps.traffic;
		this.#maxStrangers = deps.maxStrangers;
		this.#open = new Set(deps.open);
		this.#isLinked = deps.isLinked;
	}

	/** In Node the default gater of libp2p allows everything. */
	connectionGater(): ConnectionGater {
		return {
			denyDialPeer: (peer) => this.#conduct.banned(peer.toString()),
			denyInboundEncryptedConnection: (peer, connection) => {
				const id = peer.toString();
				if (this.#refuses(id, true)) return true;
				this.#traffic.track(id, connection);
				return false;
			},
			denyOutboundEncryptedConnection: (peer, connection) => {
				const id = peer.toString();
				if (this.#refuses(id, false)) return true;
				this.#traffic.track(id, connection);
				return false;
			},
			denyInboundRelayReservation: (peer) => this.#classify(peer.toString()) !== "member",
			denyOutboundRelayedConnection: (from, to) =>
				this.#classify(from.toString()) === "stranger" || this.#classify(to.toString()) !== "member",
		};
	}

	/** Keeps the number of strangers' connections; call it for every opened and closed connection. */
	connectionOpened(peer: PeerId): void {
		this.#strangers.set(peer, (this.#strangers.get(peer) ?? 0) + 1);
	}

	connectionClosed(peer: PeerId): void {
		const left = (this.#strangers.get(peer) ?? 0) - 1;
		if (left > 0) {
			this.#strangers.set(peer, left);
		} else {
			this.#strangers.delete(peer);
			this.#waiting.delete(peer);
		}
	}

	strangers(): number {
		let count = 0;
		for (const [peer, connections] of this.#strangers) {
			if (this.#classify(peer) !== "member") count += connections;
		}
		return count;
	}

	/** Tells gossip and other members' protocols of a peer, now that it has accepted our hello. */
	linked(peer: PeerId): void {
		const waiting = this.#waiting.get(peer) ?? [];
		this.#waiting.delete(peer);
		for (const { topology, connection } of waiting) {
			if (connection.status === "open") void topology.onConnect?.(connection.remotePeer, connection);
		}
	}

	/**
	 * A libp2p service, to be listed first, that puts the gate before the registrar.
	 *
	 * `libp2p.use(protocol, middleware)` would be the documented way; in libp2p 3.3.11 it
	 * hands out the stored array, and every inbound stream pushes its handler onto it, so
	 * that the handlers of all earlier streams run again.
	 *
	 * Members' protocols learn of a peer only when it has answered our hello: before that it
	 * may not know us as a member yet, would reset gossipsub's one outbound stream, and
	 * gossipsub never opens a second.
	 */
	service(): (components: { registrar: Registrar }) => object {
		return ({ registrar }) => {
			const handle = registrar.handle.bind(registrar);
			registrar.handle = (protocol, handler, options) =>
				handle(protocol, this.#open.has(protocol) ? handler : this.#guard(protocol, handler), options);
			const register = registrar.register.bind(registrar);
			registrar.register = (protocol, topology) =>
				register(protocol, this.#open.has(protocol) ? topology : this.#defer(topology));
			return {};
		};
	}

	#guard(protocol: string, handler: StreamHandler): StreamHandler {
		return (stream, connection) => {
			const peer = connection.remotePeer.toString();
			if (this.#classify(peer) !== "member") {
				// An honest newcomer may be a charter version ahead of us: a fault, but a small one.
				this.#conduct.fault(peer, "network.not_a_member", 5);
				stream.abort(new Error(`${protocol} is for members only`));
				return;
			}
			return handler(stream, connection);
		};
	}

	#defer(topology: Topology): Topology {
		return {
			...topology,
			onConnect: (id, connection) => {
				const peer = id.toString();
				if (this.#isLinked(peer)) return topology.onConnect?.(id, connection);
				const waiting = this.#waiting.get(peer) ?? [];
				waiting.push({ topology, connection });
				this.#waiting.set(peer, waiting);
			},
		};
	}

	#refuses(peer: PeerId, inbound: boolean): boolean {
		if (this.#conduct.banned(peer)) return true;
		// Only what strangers open counts: a node without a charter yet knows nobody.
		return inbound && this.#classify(peer) !== "member" && this.strangers() >= this.#maxStrangers;
	}
}
