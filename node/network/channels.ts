import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { type AnnouncementHandler, MAX_MESSAGE_BYTES, type Packet, type RequestHandler } from "./port.ts";

export type ChannelHandler = (from: PeerId, channel: string, packet: Packet) => void | Promise<void>;

/** Who may call a request method: members of the charter, or also candidates with an invitation. */
export type Openness = "members" | "candidates";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._:-]*(\/[A-Za-z0-9._:-]+)*$/;
const MAX_NAME_BYTES = 200;

/**
 * Refuses names that could not be told apart or written on the wire: `/`-separated parts
 * of letters, digits and `._:-`, at most 200 bytes. Throws `network.bad_name`.
 */
export function checkName(name: string): void {
	if (name.length > MAX_NAME_BYTES || !NAME.test(name)) {
		throw new AlthingError(
			"network.bad_name",
			`"${name.slice(0, 40)}" is not a channel, method or topic name: use "/"-separated parts of letters, digits and "._:-", at most ${MAX_NAME_BYTES} characters.`,
		);
	}
}

/** Refuses a body above {@link MAX_MESSAGE_BYTES} or a blob above `maxBlobBytes` with `network.too_large`. */
export function checkPacket(packet: Packet, maxBlobBytes: number): void {
	if (packet.body.length > MAX_MESSAGE_BYTES) {
		throw tooLarge("message body", packet.body.length, MAX_MESSAGE_BYTES);
	}
	if (packet.blob !== undefined && packet.blob.length > maxBlobBytes) {
		throw tooLarge("payload", packet.blob.length, maxBlobBytes);
	}
}

export function tooLarge(what: string, sizeBytes: number, limitBytes: number): AlthingError {
	return new AlthingError(
		"network.too_large",
		`A ${what} of ${sizeBytes} bytes is above the limit of ${limitBytes} bytes; send less, or raise the limit on both sides.`,
		{ sizeBytes, limitBytes },
	);
}

/**
 * The handlers of one node, as both implementations of the port look them up. A message
 * goes to the handler with the longest matching prefix.
 */
export class Handlers {
	readonly #channels = new Map<string, ChannelHandler>();
	readonly #methods = new Map<string, { handler: RequestHandler; open: Openness }>();
	readonly #topics = new Map<string, Set<AnnouncementHandler>>();

	onMessage(prefix: string, handler: ChannelHandler): () => void {
		if (this.#channels.has(prefix)) {
			throw taken("channel prefix", prefix);
		}
		this.#channels.set(prefix, handler);
		return () => {
			if (this.#channels.get(prefix) === handler) this.#channels.delete(prefix);
		};
	}

	onRequest(method: string, handler: RequestHandler, open: Openness): () => void {
		checkName(method);
		if (this.#methods.has(method)) {
			throw taken("method", method);
		}
		const entry = { handler, open };
		this.#methods.set(method, entry);
		return () => {
			if (this.#methods.get(method) === entry) this.#methods.delete(method);
		};
	}

	/** Adds a handler and returns its removal, which answers true when the topic has no handler left. */
	onAnnouncement(topic: string, handler: AnnouncementHandler): () => boolean {
		checkName(topic);
		const handlers = this.#topics.get(topic) ?? new Set();
		handlers.add(handler);
		this.#topics.set(topic, handlers);
		return () => {
			handlers.delete(handler);
			if (handlers.size > 0) return false;
			return this.#topics.delete(topic);
		};
	}

	channel(name: string): ChannelHandler | undefined {
		let found: ChannelHandler | undefined;
		let length = -1;
		for (const [prefix, handler] of this.#channels) {
			if (prefix.length > length && name.startsWith(prefix)) {
				found = handler;
				length = prefix.length;
			}
		}
		return found;
	}

	method(name: string): { handler: RequestHandler; open: Openness } | undefined {
		return this.#methods.get(name);
	}

	announced(topic: string): Iterable<AnnouncementHandler> {
		return this.#topics.get(topic) ?? [];
	}
}

function taken(what: string, name: string): AlthingError {
	return new AlthingError(
		"network.handler_exists",
		`The ${what} "${name}" already has a handler; unsubscribe it first.`,
	);
}
