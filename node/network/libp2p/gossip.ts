import { createHash } from "node:crypto";
import { type GossipSub, type Message, TopicValidatorResult } from "@libp2p/gossipsub";
import type { PeerId } from "../../../crypto/identity.ts";
import { checkName, type Handlers, tooLarge } from "../channels.ts";
import { type AnnouncementHandler, MAX_ANNOUNCEMENT_BYTES } from "../port.ts";
import { type Conduct, FAULT_POINTS } from "./conduct.ts";
import type { FederationNames } from "./names.ts";
import type { NetworkLog, PeerClass } from "./options.ts";

/**
 * One id per announcement, whoever relays it: relays and replays of one are dropped, while
 * its author may announce the same bytes again (a later one has another sequence number).
 */
export function announcementId(message: Message): Uint8Array {
	const hash = createHash("sha256").update(message.topic);
	if (message.type === "signed") hash.update(`|${message.from}|${message.sequenceNumber}|`);
	return hash.update(message.data).digest();
}

/** Announcements of at most 16 KiB, signed by the member that makes them. */
export class Gossip {
	readonly #pubsub: GossipSub;
	readonly #names: FederationNames;
	readonly #handlers: Handlers;
	readonly #log: NetworkLog;

	constructor(deps: {
		self: PeerId;
		pubsub: GossipSub;
		names: FederationNames;
		handlers: Handlers;
		conduct: Conduct;
		log: NetworkLog;
		classify: (peer: PeerId) => PeerClass;
	}) {
		this.#pubsub = deps.pubsub;
		this.#names = deps.names;
		this.#handlers = deps.handlers;
		this.#log = deps.log;
		this.#validate = (relay, message) => {
			if (message.type !== "signed" || message.data.length > MAX_ANNOUNCEMENT_BYTES) {
				deps.conduct.fault(relay, "network.bad_announcement", FAULT_POINTS.minor * 4);
				return TopicValidatorResult.Reject;
			}
			// The author, not the relay: an expelled member's words must not pass through members.
			// Ignored, not rejected: the relay may be a charter version ahead of us.
			const author = message.from.toString();
			return deps.classify(author) === "member" ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore;
		};
		deps.pubsub.addEventListener("message", (event) => {
			try {
				this.#deliver(deps.self, event.detail);
			} catch (error) {
				this.#log.warn({ error: String(error) }, "announcement handler failed");
			}
		});
	}

	readonly #validate: (relay: PeerId, message: Message) => TopicValidatorResult;

	async announce(topic: string, body: Uint8Array): Promise<void> {
		checkName(topic);
		if (body.length > MAX_ANNOUNCEMENT_BYTES) {
			throw tooLarge("announcement", body.length, MAX_ANNOUNCEMENT_BYTES);
		}
		await this.#pubsub.publish(this.#names.topic(topic), body);
	}

	subscribe(topic: string, handler: AnnouncementHandler): () => void {
		const remove = this.#handlers.onAnnouncement(topic, handler);
		const name = this.#names.topic(topic);
		this.#pubsub.topicValidators.set(name, (relay, message) => this.#validate(relay.toString(), message));
		this.#pubsub.subscribe(name);
		return () => {
			if (!remove()) return;
			this.#pubsub.unsubscribe(name);
			this.#pubsub.topicValidators.delete(name);
		};
	}

	#deliver(self: PeerId, message: Message): void {
		if (message.type !== "signed") return;
		const prefix = this.#names.topic("");
		const from = message.from.toString();
		if (from === self || !message.topic.startsWith(prefix)) return;
		for (const handler of this.#handlers.announced(message.topic.slice(prefix.length))) {
			handler(from, message.data);
		}
	}
}
