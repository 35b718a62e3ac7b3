/**
 * The charter: who the members are and under which rules they train together. Every
 * version is a whole document; the next one follows from it by signed changes alone.
 */
import { z } from "zod";
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { Electorate } from "../certificate/index.ts";
import { hashBytes, peerId } from "../wire.ts";
import { type ChangeRequest, changeRequestSchema } from "./changeRequest.ts";
import { declarationSchema, federationName } from "./declaration.ts";
import { MAX_MEMBERS, rulesSchema } from "./rules.ts";
import { ticketKey } from "./ticket.ts";

/** Changes that one version may bring: with a quorum's approvals of each they must fit one message. */
export const MAX_CHANGES = 16;

export const memberSchema = z.strictObject({
	peer: peerId,
	/** Version of the charter that admitted the member. */
	joinedVersion: z.int().min(1),
	...declarationSchema.shape,
});

export const charterSchema = z.strictObject({
	format: z.literal("althing/charter/1"),
	federation: federationName,
	/** 1 for the founding charter. */
	version: z.int().min(1),
	/** Hash of the version before; null in the founding charter only. */
	previous: hashBytes.nullable(),
	/** Sorted by peer id. */
	members: z.array(memberSchema).min(1).max(MAX_MEMBERS),
	rules: rulesSchema,
	createdAt: z.iso.datetime(),
	/** The signed requests that lead here from the version before, in the order applied. */
	changes: z.array(changeRequestSchema).max(MAX_CHANGES),
});

export type Member = z.infer<typeof memberSchema>;
export type Charter = z.infer<typeof charterSchema>;

/** SHA-256 of the canonical encoding, 32 bytes. */
export function charterHash(charter: Charter): Uint8Array {
	return sha256(encodeCanonical(charter as never));
}

/** f = floor(assumed corrupt fraction * members). */
export function corruptionOf(charter: Charter): number {
	// The tolerance keeps e.g. 0.29 * 100 at 29, where floating point says 28.999....
	return Math.floor(charter.rules.assumedCorruptFraction * charter.members.length + 1e-9);
}

/** All members, with the charter's corruption bound: who certifies. */
export function electorateOf(charter: Charter): Electorate {
	return { members: charter.members.map(({ peer }) => peer), corruption: corruptionOf(charter) };
}

/** Survivors that a round with this many participants needs, at least 2. */
export function minimumSurvivorsOf(charter: Charter, participants: number): number {
	return Math.max(2, Math.ceil(charter.rules.minimumSurvivorFraction * participants - 1e-9));
}

export function memberOf(charter: Charter, peer: PeerId): Member | undefined {
	return charter.members.find((member) => member.peer === peer);
}

/** What of the chain's past decides whether a request may still be used. */
export interface ChainHistory {
	readonly federationId: string;
	readonly usedTickets: ReadonlySet<string>;
	readonly usedRequests: ReadonlySet<string>;
}

/**
 * The version that follows from `before` by applying `changes` in order, at `createdAt`
 * (ISO 8601). Signatures are the caller's to check (chain.ts).
 * @throws AlthingError `federation.invalid_change` (or `federation.ticket_used`,
 *   `federation.ticket_expired`) when a change does not apply
 */
export function applyChanges(
	before: Charter,
	history: ChainHistory,
	changes: readonly ChangeRequest[],
	createdAt: string,
): Charter {
	const version = before.version + 1;
	const tickets = new Set<string>();
	let members = before.members;
	let rules = before.rules;
	for (const request of changes) {
		if (request.federationId !== history.federationId)
			throw invalidChange("it belongs to another federation");
		const { change, author } = request;
		const authorIsMember = memberOf(before, author) !== undefined;
		switch (change.kind) {
			case "join": {
				const { ticket, declaration } = change;
				const key = ticketKey(ticket);
				if (ticket.federationId !== history.federationId)
					throw invalidChange("its ticket is of another federation");
				if (history.usedTickets.has(key) || tickets.has(key)) {
					throw new AlthingError("federation.ticket_used", "This ticket has been used; ask for a new one.");
				}
				if (Date.parse(createdAt) > Date.parse(ticket.expiresAt)) {
					throw new AlthingError(
						"federation.ticket_expired",
						`This ticket expired at ${ticket.expiresAt}; ask for a new one.`,
						{ expiresAt: ticket.expiresAt },
					);
				}
				if (memberOf(before, ticket.inviter) === undefined)
					throw invalidChange("its inviter is not a member");
				if (ticket.organization !== declaration.organization) {
					throw invalidChange(
						`its ticket is for "${ticket.organization}", not "${declaration.organization}"`,
					);
				}
				if (members.some(({ peer }) => peer === author)) throw invalidChange(`${author} is a member already`);
				if (members.length >= MAX_MEMBERS)
					throw invalidChange(`a federation has at most ${MAX_MEMBERS} members`);
				tickets.add(key);
				members = [...members, { peer: author, joinedVersion: version, ...declaration }];
				break;
			}
			case "leave":
				members = without(members, author, change.joinedVersion);
				break;
			case "expel":
				if (!authorIsMember) throw invalidChange("who asks to expel is not a member");
				members = without(members, change.peer, change.joinedVersion);
				break;
			case "rules":
				if (!authorIsMember) throw invalidChange("who asks to change the rules is not a member");
				rules = change.rules;
				break;
		}
	}
	return {
		format: "althing/charter/1",
		federation: before.federation,
		version,
		previous: charterHash(before),
		members: [...members].sort((a, b) => (a.peer < b.peer ? -1 : 1)),
		rules,
		createdAt,
		changes: [...changes],
	};
}

function without(members: readonly Member[], peer: PeerId, joinedVersion: number): Member[] {
	const rest = members.filter((member) => member.peer !== peer || member.joinedVersion !== joinedVersion);
	if (rest.length === members.length)
		throw invalidChange(`${peer} is not a member since version ${joinedVersion}`);
	if (rest.length === 0) throw invalidChange("the last member cannot leave; stop the node instead");
	return rest;
}

function invalidChange(why: string): AlthingError {
	return new AlthingError("federation.invalid_change", `The charter cannot be changed so: ${why}.`);
}

/** Hex form of a charter hash, as in federation ids. */
export function charterHashText(charter: Charter): string {
	return toHex(charterHash(charter));
}
