import { createHash, type Hash } from "node:crypto";
import type { Connection, Stream } from "@libp2p/interface";
import { equalBytes, toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import { tooLarge } from "../channels.ts";
import { type Conduct, FAULT_POINTS } from "./conduct.ts";
import { malformed } from "./frames.ts";
import type { NetworkLimits, NetworkLog } from "./options.ts";
import {
	type Answer,
	checkHeader,
	encodeAnswer,
	encodeVerdict,
	HEADER_BYTES,
	MAX_OFFER_BYTES,
	type Offer,
	readOffer,
	transferDeadlineMs,
} from "./payloadFormat.ts";
import { type Permit, PermitPool } from "./permits.ts";
import { Wire } from "./wire.ts";

/** A payload on its way in; kept for a while when its stream breaks, so that it can resume. */
interface Partial_ {
	readonly key: string;
	readonly bytes: Uint8Array;
	readonly hash: Hash;
	readonly permit: Permit;
	received: number;
	stream: Stream | undefined;
	expiry: NodeJS.Timeout | undefined;
}

interface Complete {
	readonly bytes: Uint8Array;
	readonly permit: Permit;
	readonly expiry: NodeJS.Timeout;
}

/**
 * Receives payloads into memory bounded by permits, and hands each to the message that
 * names its transfer.
 *
 * Threats: a peer that offers too much, sends before the grant, sends other bytes than it
 * offered, stalls, or leaves payloads unclaimed. It costs at most its own permits, for at
 * most the deadline.
 */
export class PayloadReceiver {
	readonly #limits: NetworkLimits;
	readonly #log: NetworkLog;
	readonly #conduct: Conduct;
	readonly #accepts: (peer: PeerId, replyTo: number) => boolean;
	readonly #permits: PermitPool;
	readonly #partial = new Map<string, Partial_>();
	readonly #complete = new Map<string, Complete>();

	constructor(deps: {
		limits: NetworkLimits;
		log: NetworkLog;
		conduct: Conduct;
		/** Members may offer; anyone may answer a request of ours (`replyTo` not 0) that is pending. */
		accepts: (peer: PeerId, replyTo: number) => boolean;
	}) {
		this.#limits = deps.limits;
		this.#log = deps.log;
		this.#conduct = deps.conduct;
		this.#accepts = deps.accepts;
		this.#permits = new PermitPool(deps.limits.payloadPermits, deps.limits.payloadPermitsPerPeer);
	}

	get permitsTaken(): number {
		return this.#permits.taken;
	}

	/** Takes the payload of `transfer` out, freeing its permit; undefined when it never came or has expired. */
	claim(peer: PeerId, transfer: string): Uint8Array | undefined {
		const key = `${peer}/${transfer}`;
		const complete = this.#complete.get(key);
		if (complete === undefined) return undefined;
		this.#complete.delete(key);
		clearTimeout(complete.expiry);
		complete.permit.release();
		return complete.bytes;
	}

	/** The stream handler of the payload protocol. */
	handle(stream: Stream, connection: Connection): void {
		const peer = connection.remotePeer.toString();
		const ended = new AbortController();
		const wire: Wire = new Wire(stream, MAX_OFFER_BYTES, {
			onFrame: (frame) => {
				const offer = readOffer(frame);
				// Until the grant no further byte may come: flow control is ours, not Yamux's,
				// which widens the window whether or not we have consumed anything.
				wire.raw(() => {
					this.#conduct.fault(peer, "network.ungranted_payload", FAULT_POINTS.serious);
					throw malformed("payload bytes before they were granted");
				});
				this.#answer(peer, offer, wire, ended.signal).catch((error) => wire.abort(error));
			},
			onEnd: (error) => ended.abort(error ?? new Error("the payload stream ended")),
		});
	}

	stop(): void {
		for (const partial of this.#partial.values()) this.#drop(partial);
		for (const complete of this.#complete.values()) {
			clearTimeout(complete.expiry);
			complete.permit.release();
		}
		this.#complete.clear();
	}

	async #answer(peer: PeerId, offer: Offer, wire: Wire, ended: AbortSignal): Promise<void> {
		const refuse = async (code: string, message: string): Promise<void> => {
			await wire.write(encodeAnswer({ kind: "refused", code, message }));
			await wire.close();
		};
		if (!this.#accepts(peer, offer.replyTo)) {
			this.#conduct.fault(peer, "network.not_a_member", FAULT_POINTS.minor);
			return refuse("network.refused", "Only members may send payloads.");
		}
		if (offer.length > this.#limits.maxBlobBytes) {
			this.#conduct.fault(peer, "network.too_large", FAULT_POINTS.minor);
			return refuse(
				"network.too_large",
				tooLarge("payload", offer.length, this.#limits.maxBlobBytes).message,
			);
		}
		const partial = await this.#place(peer, offer, wire.stream, ended);
		const have = partial.received;
		const deadline = setTimeout(
			() => wire.abort(new Error("the payload missed its deadline")),
			transferDeadlineMs(offer.length - have),
		);
		// The sink must stand before the grant leaves: bytes may answer it at once.
		const header = new Uint8Array(HEADER_BYTES);
		let headerFill = 0;
		wire.raw((chunk) => {
			let data = chunk;
			if (headerFill < HEADER_BYTES) {
				const take = Math.min(HEADER_BYTES - headerFill, data.length);
				header.set(data.subarray(0, take), headerFill);
				headerFill += take;
				data = data.subarray(take);
				if (headerFill < HEADER_BYTES) return;
				this.#checkHeader(peer, partial, header, offer, have);
			}
			this.#append(peer, partial, data);
			if (partial.received === partial.bytes.length) {
				clearTimeout(deadline);
				this.#finish(peer, offer, partial, wire).catch((error) => wire.abort(error));
			}
		});
		ended.addEventListener("abort", () => {
			clearTimeout(deadline);
			this.#park(partial, wire.stream);
		});
		if (ended.aborted) {
			clearTimeout(deadline);
			this.#park(partial, wire.stream);
			return;
		}
		const grant: Answer = { kind: "grant", have };
		await wire.write(encodeAnswer(grant));
		if (have > 0) this.#log.info({ peer, have, sizeBytes: offer.length }, "payload resumes");
	}

	/** The state of an earlier, broken transfer of the same bytes, or a new buffer under a new permit. */
	async #place(peer: PeerId, offer: Offer, stream: Stream, ended: AbortSignal): Promise<Partial_> {
		const key = `${peer}/${toHex(offer.sha256)}/${offer.length}`;
		const known = this.#partial.get(key);
		if (known !== undefined) {
			clearTimeout(known.expiry);
			const previous = known.stream;
			known.stream = stream;
			// The sender knows its old stream is broken before we do.
			previous?.abort(new Error("the payload continues on another stream"));
			return known;
		}
		if (this.#permits.exhausted(peer)) this.#evict();
		const wait = AbortSignal.any([ended, AbortSignal.timeout(this.#limits.payloadWaitMs)]);
		const permit = await this.#permits.acquire(peer, wait);
		const partial: Partial_ = {
			key,
			bytes: new Uint8Array(offer.length),
			hash: createHash("sha256"),
			permit,
			received: 0,
			stream,
			expiry: undefined,
		};
		this.#partial.set(key, partial);
		return partial;
	}

	#checkHeader(peer: PeerId, partial: Partial_, header: Uint8Array, offer: Offer, have: number): void {
		try {
			checkHeader(header, offer, have);
		} catch (error) {
			this.#conduct.fault(peer, "network.malformed", FAULT_POINTS.serious);
			this.#drop(partial);
			throw error;
		}
	}

	#append(peer: PeerId, partial: Partial_, data: Uint8Array): void {
		if (data.length > partial.bytes.length - partial.received) {
			this.#conduct.fault(peer, "network.payload_overrun", FAULT_POINTS.serious);
			this.#drop(partial);
			throw malformed("more payload bytes than it offered");
		}
		partial.bytes.set(data, partial.received);
		partial.hash.update(data);
		partial.received += data.length;
	}

	async #finish(peer: PeerId, offer: Offer, partial: Partial_, wire: Wire): Promise<void> {
		this.#partial.delete(partial.key);
		if (!equalBytes(partial.hash.digest(), offer.sha256)) {
			partial.permit.release();
			this.#conduct.fault(peer, "network.corrupt_payload", FAULT_POINTS.minor);
			await wire.write(encodeVerdict({ kind: "corrupt" }));
			await wire.close();
			return;
		}
		const key = `${peer}/${toHex(offer.transfer)}`;
		const expiry = setTimeout(() => {
			this.#log.warn({ peer }, "a payload was never claimed by its message");
			this.claim(peer, toHex(offer.transfer));
		}, this.#limits.payloadWaitMs);
		this.#complete.set(key, { bytes: partial.bytes, permit: partial.permit, expiry });
		await wire.write(encodeVerdict({ kind: "whole" }));
		await wire.close();
	}

	/** Keeps what a broken stream brought, in case the sender offers the same bytes again. */
	#park(partial: Partial_, stream: Stream): void {
		if (this.#partial.get(partial.key) !== partial || partial.stream !== stream) return;
		partial.stream = undefined;
		partial.expiry = setTimeout(() => this.#drop(partial), this.#limits.payloadWaitMs);
	}

	/** Parked partials must not keep live transfers waiting: the oldest goes first. */
	#evict(): void {
		for (const partial of this.#partial.values()) {
			if (partial.stream === undefined) {
				this.#drop(partial);
				return;
			}
		}
	}

	#drop(partial: Partial_): void {
		clearTimeout(partial.expiry);
		this.#partial.delete(partial.key);
		partial.permit.release();
		partial.stream?.abort(new AlthingError("network.stopped", "The payload was given up."));
	}
}
