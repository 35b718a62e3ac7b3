import type { Connection, Stream } from "@libp2p/interface";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import { checkName, checkPacket, type Handlers } from "../channels.ts";
import type { Packet } from "../port.ts";
import { type Conduct, FAULT_POINTS } from "./conduct.ts";
import { decodeFrame, encodeFrame, FRAME, type Frame, MAX_FRAME_BYTES, malformed } from "./frames.ts";
import { encodeHello, encodeRefusal, type Hello, readHello } from "./hello.ts";
import type { NetworkLimits, NetworkLog, PeerClass } from "./options.ts";
import type { PayloadReceiver } from "./payloadReceiver.ts";
import { Wire } from "./wire.ts";

export interface ServeDeps {
	readonly limits: NetworkLimits;
	readonly log: NetworkLog;
	readonly handlers: Handlers;
	readonly conduct: Conduct;
	readonly payloads: PayloadReceiver;
	readonly classify: (peer: PeerId) => PeerClass;
	readonly hello: () => Hello;
	/** Sends the payload of a response; resolves with its transfer id. */
	readonly sendPayload: (peer: PeerId, blob: Uint8Array, replyTo: number) => Promise<string>;
	/** Told after the peer has introduced itself: it can be reached over this connection. */
	readonly onHello: (connection: Connection, hello: Hello) => void;
}

/** Answers what peers ask on the control streams they open. */
export class ControlServer {
	readonly #deps: ServeDeps;
	readonly #answering = new Map<PeerId, number>();

	constructor(deps: ServeDeps) {
		this.#deps = deps;
	}

	/** The stream handler of the control protocol. */
	handle(stream: Stream, connection: Connection): void {
		const peer = connection.remotePeer.toString();
		let greeted = false;
		const wire: Wire = new Wire(stream, MAX_FRAME_BYTES, {
			onFrame: (bytes) => {
				// Looked up at each message: the charter may have changed since the last one.
				const peerClass = this.#deps.classify(peer);
				if (peerClass === "stranger") {
					this.#turnAway(wire, peer);
					return;
				}
				if (!this.#deps.conduct.message(peer)) throw malformed("more messages per second than allowed");
				const frame = this.#decode(peer, bytes);
				if (greeted) {
					this.#serve(peer, peerClass, frame, wire);
					return;
				}
				greeted = this.#greet(connection, frame, wire);
			},
			onEnd: (error) => {
				if (error instanceof AlthingError && error.code === "network.too_large") {
					this.#deps.conduct.fault(peer, error.code, FAULT_POINTS.serious);
				}
			},
		});
	}

	#decode(peer: PeerId, bytes: Uint8Array): Frame {
		try {
			return decodeFrame(bytes);
		} catch (error) {
			this.#deps.conduct.fault(peer, "network.malformed", FAULT_POINTS.serious);
			throw error;
		}
	}

	#turnAway(wire: Wire, peer: PeerId): void {
		this.#deps.conduct.fault(peer, "network.not_a_member", FAULT_POINTS.minor);
		this.#refuse(wire, "network.refused", "this peer is not a member of the charter known here.");
	}

	#refuse(wire: Wire, code: string, message: string): void {
		const refusal = encodeRefusal({ code, message, handler: false });
		this.#write(wire, encodeFrame(FRAME.refused, 0, { body: refusal }));
		wire.close().catch((error) => wire.abort(error));
	}

	#greet(connection: Connection, frame: Frame, wire: Wire): boolean {
		if (frame.type !== FRAME.hello) throw malformed("a message before its hello");
		try {
			const theirs = readHello(frame.body, this.#deps.hello());
			this.#write(wire, encodeFrame(FRAME.helloAnswer, frame.id, { body: encodeHello(this.#deps.hello()) }));
			this.#deps.onHello(connection, theirs);
			return true;
		} catch (error) {
			const { code, message } = error as AlthingError;
			this.#deps.log.warn({ peer: connection.remotePeer.toString(), code }, message);
			// Said from the other side's point of view: both ends name the same side as older.
			const turned = message
				.replace("the peer is older", "THEY")
				.replace("this node is older", "the peer is older");
			this.#refuse(wire, code, turned.replace("THEY", "this node is older"));
			return false;
		}
	}

	#serve(peer: PeerId, peerClass: PeerClass, frame: Frame, wire: Wire): void {
		switch (frame.type) {
			case FRAME.ping:
				this.#write(wire, encodeFrame(FRAME.pong, frame.id));
				return;
			case FRAME.message:
				this.#message(peer, peerClass, frame, wire);
				return;
			case FRAME.request:
				this.#request(peer, peerClass, frame, wire).catch((error) => wire.abort(error));
				return;
			default:
				throw malformed(`a control frame of type ${frame.type} where a question was expected`);
		}
	}

	#message(peer: PeerId, peerClass: PeerClass, frame: Frame, wire: Wire): void {
		const packet = this.#packet(peer, frame, wire);
		if (packet === undefined) return;
		if (peerClass !== "member") {
			this.#deps.conduct.fault(peer, "network.not_a_member", FAULT_POINTS.minor);
			this.#fail(wire, frame.id, "network.refused", "only members may send messages.");
			return;
		}
		const handler = this.#deps.handlers.channel(frame.name);
		if (handler === undefined) {
			this.#fail(wire, frame.id, "network.refused", `nothing listens on channel "${frame.name}".`);
			return;
		}
		// Called in the order of arrival and acknowledged at once: waiting for an asynchronous
		// handler could deadlock two peers whose handlers send to each other.
		try {
			const running = handler(peer, frame.name, packet);
			if (running !== undefined) running.catch((error) => this.#handlerFailed(peer, frame.name, error));
		} catch (error) {
			if (error instanceof AlthingError && error.code === "network.busy") {
				this.#fail(wire, frame.id, error.code, error.message);
				return;
			}
			this.#handlerFailed(peer, frame.name, error);
		}
		this.#write(wire, encodeFrame(FRAME.acknowledge, frame.id));
	}

	async #request(peer: PeerId, peerClass: PeerClass, frame: Frame, wire: Wire): Promise<void> {
		const packet = this.#packet(peer, frame, wire);
		if (packet === undefined) return;
		const method = this.#deps.handlers.method(frame.name);
		if (peerClass !== "member" && method?.open !== "candidates") {
			this.#deps.conduct.fault(peer, "network.not_a_member", FAULT_POINTS.minor);
			this.#fail(wire, frame.id, "network.refused", `only members may call "${frame.name}".`);
			return;
		}
		if (method === undefined) {
			this.#fail(wire, frame.id, "network.refused", `there is no method "${frame.name}".`);
			return;
		}
		const answering = this.#answering.get(peer) ?? 0;
		if (answering >= this.#deps.limits.maxConcurrentRequests) {
			this.#fail(
				wire,
				frame.id,
				"network.refused",
				`${answering} requests of this peer are still being answered.`,
			);
			return;
		}
		this.#answering.set(peer, answering + 1);
		try {
			const answer = await method.handler(peer, packet);
			checkPacket(answer, this.#deps.limits.maxBlobBytes);
			const transfer = answer.blob?.length ? await this.#deps.sendPayload(peer, answer.blob, frame.id) : "";
			this.#write(wire, encodeFrame(FRAME.response, frame.id, { transfer, body: answer.body }));
		} catch (error) {
			this.#deps.log.debug({ peer, method: frame.name, error: String(error) }, "request handler failed");
			// Only what was thrown for others to read crosses the wire.
			const told =
				error instanceof AlthingError
					? { code: error.code, message: error.message }
					: { code: "internal", message: "the handler failed; see the peer's log." };
			this.#write(
				wire,
				encodeFrame(FRAME.failure, frame.id, { body: encodeRefusal({ ...told, handler: true }) }),
			);
		} finally {
			const left = (this.#answering.get(peer) ?? 1) - 1;
			if (left > 0) this.#answering.set(peer, left);
			else this.#answering.delete(peer);
		}
	}

	/** The frame's packet with its payload, or undefined after saying what is wrong. */
	#packet(peer: PeerId, frame: Frame, wire: Wire): Packet | undefined {
		try {
			checkName(frame.name);
		} catch {
			this.#deps.conduct.fault(peer, "network.malformed", FAULT_POINTS.serious);
			throw malformed("a name that is not one");
		}
		if (frame.transfer === "") return { body: frame.body };
		const blob = this.#deps.payloads.claim(peer, frame.transfer);
		if (blob === undefined) {
			this.#fail(wire, frame.id, "network.timeout", "the payload of the message is no longer held.");
			return undefined;
		}
		return { body: frame.body, blob };
	}

	#fail(wire: Wire, id: number, code: string, message: string): void {
		this.#write(
			wire,
			encodeFrame(FRAME.failure, id, { body: encodeRefusal({ code, message, handler: false }) }),
		);
	}

	#handlerFailed(peer: PeerId, channel: string, error: unknown): void {
		this.#deps.log.warn({ peer, channel, error: String(error) }, "message handler failed");
	}

	#write(wire: Wire, bytes: Uint8Array): void {
		wire.write(bytes).catch((error) => wire.abort(error));
	}
}
