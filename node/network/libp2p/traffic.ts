import type { MultiaddrConnection } from "@libp2p/interface";
import type { PeerId } from "../../../crypto/identity.ts";

export interface Traffic {
	bytesIn: number;
	bytesOut: number;
	lastSeenMs: number | undefined;
}

/** Counts every byte of a peer's connections (encrypted size, all protocols). */
export class TrafficMeter {
	readonly #peers = new Map<PeerId, Traffic>();
	readonly #nowMs: () => number;
	readonly #onBytes: (peer: PeerId, sizeBytes: number) => boolean;

	/** `onBytes` is asked at each arrival; answering false aborts the connection. */
	constructor(nowMs: () => number, onBytes: (peer: PeerId, sizeBytes: number) => boolean) {
		this.#nowMs = nowMs;
		this.#onBytes = onBytes;
	}

	of(peer: PeerId): Readonly<Traffic> {
		return this.#peers.get(peer) ?? { bytesIn: 0, bytesOut: 0, lastSeenMs: undefined };
	}

	/**
	 * Wraps `dispatchEvent` and `send` rather than adding a `message` listener: the stream
	 * hands buffered data to whoever listens first, so that a listener of ours added before
	 * the muxer's would swallow its first frames (@libp2p/prometheus-metrics does likewise).
	 */
	track(peer: PeerId, connection: MultiaddrConnection): void {
		const traffic = this.#peers.get(peer) ?? { bytesIn: 0, bytesOut: 0, lastSeenMs: undefined };
		this.#peers.set(peer, traffic);
		const dispatchEvent = connection.dispatchEvent.bind(connection);
		connection.dispatchEvent = (event) => {
			if (event.type === "message") {
				const sizeBytes = (event as unknown as { data: { byteLength: number } }).data.byteLength;
				traffic.bytesIn += sizeBytes;
				traffic.lastSeenMs = this.#nowMs();
				if (!this.#onBytes(peer, sizeBytes)) {
					connection.abort(new Error("the peer sends more bytes per second than allowed"));
					return false;
				}
			}
			return dispatchEvent(event);
		};
		const send = connection.send.bind(connection);
		connection.send = (data) => {
			traffic.bytesOut += data.byteLength;
			return send(data);
		};
	}

	forget(peer: PeerId): void {
		this.#peers.delete(peer);
	}
}
