/** A node that asks to join: it repeats its request and verifies the chain that answers it. */
import type { PeerId } from "../../crypto/identity.ts";
import { CharterChain } from "./chain.ts";
import { type ChangeRequest, requestIdOf } from "./changeRequest.ts";
import { memberOf } from "./charter.ts";
import type { FederationMessage } from "./messages.ts";
import { peersOf } from "./ticket.ts";

export type CandidateAnswer =
	/** The request was granted by this chain. */
	| { readonly kind: "granted"; readonly chain: CharterChain }
	/** The chain goes on. */
	| { readonly kind: "more"; readonly fromVersion: number }
	| { readonly kind: "refused"; readonly code: string; readonly reason: string };

export class Candidate {
	readonly request: ChangeRequest;
	/** Members to ask, from the ticket. */
	readonly peers: readonly PeerId[];
	readonly #self: PeerId;
	#chain: CharterChain | undefined;

	/** @param request this node's signed request to join */
	constructor(request: ChangeRequest, self: PeerId) {
		this.request = request;
		this.peers = request.change.kind === "join" ? peersOf(request.change.ticket) : [];
		this.#self = self;
	}

	/**
	 * Takes a message from anybody: a chain proves itself, from the federation id in the ticket on.
	 * @throws AlthingError `federation.invalid_chain`
	 */
	receive(message: FederationMessage): CandidateAnswer | undefined {
		const requestId = requestIdOf(this.request);
		if (message.kind === "refusal" && message.requestId === requestId) {
			return { kind: "refused", code: message.code, reason: message.reason };
		}
		if (message.kind !== "chain") return undefined;
		for (const link of message.links) {
			if (this.#chain === undefined) this.#chain = CharterChain.verify([link], this.request.federationId);
			else if (link.charter.version === this.#chain.head.version + 1) this.#chain = this.#chain.extend(link);
		}
		const chain = this.#chain;
		if (chain === undefined) return undefined;
		const granted = chain.usedRequests.has(requestId) && memberOf(chain.head, this.#self) !== undefined;
		return granted ? { kind: "granted", chain } : { kind: "more", fromVersion: chain.head.version + 1 };
	}
}
