/**
 * The one narrow door between Althing's protocols and the network.
 *
 * Two implementations, libp2p (`node/network/libp2p`) and simulated
 * (`testnet/simulate/network.ts`), are held to one contract suite
 * (`test/node/network/contract.ts`). Protocol code sees only this port, a clock and a
 * source of randomness; the network never learns what a message means.
 */
import type { PeerId } from "../../crypto/identity.ts";

/** A small message (at most {@link MAX_MESSAGE_BYTES}) with an optional large payload. */
export interface Packet {
	readonly body: Uint8Array;
	/** Transferred by offer and grant in slices, hash-checked, resumed after a broken link. */
	readonly blob?: Uint8Array | undefined;
}

export type MessageHandler = (from: PeerId, packet: Packet) => void | Promise<void>;
export type RequestHandler = (from: PeerId, packet: Packet) => Packet | Promise<Packet>;
export type AnnouncementHandler = (from: PeerId, body: Uint8Array) => void;

export interface PeerState {
	readonly peer: PeerId;
	readonly connected: boolean;
	/** Round-trip time in ms of the last answered heartbeat. */
	readonly rttMs?: number | undefined;
	/** Monotonic ms at which any byte last arrived from the peer. */
	readonly lastSeenMs?: number | undefined;
	readonly addresses: readonly string[];
	readonly bytesIn: number;
	readonly bytesOut: number;
}

export interface Network {
	readonly self: PeerId;

	/**
	 * Sends a message on a channel (`/`-separated lower-case name, e.g. `job/3fa9…`).
	 * Resolves once the remote has the whole packet and its handler was called; messages
	 * to one peer on one channel arrive in the order they were sent.
	 * Rejects with `network.unreachable`, `network.refused`, `network.too_large`,
	 * `network.timeout`, or `network.busy` when too much of the channel waits here or there:
	 * then it was not taken, and other channels do not notice.
	 */
	send(to: PeerId, channel: string, packet: Packet): Promise<void>;
	/**
	 * Handles messages on every channel that starts with `prefix`. Returns an unsubscribe function.
	 * A handler that throws `network.busy` at once has not taken the message, and the sender is told.
	 */
	onMessage(
		prefix: string,
		handler: (from: PeerId, channel: string, packet: Packet) => void | Promise<void>,
	): () => void;

	/** Asks and waits for an answer. An error thrown by the remote handler rejects with `network.remote_error`. */
	request(
		to: PeerId,
		method: string,
		packet: Packet,
		options?: { timeoutMs?: number; signal?: AbortSignal },
	): Promise<Packet>;
	/** Serves `method`; only members of the current charter reach it unless `open` says otherwise. */
	onRequest(
		method: string,
		handler: RequestHandler,
		options?: { open?: "members" | "candidates" },
	): () => void;

	/** Publishes at most {@link MAX_ANNOUNCEMENT_BYTES} to every member through gossip. */
	announce(topic: string, body: Uint8Array): Promise<void>;
	onAnnouncement(topic: string, handler: AnnouncementHandler): () => void;

	peers(): readonly PeerState[];
	/** Called when a peer connects (after the application-level hello) or is lost. */
	onPeerChange(handler: (peer: PeerId, connected: boolean) => void): () => void;
}

export const MAX_MESSAGE_BYTES = 1024 * 1024;
export const MAX_ANNOUNCEMENT_BYTES = 16 * 1024;
