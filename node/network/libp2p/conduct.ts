import type { Counter } from "prom-client";
import type { PeerId } from "../../../crypto/identity.ts";
import type { NetworkLimits, NetworkLog, PeerClass } from "./options.ts";
import { TokenBucket } from "./tokenBucket.ts";

/** Points of a fault: {@link PARDON} of them within about a minute disconnect and ban. */
export const FAULT_POINTS = { minor: 5, serious: 100 } as const;
const PARDON = 99;
const FORGIVEN_PER_SECOND = 2;

interface Record_ {
	readonly messages: TokenBucket;
	readonly bytes: TokenBucket;
	readonly pardon: TokenBucket;
	readonly bytesClass: PeerClass;
}

/** Keeps the rates and the faults of peers, and cuts off those that go too far. */
export class Conduct {
	readonly #limits: NetworkLimits;
	readonly #log: NetworkLog;
	readonly #nowMs: () => number;
	readonly #classify: (peer: PeerId) => PeerClass;
	readonly #cut: (peer: PeerId, code: string) => void;
	readonly #counter: Counter<"code"> | undefined;
	readonly #records = new Map<PeerId, Record_>();
	readonly #bannedUntilMs = new Map<PeerId, number>();
	#faults = 0;

	constructor(deps: {
		limits: NetworkLimits;
		log: NetworkLog;
		nowMs: () => number;
		classify: (peer: PeerId) => PeerClass;
		/** Closes every connection of the peer. */
		cut: (peer: PeerId, code: string) => void;
		counter?: Counter<"code"> | undefined;
	}) {
		this.#limits = deps.limits;
		this.#log = deps.log;
		this.#nowMs = deps.nowMs;
		this.#classify = deps.classify;
		this.#cut = deps.cut;
		this.#counter = deps.counter;
	}

	get faults(): number {
		return this.#faults;
	}

	banned(peer: PeerId): boolean {
		const until = this.#bannedUntilMs.get(peer);
		if (until === undefined) return false;
		if (until > this.#nowMs()) return true;
		this.#bannedUntilMs.delete(peer);
		return false;
	}

	/** Counts one control message; false (and a serious fault) when the peer floods. */
	message(peer: PeerId): boolean {
		if (this.#record(peer).messages.take(1, this.#nowMs())) return true;
		this.fault(peer, "network.message_flood", FAULT_POINTS.serious);
		return false;
	}

	/** Counts bytes of the connection; false (and a serious fault) when the peer floods. */
	bytes(peer: PeerId, sizeBytes: number): boolean {
		if (this.#record(peer).bytes.take(sizeBytes, this.#nowMs())) return true;
		this.fault(peer, "network.byte_flood", FAULT_POINTS.serious);
		return false;
	}

	fault(peer: PeerId, code: string, points: number): void {
		this.#faults += 1;
		this.#counter?.inc({ code });
		this.#log.warn({ peer, code, points }, "peer broke a network rule");
		const now = this.#nowMs();
		if (points <= PARDON && this.#record(peer).pardon.take(points, now)) return;
		for (const [other, until] of this.#bannedUntilMs) if (until <= now) this.#bannedUntilMs.delete(other);
		this.#bannedUntilMs.set(peer, now + this.#limits.banMs);
		this.#records.delete(peer);
		this.#cut(peer, code);
	}

	/** Drops what is kept of a peer without connections; a ban stays until it ends. */
	forget(peer: PeerId): void {
		this.#records.delete(peer);
	}

	#record(peer: PeerId): Record_ {
		const peerClass = this.#classify(peer);
		let record = this.#records.get(peer);
		if (record === undefined || record.bytesClass !== peerClass) {
			const now = this.#nowMs();
			const { messagesPerSecond, memberBytesPerSecond, strangerBytesPerSecond } = this.#limits;
			const bytesPerSecond = peerClass === "member" ? memberBytesPerSecond : strangerBytesPerSecond;
			// A candidate joins with a handful of requests; it needs no member's rate.
			const messages = peerClass === "member" ? messagesPerSecond : Math.min(20, messagesPerSecond);
			record = {
				messages: new TokenBucket(messages, messages * 5, now),
				bytes: new TokenBucket(bytesPerSecond, bytesPerSecond * 2, now),
				pardon: record?.pardon ?? new TokenBucket(FORGIVEN_PER_SECOND, PARDON, now),
				bytesClass: peerClass,
			};
			this.#records.set(peer, record);
		}
		return record;
	}
}
