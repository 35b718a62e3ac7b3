import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Connection } from "@libp2p/interface";
import { toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { malformed } from "./frames.ts";
import type { NetworkLimits, NetworkLog } from "./options.ts";
import {
	encodeHeader,
	encodeOffer,
	MAX_OFFER_BYTES,
	type Offer,
	readAnswer,
	readVerdict,
	transferDeadlineMs,
} from "./payloadFormat.ts";
import { PermitPool } from "./permits.ts";
import { SLICE_BYTES, Wire } from "./wire.ts";

const ATTEMPTS = 4;

/** Sends payloads: offers, waits for the grant, sends from where the receiver is, resumes after a break. */
export class PayloadSender {
	readonly #limits: NetworkLimits;
	readonly #log: NetworkLog;
	readonly #protocol: string;
	readonly #connection: (peer: PeerId) => Promise<Connection>;
	readonly #outgoing: PermitPool;

	constructor(deps: {
		limits: NetworkLimits;
		log: NetworkLog;
		protocol: string;
		/** An open connection; waits a while for one, and rejects with `network.unreachable`. */
		connection: (peer: PeerId) => Promise<Connection>;
	}) {
		this.#limits = deps.limits;
		this.#log = deps.log;
		this.#protocol = deps.protocol;
		this.#connection = deps.connection;
		// More at once than the receiver grants would only queue there.
		this.#outgoing = new PermitPool(Number.POSITIVE_INFINITY, deps.limits.payloadPermitsPerPeer);
	}

	/**
	 * Resolves with the hex transfer id once the receiver holds the whole payload and has
	 * checked its hash. Rejects with `network.unreachable`, `network.refused`,
	 * `network.too_large`, `network.timeout` or `network.corrupt`.
	 */
	async send(peer: PeerId, blob: Uint8Array, replyTo: number, signal: AbortSignal): Promise<string> {
		const offer: Offer = {
			transfer: randomBytes(16),
			length: blob.length,
			sha256: await hashInSlices(blob),
			replyTo,
		};
		const permit = await this.#outgoing.acquire(peer, signal);
		try {
			for (let attempt = 1; ; attempt += 1) {
				const connection = await this.#connection(peer);
				try {
					await this.#transfer(connection, offer, blob, signal);
					return toHex(offer.transfer);
				} catch (error) {
					signal.throwIfAborted();
					if (error instanceof AlthingError || attempt === ATTEMPTS) throw asAlthingError(error, peer);
					this.#log.info({ peer, attempt, reason: String(error) }, "payload stream broke, offering again");
				}
			}
		} finally {
			permit.release();
		}
	}

	async #transfer(
		connection: Connection,
		offer: Offer,
		blob: Uint8Array,
		signal: AbortSignal,
	): Promise<void> {
		const stream = await connection.newStream(this.#protocol, {
			signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
			runOnLimitedConnection: true,
		});
		const frames = new FrameQueue();
		const wire = new Wire(stream, MAX_OFFER_BYTES, {
			onFrame: (frame) => frames.push(frame),
			onEnd: (error) => frames.end(error ?? new Error("the payload stream ended early")),
		});
		try {
			await wire.write(encodeOffer(offer), signal);
			const grantWait = AbortSignal.any([signal, AbortSignal.timeout(this.#limits.payloadWaitMs)]);
			const answer = readAnswer(await frames.next(grantWait));
			if (answer.kind === "refused") throw refusal(answer.code, answer.message);
			if (answer.have > blob.length) throw malformed("a grant beyond the end of the payload");
			const deadline = AbortSignal.any([
				signal,
				AbortSignal.timeout(transferDeadlineMs(blob.length - answer.have)),
			]);
			await wire.write(encodeHeader(offer.length, offer.sha256, answer.have > 0), deadline);
			await wire.write(blob.subarray(answer.have), deadline);
			if (readVerdict(await frames.next(deadline)).kind === "corrupt") {
				throw new AlthingError("network.corrupt", "The receiver got other bytes than were sent.");
			}
			await wire.close();
		} catch (error) {
			wire.abort(error as Error);
			throw error;
		}
	}
}

/** Yields between slices so that a large payload does not hold up heartbeats. */
async function hashInSlices(blob: Uint8Array): Promise<Uint8Array> {
	const hash = createHash("sha256");
	for (let at = 0; at < blob.length; at += SLICE_BYTES) {
		if (at > 0) await nextTurn();
		hash.update(blob.subarray(at, at + SLICE_BYTES));
	}
	return hash.digest();
}

function refusal(code: string, message: string): AlthingError {
	return new AlthingError(
		code === "network.too_large" ? code : "network.refused",
		`The peer refused the payload: ${message}`,
	);
}

function asAlthingError(error: unknown, peer: PeerId): AlthingError {
	if (error instanceof AlthingError) return error;
	const timedOut = error instanceof DOMException && error.name === "TimeoutError";
	return new AlthingError(
		timedOut ? "network.timeout" : "network.unreachable",
		timedOut
			? `The payload to ${peer} was not granted or not taken in time.`
			: `The payload to ${peer} could not be delivered: the link broke ${ATTEMPTS} times.`,
		{ peer },
		{ cause: error },
	);
}

class FrameQueue {
	readonly #frames: Uint8Array[] = [];
	#error: Error | undefined;
	#wake: (() => void) | undefined;

	push(frame: Uint8Array): void {
		this.#frames.push(frame);
		this.#wake?.();
	}

	end(error: Error): void {
		this.#error = error;
		this.#wake?.();
	}

	next(signal: AbortSignal): Promise<Uint8Array> {
		return new Promise((resolve, reject) => {
			const look = (): void => {
				const frame = this.#frames.shift();
				if (frame === undefined && this.#error === undefined && !signal.aborted) return;
				this.#wake = undefined;
				signal.removeEventListener("abort", look);
				if (frame !== undefined) resolve(frame);
				else reject(this.#error ?? signal.reason);
			};
			this.#wake = look;
			signal.addEventListener("abort", look);
			look();
		});
	}
}
