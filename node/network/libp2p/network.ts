import { performance } from "node:perf_hooks";
import type { Connection } from "@libp2p/interface";
import { peerIdFromString } from "@libp2p/peer-id";
import { Counter } from "prom-client";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import { checkName, checkPacket, Handlers, type Openness, tooLarge } from "../channels.ts";
import type { AnnouncementHandler, Network, Packet, PeerState, RequestHandler } from "../port.ts";
import { listenError, parseAddress, reachabilityNotes, withPeer } from "./addresses.ts";
import { Conduct } from "./conduct.ts";
import type { Node } from "./config.ts";
import { type Discovered, Discovery } from "./discovery.ts";
import { FRAME, type Frame } from "./frames.ts";
import { Gate } from "./gate.ts";
import { Gossip } from "./gossip.ts";
import { type Hello, PROTOCOL_VERSION, readRefusal } from "./hello.ts";
import { Link, unreachable } from "./link.ts";
import type { FederationNames } from "./names.ts";
import type { NetworkLimits, NetworkOptions, PeerClass } from "./options.ts";
import { transferDeadlineMs } from "./payloadFormat.ts";
import { PayloadReceiver } from "./payloadReceiver.ts";
import { PayloadSender } from "./payloadSender.ts";
import { type Permit, PermitPool } from "./permits.ts";
import { Redialer } from "./redial.ts";
import { ControlServer } from "./serve.ts";
import { TrafficMeter } from "./traffic.ts";

const MAX_LEARNED_PEERS = 1_000;
const DIAL_TIMEOUT_MS = 10_000;
/** How long a broken payload waits for the link to come back before it fails. */
const RELINK_MS = 10_000;

export interface NetworkStatus {
	readonly self: PeerId;
	/** Multiaddrs others can be given, with `/p2p/`. */
	readonly addresses: readonly string[];
	readonly peers: readonly PeerState[];
	readonly missingMembers: readonly PeerId[];
	/** Open connections of peers that are not members. */
	readonly strangers: number;
	readonly payloadPermitsTaken: number;
	/** Faults of peers since the start. */
	readonly faults: number;
	/** Sentences on how this node can be reached. */
	readonly notes: readonly string[];
}

/** The network port over libp2p; built by `createLibp2pNetwork`. */
export class Libp2pNetwork implements Network {
	readonly self: PeerId;
	readonly gate: Gate;
	readonly #options: NetworkOptions;
	readonly #limits: NetworkLimits;
	readonly #names: FederationNames;
	readonly #handlers = new Handlers();
	readonly #traffic: TrafficMeter;
	readonly #conduct: Conduct;
	readonly #received: PayloadReceiver;
	readonly #sender: PayloadSender;
	readonly #server: ControlServer;
	readonly #redialer: Redialer;
	/** Requests under way by peer: more than the peer answers at once wait here, not there. */
	readonly #asking: PermitPool;
	readonly #links = new Map<PeerId, Link>();
	readonly #opening = new Map<PeerId, Promise<Link>>();
	readonly #known = new Map<PeerId, PeerClass>();
	readonly #learned = new Map<PeerId, Set<string>>();
	readonly #queues = new Map<string, Promise<unknown>>();
	readonly #observers = new Set<(peer: PeerId, connected: boolean) => void>();
	readonly #closers: (() => void | Promise<void>)[] = [];
	readonly #nowMs = (): number => performance.now();
	#node: Node | undefined;
	#gossip: Gossip | undefined;
	#discovery: Discovery | undefined;
	#state: "new" | "started" | "stopped" = "new";

	constructor(
		options: NetworkOptions,
		self: PeerId,
		limits: NetworkLimits,
		names: FederationNames,
		open: string[],
	) {
		this.self = self;
		this.#options = options;
		this.#limits = limits;
		this.#names = names;
		this.#asking = new PermitPool(Number.POSITIVE_INFINITY, limits.maxConcurrentRequests);
		const { log } = options;
		const classify = (peer: PeerId): PeerClass => options.membership.classify(peer);
		this.#conduct = new Conduct({
			limits,
			log,
			nowMs: this.#nowMs,
			classify,
			cut: (peer, code) => this.#cut(peer, code),
			counter: options.metrics && faultCounter(options.metrics),
		});
		this.#traffic = new TrafficMeter(this.#nowMs, (peer, sizeBytes) => this.#conduct.bytes(peer, sizeBytes));
		this.gate = new Gate({
			classify,
			conduct: this.#conduct,
			traffic: this.#traffic,
			maxStrangers: limits.maxStrangers,
			open: [...open, names.control, names.payload],
			isLinked: (peer) => this.#links.has(peer),
		});
		this.#received = new PayloadReceiver({
			limits,
			log,
			conduct: this.#conduct,
			accepts: (peer, replyTo) =>
				replyTo === 0 ? classify(peer) === "member" : (this.#links.get(peer)?.isPending(replyTo) ?? false),
		});
		this.#sender = new PayloadSender({
			limits,
			log,
			protocol: names.payload,
			connection: (peer) => this.#openConnection(peer),
		});
		this.#server = new ControlServer({
			limits,
			log,
			handlers: this.#handlers,
			conduct: this.#conduct,
			payloads: this.#received,
			classify,
			hello: () => this.#hello(),
			sendPayload: (peer, blob, replyTo) =>
				this.#sender.send(peer, blob, replyTo, AbortSignal.timeout(this.#blobWaitMs(blob))),
			onHello: (connection, hello) => this.#introduced(connection, hello),
		});
		this.#redialer = new Redialer({
			self,
			capMs: limits.redialCapMs,
			isLinked: (peer) => this.#links.has(peer),
			connect: async (peer) => {
				await this.#link(peer);
			},
		});
	}

	/** Starts listening and dialling. Rejects with `network.port_taken` naming the port. */
	async start(node: Node, closeStore: () => Promise<void>): Promise<void> {
		this.#node = node;
		this.#closers.push(closeStore);
		this.#gossip = new Gossip({
			self: this.self,
			pubsub: node.services.pubsub,
			names: this.#names,
			handlers: this.#handlers,
			conduct: this.#conduct,
			log: this.#options.log,
			classify: (peer) => this.#options.membership.classify(peer),
		});
		this.#discovery = new Discovery({
			dht: node.services.dht,
			self: node.peerId,
			provider: this.#names.provider,
			log: this.#options.log,
		});
		this.#watch(node);
		await node.handle(this.#names.control, (stream, connection) => this.#server.handle(stream, connection), {
			// One in use, one being replaced after a break the peer has not noticed yet.
			maxInboundStreams: 2,
			maxOutboundStreams: 2,
			runOnLimitedConnection: true,
		});
		await node.handle(
			this.#names.payload,
			(stream, connection) => this.#received.handle(stream, connection),
			{
				maxInboundStreams: 8,
				maxOutboundStreams: 8,
				runOnLimitedConnection: true,
			},
		);
		try {
			await node.start();
		} catch (error) {
			await closeStore();
			throw listenError(error, this.#options.listen);
		}
		this.#state = "started";
		this.#closers.push(this.#options.membership.onChange(() => this.#membershipChanged()));
		this.#membershipChanged();
		this.#bootstrap();
	}

	/** Closes links, connections and the address book; a second call does nothing. */
	async stop(): Promise<void> {
		if (this.#state !== "started") return;
		this.#state = "stopped";
		this.#redialer.stop();
		this.#discovery?.stop();
		for (const link of [...this.#links.values()]) link.close(new Error("this node stops"));
		this.#received.stop();
		await this.#node?.stop();
		for (const close of this.#closers) await close();
	}

	/** Multiaddrs at which others can reach this node. */
	addresses(): string[] {
		return (this.#node?.getMultiaddrs() ?? []).map((address) => address.toString());
	}

	async send(to: PeerId, channel: string, packet: Packet): Promise<void> {
		checkName(channel);
		checkPacket(packet, this.#limits.maxBlobBytes);
		if (this.#options.membership.classify(to) !== "member") {
			throw new AlthingError(
				"network.refused",
				`${to} is not a member of the charter: nothing is sent to it.`,
				{
					peer: to,
				},
			);
		}
		// Each send of a channel writes its frame after the one before has written its own,
		// but does not wait for that one's answer.
		const key = `${to}|${channel}`;
		const before = this.#queues.get(key);
		const ready =
			before === undefined ? this.#prepare(to, packet) : before.then(() => this.#prepare(to, packet));
		const asked = ready.then(({ link, transfer }) => ({
			answer: link.ask(
				FRAME.message,
				channel,
				packet,
				transfer,
				AbortSignal.timeout(this.#limits.acknowledgeMs),
			),
		}));
		const turn = asked.catch(() => {});
		this.#queues.set(key, turn);
		void turn.then(() => {
			if (this.#queues.get(key) === turn) this.#queues.delete(key);
		});
		const { answer } = await asked;
		const frame = await answer.catch((error) => {
			throw timedOut(error, `${to} did not acknowledge a message on "${channel}"`);
		});
		if (frame.type !== FRAME.acknowledge) throw this.#refusal(to, frame);
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
		checkPacket(packet, this.#limits.maxBlobBytes);
		const timeout = AbortSignal.timeout(options.timeoutMs ?? this.#limits.acknowledgeMs);
		const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
		let permit: Permit | undefined;
		try {
			permit = await this.#asking.acquire(to, signal);
			const { link, transfer } = await this.#prepare(to, packet, signal);
			const frame = await link.ask(FRAME.request, method, packet, transfer, signal);
			if (frame.type !== FRAME.response) throw this.#refusal(to, frame);
			if (frame.transfer === "") return { body: frame.body };
			const blob = this.#received.claim(to, frame.transfer);
			if (blob === undefined) throw unreachable(to, "the payload of its answer was lost");
			return { body: frame.body, blob };
		} catch (error) {
			throw timedOut(error, `${to} did not answer "${method}"`);
		} finally {
			permit?.release();
		}
	}

	onRequest(method: string, handler: RequestHandler, options: { open?: Openness } = {}): () => void {
		return this.#handlers.onRequest(method, handler, options.open ?? "members");
	}

	async announce(topic: string, body: Uint8Array): Promise<void> {
		await this.#started().gossip.announce(topic, body);
	}

	onAnnouncement(topic: string, handler: AnnouncementHandler): () => void {
		return this.#started().gossip.subscribe(topic, handler);
	}

	peers(): readonly PeerState[] {
		const peers = new Set<PeerId>(this.#options.membership.members().map((member) => member.peer));
		for (const peer of this.#links.keys()) peers.add(peer);
		peers.delete(this.self);
		return [...peers].map((peer) => {
			const { bytesIn, bytesOut, lastSeenMs } = this.#traffic.of(peer);
			const link = this.#links.get(peer);
			const addresses = this.#addressesOf(peer);
			return {
				peer,
				connected: link !== undefined,
				rttMs: link?.rttMs,
				lastSeenMs,
				addresses,
				bytesIn,
				bytesOut,
			};
		});
	}

	onPeerChange(handler: (peer: PeerId, connected: boolean) => void): () => void {
		this.#observers.add(handler);
		return () => this.#observers.delete(handler);
	}

	/** Asks the DHT for the federation's nodes; their addresses feed the redial loop. */
	async discover(): Promise<Discovered[]> {
		const found = await this.#started().discovery.find();
		for (const { peer, addresses } of found) this.learn(peer, addresses);
		return found;
	}

	/** Adds addresses of a peer, e.g. from a ticket; ones that are no multiaddr are dropped. */
	learn(peer: PeerId, addresses: readonly string[]): void {
		// Strangers can put any number of peers into the DHT: members are always kept, others up to a bound.
		const full = this.#learned.size >= MAX_LEARNED_PEERS && !this.#learned.has(peer);
		if (peer === this.self || (full && this.#options.membership.classify(peer) !== "member")) return;
		const known = this.#learned.get(peer) ?? new Set();
		const before = known.size;
		// A bounded set: announcements and the DHT could grow it for ever.
		for (const address of addresses) if (known.size < 16 && parseAddress(address)) known.add(address);
		this.#learned.set(peer, known);
		if (known.size > before && !this.#links.has(peer)) this.#redialer.poke(peer);
	}

	/** What `doctor` needs to know of the network. */
	status(): NetworkStatus {
		const addresses = this.addresses();
		return {
			self: this.self,
			addresses,
			peers: this.peers(),
			missingMembers: this.#redialer.missing(),
			strangers: this.gate.strangers(),
			payloadPermitsTaken: this.#received.permitsTaken,
			faults: this.#conduct.faults,
			notes: reachabilityNotes(addresses, this.#options),
		};
	}

	#started(): { node: Node; gossip: Gossip; discovery: Discovery } {
		if (this.#node === undefined || this.#gossip === undefined || this.#discovery === undefined) {
			throw new AlthingError("network.not_started", "The network has not been started.");
		}
		return { node: this.#node, gossip: this.#gossip, discovery: this.#discovery };
	}

	#hello(): Hello {
		return {
			protocolVersion: PROTOCOL_VERSION,
			softwareVersion: this.#options.softwareVersion,
			federation: this.#names.tag,
			charterVersion: this.#options.charterVersion(),
			messagesPerSecond: this.#limits.messagesPerSecond,
			maxBlobBytes: this.#limits.maxBlobBytes,
		};
	}

	/** A link, and the packet's payload at the other end. */
	async #prepare(
		to: PeerId,
		packet: Packet,
		signal: AbortSignal = AbortSignal.timeout(this.#blobWaitMs(packet.blob)),
	): Promise<{ link: Link; transfer: string }> {
		let link = await this.#reach(to, signal);
		if (packet.blob === undefined || packet.blob.length === 0) return { link, transfer: "" };
		if (packet.blob.length > link.remote.maxBlobBytes) {
			throw tooLarge(`payload (for ${to})`, packet.blob.length, link.remote.maxBlobBytes);
		}
		const transfer = await this.#sender.send(to, packet.blob, 0, signal);
		if (!link.open) link = await this.#reach(to, signal);
		return { link, transfer };
	}

	#blobWaitMs(blob: Uint8Array | undefined): number {
		return this.#limits.payloadWaitMs + (blob === undefined ? 0 : transferDeadlineMs(blob.length));
	}

	/** The link to a peer, dialling once when there is none; at once unreachable while dials fail. */
	async #reach(peer: PeerId, signal: AbortSignal): Promise<Link> {
		const link = this.#links.get(peer);
		if (link !== undefined) return link;
		if (this.#state !== "started") throw unreachable(peer, "this node is stopped");
		if (peer === this.self) throw unreachable(peer, "it is this node");
		const opening = this.#opening.get(peer);
		if (opening === undefined && this.#redialer.failing(peer))
			throw unreachable(peer, "the last dials failed");
		return await withSignal(opening ?? this.#link(peer), signal);
	}

	#link(peer: PeerId): Promise<Link> {
		const linked = this.#links.get(peer);
		if (linked !== undefined) return Promise.resolve(linked);
		const opening = this.#opening.get(peer) ?? this.#openLink(peer).finally(() => this.#opening.delete(peer));
		this.#opening.set(peer, opening);
		return opening;
	}

	async #openLink(peer: PeerId): Promise<Link> {
		const existing = this.#connections(peer).at(-1);
		const connection = existing ?? (await this.#dial(peer));
		let link: Link;
		try {
			link = await Link.open(connection, {
				limits: this.#limits,
				protocol: this.#names.control,
				hello: () => this.#hello(),
				nowMs: this.#nowMs,
				lastSeenMs: () => this.#traffic.of(peer).lastSeenMs,
				onClose: (closed) => this.#linkClosed(closed),
			});
		} catch (error) {
			this.#options.log.debug({ peer, error: String(error) }, "no link");
			if (error instanceof AlthingError) throw error;
			throw unreachable(peer, "it did not complete the hello", error);
		}
		if (!link.open || this.#state !== "started") throw unreachable(peer, "the link broke at once");
		this.#links.set(peer, link);
		this.#options.log.info({ peer, charterVersion: link.remote.charterVersion }, "peer linked");
		// Pruning spares tagged peers. Not KEEP_ALIVE: libp2p would try to reconnect by itself.
		void this.#node?.peerStore
			.merge(connection.remotePeer, { tags: { "althing-member": { value: 100 } } })
			.catch(() => {});
		this.gate.linked(peer);
		this.#tell(peer, true);
		return link;
	}

	/** Dials every known address; a connection the peer opens meanwhile does as well. */
	async #dial(peer: PeerId): Promise<Connection> {
		const { node } = this.#started();
		const known = this.#addressesOf(peer);
		const booked = await node.peerStore.get(peerIdFromString(peer)).catch(() => undefined);
		for (const { multiaddr } of booked?.addresses ?? []) known.push(multiaddr.toString());
		const addresses = [...new Set(known.map((address) => withPeer(address, peer)))]
			.map((address) => parseAddress(address))
			.filter((address) => address !== undefined);
		// Dialling by id alone would make libp2p search the DHT for up to ten seconds; the
		// discovery loop does that for all members at once.
		if (addresses.length === 0) throw unreachable(peer, "no address of it is known");
		const settled = new AbortController();
		const met = new AbortController();
		const meanwhile = new Promise<Connection>((resolve) => {
			const onOpen = ({ detail }: CustomEvent<Connection>): void => {
				// Our own connection is announced before its dial resolves; aborting then would close it.
				if (detail.direction !== "inbound" || detail.remotePeer.toString() !== peer) return;
				met.abort();
				resolve(detail);
			};
			node.addEventListener("connection:open", onOpen, { signal: settled.signal });
		});
		const dial = node.dial(addresses, {
			signal: AbortSignal.any([met.signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]),
		});
		// Its abort by a meeting is nobody's error.
		dial.catch(() => {});
		try {
			return await Promise.race([meanwhile, dial]);
		} catch (error) {
			throw unreachable(peer, `no answer at ${addresses.join(", ")}`, error);
		} finally {
			settled.abort();
		}
	}

	async #openConnection(peer: PeerId): Promise<Connection> {
		const open = this.#links.get(peer)?.connection ?? this.#connections(peer).at(-1);
		if (open?.status === "open") return open;
		const until = this.#nowMs() + RELINK_MS;
		for (;;) {
			try {
				return (await this.#link(peer)).connection;
			} catch (error) {
				if (this.#state !== "started" || this.#nowMs() > until) throw error;
				await new Promise((resolve) => setTimeout(resolve, 250));
			}
		}
	}

	#connections(peer: PeerId): Connection[] {
		return (this.#node?.getConnections(peerIdFromString(peer)) ?? []).filter(
			({ status }) => status === "open",
		);
	}

	#addressesOf(peer: PeerId): string[] {
		const charter =
			this.#options.membership.members().find((member) => member.peer === peer)?.addresses ?? [];
		const bootstrap = this.#options.bootstrap.filter((address) => address.endsWith(`/p2p/${peer}`));
		return [...new Set([...charter, ...bootstrap, ...(this.#learned.get(peer) ?? [])])];
	}

	#introduced(connection: Connection, _hello: Hello): void {
		const peer = connection.remotePeer.toString();
		if (this.#options.membership.classify(peer) === "member") this.#linkSoon(peer);
	}

	#linkSoon(peer: PeerId): void {
		if (this.#state !== "started" || this.#links.has(peer)) return;
		this.#link(peer).catch(() => this.#redialer.poke(peer));
	}

	#linkClosed(link: Link): void {
		if (this.#links.get(link.peer) !== link) return;
		this.#links.delete(link.peer);
		this.#options.log.info({ peer: link.peer }, "peer lost");
		this.#tell(link.peer, false);
		this.#redialer.poke(link.peer);
	}

	#tell(peer: PeerId, connected: boolean): void {
		for (const observer of this.#observers) {
			try {
				observer(peer, connected);
			} catch (error) {
				this.#options.log.warn({ peer, error: String(error) }, "peer observer failed");
			}
		}
	}

	#cut(peer: PeerId, code: string): void {
		const error = new Error(`cut off: ${code}`);
		this.#links.get(peer)?.close(error);
		// Not from within a read of the very connection.
		setImmediate(() => {
			for (const connection of this.#connections(peer)) connection.abort(error);
		});
	}

	#watch(node: Node): void {
		node.addEventListener("connection:open", ({ detail }) => {
			const peer = detail.remotePeer.toString();
			this.gate.connectionOpened(peer);
			if (this.#options.membership.classify(peer) === "member") this.#linkSoon(peer);
		});
		node.addEventListener("connection:close", ({ detail }) => {
			this.gate.connectionClosed(detail.remotePeer.toString());
			const link = this.#links.get(detail.remotePeer.toString());
			if (link?.connection === detail) link.close(new Error("the connection closed"));
		});
		node.addEventListener("peer:disconnect", ({ detail }) => {
			const peer = detail.toString();
			this.#conduct.forget(peer);
			if (this.#options.membership.classify(peer) !== "member") this.#traffic.forget(peer);
		});
		node.addEventListener("peer:identify", ({ detail }) => {
			if (detail.protocols.includes(this.#names.kad)) this.#fillSoon();
		});
	}

	#fillTimer: NodeJS.Timeout | undefined;

	/** Fills the routing table shortly after peers appeared, then looks for missing members from time to time. */
	#fillSoon(): void {
		if (this.#fillTimer !== undefined || this.#state !== "started") return;
		const later = (delayMs: number): void => {
			this.#fillTimer = setTimeout(() => void look(), delayMs);
			this.#fillTimer.unref();
		};
		let pauseMs = 1_000;
		const look = async (): Promise<void> => {
			if (this.#state !== "started") return;
			const nobody = this.#options.membership.members().length === 0;
			if (nobody || this.#redialer.missing().length > 0 || pauseMs === 1_000) {
				await this.#discovery?.fill();
				await this.discover().catch(() => {});
			}
			pauseMs = Math.min(pauseMs * 2, this.#limits.discoveryIntervalMs);
			later(pauseMs * (0.8 + 0.4 * Math.random()));
		};
		later(200);
		this.#closers.push(() => clearTimeout(this.#fillTimer));
	}

	/** Dials the bootstrap addresses until one answers or another connection exists. */
	#bootstrap(): void {
		const addresses = this.#options.bootstrap
			.map((address) => parseAddress(address))
			.filter((address) => address !== undefined);
		let pauseMs = 500;
		const attempt = async (): Promise<void> => {
			if (this.#state !== "started") return;
			const { node } = this.#started();
			if (node.getConnections().length === 0) {
				const dials = addresses.map((address) =>
					node.dial(address, { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) }),
				);
				await Promise.allSettled(dials);
			}
			pauseMs = Math.min(pauseMs * 2, this.#limits.redialCapMs);
			timer = setTimeout(() => void attempt(), pauseMs * (0.7 + 0.6 * Math.random()));
			timer.unref();
		};
		let timer: NodeJS.Timeout | undefined;
		this.#closers.push(() => clearTimeout(timer));
		if (addresses.length > 0) void attempt();
	}

	#membershipChanged(): void {
		if (this.#state !== "started" || this.#node === undefined) return;
		const { membership } = this.#options;
		this.#redialer.want(membership.members().map((member) => member.peer));
		const present = new Set(
			this.#node.getConnections().map((connection) => connection.remotePeer.toString()),
		);
		for (const peer of new Set([...present, ...this.#known.keys()])) {
			const before = this.#known.get(peer);
			const now = membership.classify(peer);
			if (now === "member") this.#linkSoon(peer);
			if (before !== undefined && before !== "stranger" && now === "stranger")
				this.#cut(peer, "network.expelled");
		}
		this.#known.clear();
		for (const { peer } of membership.members()) this.#known.set(peer, "member");
		for (const peer of present) this.#known.set(peer, membership.classify(peer));
	}

	#refusal(peer: PeerId, frame: Frame): AlthingError {
		if (frame.type !== FRAME.failure) {
			return new AlthingError(
				"network.malformed",
				`${peer} answered a question with frame type ${frame.type}.`,
				{ peer },
			);
		}
		const { code, message, handler } = readRefusal(frame.body);
		if (handler) {
			return new AlthingError("network.remote_error", `${peer} answered with an error: ${message}`, {
				peer,
				remoteCode: code,
				remoteMessage: message,
			});
		}
		const known = ["network.too_large", "network.timeout", "network.busy"];
		return new AlthingError(known.includes(code) ? code : "network.refused", `${peer} refused: ${message}`, {
			peer,
		});
	}
}

function timedOut(error: unknown, what: string): unknown {
	if (!(error instanceof DOMException) || error.name !== "TimeoutError") return error;
	return new AlthingError("network.timeout", `${what} in time.`, {}, { cause: error });
}

function withSignal<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
	return new Promise((resolve, reject) => {
		const onAbort = (): void => reject(signal.reason);
		signal.addEventListener("abort", onAbort, { once: true });
		promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
		if (signal.aborted) onAbort();
	});
}

function faultCounter(registry: NonNullable<NetworkOptions["metrics"]>): Counter<"code"> {
	const name = "althing_network_faults_total";
	const existing = registry.getSingleMetric(name);
	if (existing !== undefined) return existing as Counter<"code">;
	return new Counter({ name, help: "Faults of peers by code.", labelNames: ["code"], registers: [registry] });
}
