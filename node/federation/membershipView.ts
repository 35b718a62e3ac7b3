/** Who is what to this node's network: members of the charter, holders of an open invitation, strangers. */
import type { PeerId } from "../../crypto/identity.ts";
import { type CharterChain, memberOf, type Ticket } from "../../protocols/federation/index.ts";
import { peersOf, ticketKey } from "../../protocols/federation/ticket.ts";
import type { Membership, PeerClass } from "../network/libp2p/index.ts";

export class MembershipView implements Membership {
	readonly #listeners = new Set<() => void>();
	#chain: CharterChain | undefined;
	/** While this node is a candidate: the members its ticket names. */
	#ticket: Ticket | undefined;
	readonly #invitations: Ticket[] = [];

	set chain(chain: CharterChain | undefined) {
		this.#chain = chain;
		this.#changed();
	}

	set ticket(ticket: Ticket | undefined) {
		this.#ticket = ticket;
		this.#changed();
	}

	/** An invitation opens the door to unknown keys, for the join request only, until it is used or expires. */
	addInvitation(ticket: Ticket): void {
		this.#invitations.push(ticket);
		this.#changed();
	}

	classify(peer: PeerId): PeerClass {
		if (this.#chain !== undefined) {
			if (memberOf(this.#chain.head, peer) !== undefined) return "member";
			return this.#hasOpenInvitation(this.#chain) ? "candidate" : "stranger";
		}
		return this.#ticket !== undefined && peersOf(this.#ticket).includes(peer) ? "member" : "stranger";
	}

	members(): readonly { readonly peer: PeerId; readonly addresses: readonly string[] }[] {
		if (this.#chain !== undefined)
			return this.#chain.head.members.map(({ peer, addresses }) => ({ peer, addresses }));
		const ticket = this.#ticket;
		if (ticket === undefined) return [];
		return peersOf(ticket).map((peer) => ({ peer, addresses: ticket.addresses }));
	}

	onChange(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	#hasOpenInvitation(chain: CharterChain): boolean {
		const now = Date.now();
		return this.#invitations.some(
			(ticket) => Date.parse(ticket.expiresAt) > now && !chain.usedTickets.has(ticketKey(ticket)),
		);
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}
}
