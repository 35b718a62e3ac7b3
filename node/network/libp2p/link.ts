import type { Connection } from "@libp2p/interface";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import type { Packet } from "../port.ts";
import { decodeFrame, encodeFrame, FRAME, type Frame, MAX_FRAME_BYTES, malformed } from "./frames.ts";
import { encodeHello, type Hello, readHello, readRefusal } from "./hello.ts";
import type { NetworkLimits } from "./options.ts";
import { SendQueue } from "./sendQueue.ts";
import { TokenBucket } from "./tokenBucket.ts";
import { Wire } from "./wire.ts";

const HELLO_TIMEOUT_MS = 5_000;

interface Pending {
	readonly resolve: (answer: Frame) => void;
	readonly reject: (error: Error) => void;
}

export interface LinkDeps {
	readonly limits: NetworkLimits;
	readonly protocol: string;
	readonly hello: () => Hello;
	readonly nowMs: () => number;
	/** Monotonic ms of the last byte from the peer, on any stream. */
	readonly lastSeenMs: () => number | undefined;
	readonly onClose: (link: Link) => void;
}

/**
 * Our half of a link: one long-lived stream on which we ask and the peer answers. Its own
 * questions come on the stream it opened (`serve.ts`).
 *
 * What is not answered when the stream ends is rejected with `network.unreachable`, never
 * silently lost; the peer may have received it.
 */
export class Link {
	readonly peer: PeerId;
	readonly connection: Connection;
	readonly remote: Hello;
	rttMs: number | undefined;
	readonly #deps: LinkDeps;
	readonly #wire: Wire;
	readonly #pace: TokenBucket;
	readonly #pending: Map<number, Pending>;
	#nextId = 1;
	#closed = false;
	#heartbeat: NodeJS.Timeout;
	#pingSent: { id: number; atMs: number } | undefined;

	/**
	 * Opens the stream, exchanges hellos and resolves when the peer has accepted ours: a
	 * dial alone proves nothing, since js-libp2p resolves it before the remote gater refuses.
	 * Rejects with `network.refused`, `network.version_mismatch` or another error.
	 */
	static async open(connection: Connection, deps: LinkDeps): Promise<Link> {
		const timeout = AbortSignal.timeout(HELLO_TIMEOUT_MS);
		const stream = await connection.newStream(deps.protocol, {
			signal: timeout,
			runOnLimitedConnection: true,
		});
		let link: Link | undefined;
		const pending = new Map<number, Pending>();
		return await new Promise<Link>((resolve, reject) => {
			const fail = (error: Error): void => {
				timeout.removeEventListener("abort", onTimeout);
				reject(error);
				stream.abort(error);
			};
			const onTimeout = (): void => fail(new Error("the peer did not answer our hello"));
			timeout.addEventListener("abort", onTimeout);
			const wire = new Wire(stream, MAX_FRAME_BYTES, {
				onFrame: (bytes) => {
					const frame = decodeFrame(bytes);
					if (link !== undefined) {
						link.#answered(frame);
						return;
					}
					if (frame.type === FRAME.refused) {
						const { code, message } = readRefusal(frame.body);
						fail(refusedLink(code, message));
						return;
					}
					if (frame.type !== FRAME.helloAnswer) throw malformed("something else than a hello");
					const remote = readHello(frame.body, deps.hello());
					timeout.removeEventListener("abort", onTimeout);
					link = new Link(connection, wire, remote, pending, deps);
					resolve(link);
				},
				onEnd: (error) => {
					if (link === undefined) fail(error ?? new Error("the peer closed the control stream"));
					else link.#ended();
				},
			});
			wire.write(encodeFrame(FRAME.hello, 0, { body: encodeHello(deps.hello()) })).catch(fail);
		});
	}

	private constructor(
		connection: Connection,
		wire: Wire,
		remote: Hello,
		pending: Map<number, Pending>,
		deps: LinkDeps,
	) {
		this.peer = connection.remotePeer.toString();
		this.connection = connection;
		this.remote = remote;
		this.#wire = wire;
		this.#pending = pending;
		this.#deps = deps;
		// Four fifths of what the peer allows, so that an honest burst is never taken for a flood.
		const rate = remote.messagesPerSecond * 0.8;
		this.#pace = new TokenBucket(rate, rate * 4, deps.nowMs());
		this.#heartbeat = setInterval(() => this.#beat(), deps.limits.heartbeatMs);
		this.#heartbeat.unref();
		this.#beat();
	}

	get open(): boolean {
		return !this.#closed;
	}

	/** A request id, fixed before the request leaves so that a payload can answer it. */
	newId(): number {
		const id = this.#nextId;
		this.#nextId = id === 0xffffffff ? 1 : id + 1;
		return id;
	}

	isPending(id: number): boolean {
		return this.#pending.has(id);
	}

	/**
	 * Writes a message or request frame (those of one name leave in the order of the calls) and
	 * waits for its answer. Rejects with `network.unreachable` when the link ends first, with
	 * `network.busy` when too much of that name waits to leave, or with the signal's reason.
	 */
	async ask(
		type: typeof FRAME.message | typeof FRAME.request,
		name: string,
		packet: Packet,
		transfer: string,
		signal: AbortSignal,
	): Promise<Frame> {
		const id = this.newId();
		return await new Promise<Frame>((resolve, reject) => {
			if (this.#closed) {
				reject(unreachable(this.peer, "the link is closed"));
				return;
			}
			const onAbort = (): void => finish(() => reject(signal.reason));
			const finish = (settle: () => void): void => {
				this.#pending.delete(id);
				signal.removeEventListener("abort", onAbort);
				settle();
			};
			signal.addEventListener("abort", onAbort);
			this.#pending.set(id, {
				resolve: (answer) => finish(() => resolve(answer)),
				reject: (error) => finish(() => reject(error)),
			});
			if (signal.aborted) onAbort();
			else {
				try {
					this.#sending.push(name, encodeFrame(type, id, { name, transfer, body: packet.body }));
				} catch (error) {
					finish(() => reject(error));
				}
			}
		});
	}

	close(error: Error): void {
		this.#wire.abort(error);
		this.#ended();
	}

	readonly #sending = new SendQueue(async (frame) => {
		if (this.#closed) return;
		const delayMs = this.#pace.reserve(1, this.#deps.nowMs());
		if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs));
		await this.#wire.write(frame).catch((error) => this.close(error));
	});

	#answered(frame: Frame): void {
		if (frame.type === FRAME.pong) {
			if (this.#pingSent?.id === frame.id) {
				this.rttMs = this.#deps.nowMs() - this.#pingSent.atMs;
				this.#pingSent = undefined;
			}
			return;
		}
		// An answer to a question that has timed out here is late, not wrong.
		this.#pending.get(frame.id)?.resolve(frame);
	}

	#beat(): void {
		const now = this.#deps.nowMs();
		const silentMs = now - (this.#deps.lastSeenMs() ?? now);
		if (silentMs > this.#deps.limits.silenceMs) {
			const error = new Error(`no byte came for ${Math.round(silentMs)} ms`);
			this.close(error);
			this.connection.abort(error);
			return;
		}
		if (this.#pingSent !== undefined) return;
		this.#pingSent = { id: this.newId(), atMs: now };
		this.#wire.write(encodeFrame(FRAME.ping, this.#pingSent.id)).catch((error) => this.close(error));
	}

	#ended(): void {
		if (this.#closed) return;
		this.#closed = true;
		clearInterval(this.#heartbeat);
		for (const pending of [...this.#pending.values()]) {
			pending.reject(unreachable(this.peer, "the link broke before it answered"));
		}
		this.#deps.onClose(this);
	}
}

export function unreachable(peer: PeerId, why: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"network.unreachable",
		`${peer} cannot be reached: ${why}. Check its address and that its daemon runs.`,
		{ peer },
		{ cause },
	);
}

function refusedLink(code: string, message: string): AlthingError {
	const known = ["network.version_mismatch", "network.other_federation"];
	return new AlthingError(
		known.includes(code) ? code : "network.refused",
		`The peer refused the link: ${message}`,
	);
}
