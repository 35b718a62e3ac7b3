import type { Registry } from "prom-client";
import type { PeerId } from "../../../crypto/identity.ts";

/** What a peer is to this node: see `gate.ts` for what each may do. */
export type PeerClass = "member" | "candidate" | "stranger";

/** The charter as the network needs it; it is asked again at every message. */
export interface Membership {
	classify(peer: PeerId): PeerClass;
	/** Members and the addresses the charter or the last run knows; may include this node. */
	members(): readonly { readonly peer: PeerId; readonly addresses: readonly string[] }[];
	/** Calls back after every change of members or invitations; returns an unsubscribe function. */
	onChange(listener: () => void): () => void;
}

/** The part of a pino logger the network uses. */
export interface NetworkLog {
	debug(facts: object, message: string): void;
	info(facts: object, message: string): void;
	warn(facts: object, message: string): void;
}

export interface NetworkLimits {
	/** Largest payload in bytes, each way. */
	readonly maxBlobBytes: number;
	/** Payloads held in memory at once while arriving or waiting for their message; memory = permits x maxBlobBytes. */
	readonly payloadPermits: number;
	/** Of those, at most this many for one peer. */
	readonly payloadPermitsPerPeer: number;
	/** Control messages per second and member; bursts of five seconds' worth pass. */
	readonly messagesPerSecond: number;
	/** Requests of one peer being answered at once, and asked of one peer at once. */
	readonly maxConcurrentRequests: number;
	/** All bytes of a member's connection per second; bursts of two seconds' worth pass. */
	readonly memberBytesPerSecond: number;
	/** The same for candidates and strangers. */
	readonly strangerBytesPerSecond: number;
	readonly maxConnections: number;
	/** Connections of peers that are not members. */
	readonly maxStrangers: number;
	/** New inbound connections per second and IP address. */
	readonly inboundConnectionsPerSecond: number;
	/** Time between heartbeats on the control stream. */
	readonly heartbeatMs: number;
	/** A link from which no byte came for this long is closed. */
	readonly silenceMs: number;
	/** Longest pause between two dials of an unreachable member. */
	readonly redialCapMs: number;
	/** How long a peer that broke a limit is refused. */
	readonly banMs: number;
	/** Time within which a message must be acknowledged. */
	readonly acknowledgeMs: number;
	/** How long a payload waits for a permit of the receiver, and for its own message afterwards. */
	readonly payloadWaitMs: number;
	/** Pause between two looks into the DHT while a member is unreachable. */
	readonly discoveryIntervalMs: number;
}

const MiB = 1024 * 1024;

export const DEFAULT_LIMITS: NetworkLimits = {
	maxBlobBytes: 64 * MiB,
	payloadPermits: 8,
	payloadPermitsPerPeer: 2,
	messagesPerSecond: 1000,
	maxConcurrentRequests: 64,
	memberBytesPerSecond: 256 * MiB,
	strangerBytesPerSecond: 1 * MiB,
	maxConnections: 300,
	maxStrangers: 64,
	inboundConnectionsPerSecond: 100,
	heartbeatMs: 2_000,
	silenceMs: 15_000,
	redialCapMs: 60_000,
	banMs: 30_000,
	acknowledgeMs: 30_000,
	payloadWaitMs: 60_000,
	discoveryIntervalMs: 30_000,
};

export interface NetworkOptions {
	/** 32-byte Ed25519 seed of the node's identity. */
	readonly identitySeed: Uint8Array;
	/** Hex SHA-256 of the founding charter. */
	readonly federationId: string;
	readonly federationName: string;
	/** Multiaddrs to listen on, e.g. `/ip4/0.0.0.0/tcp/4001`, `/ip4/0.0.0.0/tcp/4002/ws`. */
	readonly listen: readonly string[];
	/** Multiaddrs to tell others, when they differ from what the node sees of itself. */
	readonly announce?: readonly string[];
	/** Addresses of any node of the federation, with or without `/p2p/`. */
	readonly bootstrap: readonly string[];
	readonly membership: Membership;
	readonly limits?: Partial<NetworkLimits>;
	/** Directory of the address book; without it addresses are forgotten at the end. */
	readonly dataDirectory?: string;
	readonly relay?: {
		/** Forward connections between members of which one cannot be dialled. */
		readonly serve?: boolean;
		/** Relay multiaddrs (with `/p2p/`) to be reachable through. */
		readonly use?: readonly string[];
	};
	readonly log: NetworkLog;
	readonly metrics?: Registry;
	/** Told to peers in the hello. */
	readonly softwareVersion: string;
	readonly charterVersion: () => number;
}
