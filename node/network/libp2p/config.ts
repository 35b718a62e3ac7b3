import { noise } from "@chainsafe/libp2p-noise";
import { yamux } from "@chainsafe/libp2p-yamux";
import { autoNAT } from "@libp2p/autonat";
import { circuitRelayServer, circuitRelayTransport } from "@libp2p/circuit-relay-v2";
import { dcutr } from "@libp2p/dcutr";
import type { GossipSub } from "@libp2p/gossipsub";
import { gossipsub } from "@libp2p/gossipsub";
import { identify, identifyPush } from "@libp2p/identify";
import type { PrivateKey } from "@libp2p/interface";
import { type KadDHT, kadDHT, passthroughMapper } from "@libp2p/kad-dht";
import { ping } from "@libp2p/ping";
import { prometheusMetrics } from "@libp2p/prometheus-metrics";
import { tcp } from "@libp2p/tcp";
import { webSockets } from "@libp2p/websockets";
import { createLibp2p, type Libp2p, type Libp2pOptions } from "libp2p";
import { MAX_ANNOUNCEMENT_BYTES } from "../port.ts";
import type { Gate } from "./gate.ts";
import { announcementId } from "./gossip.ts";
import type { FederationNames } from "./names.ts";
import type { NetworkLimits, NetworkOptions } from "./options.ts";

const MiB = 1024 * 1024;
const PREFIX = "althing";

export type Services = { gate: object; dht: KadDHT; pubsub: GossipSub };
export type Node = Libp2p<Services>;

/** Protocols a stranger may use: what it takes to search the DHT for the federation. */
export function openProtocols(names: FederationNames): string[] {
	return [`/${PREFIX}/id/1.0.0`, `/${PREFIX}/id/push/1.0.0`, `/${PREFIX}/ping/1.0.0`, names.kad];
}

/** Builds the libp2p node, not yet started. Each unusual value has its reason beside it. */
export async function createNode(
	options: NetworkOptions,
	deps: {
		privateKey: PrivateKey;
		limits: NetworkLimits;
		names: FederationNames;
		gate: Gate;
		datastore?: Libp2pOptions["datastore"];
	},
): Promise<Node> {
	const { limits, names, gate } = deps;
	const relay = options.relay ?? {};
	const listen = [...options.listen, ...(relay.use ?? []).map((address) => `${address}/p2p-circuit`)];
	return (await createLibp2p({
		start: false,
		privateKey: deps.privateKey,
		...(deps.datastore === undefined ? {} : { datastore: deps.datastore }),
		addresses: { listen, ...(options.announce === undefined ? {} : { announce: [...options.announce] }) },
		transports: [
			tcp({ maxConnections: limits.maxConnections + 32, backlog: 64 }),
			webSockets(),
			// Needed to dial through a relay too; it reserves nothing unless told to (relay.use).
			circuitRelayTransport(),
		],
		// Noise alone: no plain-text fallback, on any transport.
		connectionEncrypters: [noise({ prologueBytes: names.prologue })],
		streamMuxers: [
			yamux({
				// The initial window stays at its default: it is never advertised, so mixed
				// settings break links (peerbit #1100). Keep-alive feeds the window's growth.
				enableKeepAlive: true,
				streamOptions: {
					maxStreamWindowSize: 8 * MiB,
					// At least twice the window, or a paused stream is reset (measured at 8 MiB).
					maxReadBufferLength: 16 * MiB,
					// Unlimited by default.
					maxWriteBufferLength: 32 * MiB,
				},
			}),
		],
		connectionGater: gate.connectionGater(),
		// It aborts busy links at the first late ping (js-libp2p #3463, #3504; 2 of 2 transfers of
		// 100 MB under load); our heartbeat counts any byte as life.
		connectionMonitor: { enabled: false },
		connectionManager: {
			maxConnections: limits.maxConnections,
			// Default 5 per second and address: 7 of 12 simultaneous dials failed (measured).
			inboundConnectionThreshold: limits.inboundConnectionsPerSecond,
			// Global, default 10: a few silent sockets would shut everybody out (measured).
			maxIncomingPendingConnections: 100,
			inboundUpgradeTimeout: 5_000,
			// See redial.ts (js-libp2p #3289).
			reconnectRetries: 0,
		},
		// Not cleared: the registry holds the daemon's own metrics too.
		...(options.metrics === undefined
			? {}
			: {
					metrics: prometheusMetrics({
						registry: options.metrics,
						collectDefaultMetrics: false,
						preserveExistingMetrics: true,
					}),
				}),
		services: {
			// First, so that every later service registers through it.
			gate: gate.service(),
			identify: identify({ protocolPrefix: PREFIX, maxMessageSize: 8192 }),
			identifyPush: identifyPush({ protocolPrefix: PREFIX, maxMessageSize: 8192 }),
			ping: ping({ protocolPrefix: PREFIX }),
			dht: kadDHT({
				protocol: names.kad,
				clientMode: false,
				// The default mapper drops private and loopback addresses, and a LAN's DHT stays empty.
				peerInfoMapper: passthroughMapper,
				// Default 10/10: enough for 1,000 nodes at a third of the traffic.
				alpha: 3,
				disjointPaths: 1,
			}),
			pubsub: gossipsub({
				globalSignaturePolicy: "StrictSign",
				allowPublishToZeroTopicPeers: true,
				ignoreDuplicatePublishError: true,
				// A federation's members are all linked: send one's own to each rather than to the mesh.
				floodPublish: true,
				msgIdFn: announcementId,
				// The outbound stream has no back-pressure ("TODO" in gossipsub/src/stream.ts).
				maxOutboundBufferSize: 1 * MiB,
				maxInboundDataLength: 4 * MAX_ANNOUNCEMENT_BYTES,
				maxInboundStreams: 2,
				maxOutboundStreams: 2,
			}),
			...(relay.serve === true
				? {
						relay: circuitRelayServer({
							// By default 128 KiB and 2 minutes: no model update would pass (measured).
							reservations: { maxReservations: 64, applyDefaultLimit: false },
						}),
					}
				: {}),
			...((relay.use ?? []).length === 0
				? {}
				: { autonat: autoNAT({ protocolPrefix: PREFIX }), dcutr: dcutr() }),
		},
	})) as unknown as Node;
}
