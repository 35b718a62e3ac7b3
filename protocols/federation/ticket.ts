/**
 * Invitation tickets: a member's signed word that one organization may ask to join, once,
 * until a date. A ticket admits nobody by itself; a quorum does (membership.ts).
 */
import { multiaddr } from "@multiformats/multiaddr";
import { z } from "zod";
import { decodeCanonical, type Encodable, encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { isPeerId, type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { bytes, peerId, signatureBytes } from "../wire.ts";
import { addresses, federationIdText, federationName, organizationName } from "./declaration.ts";

const PREFIX = "althing1:";
const DOMAIN = "althing/ticket/1";
/** Longest text that is looked at: far above a ticket with four addresses. */
const MAX_TEXT = 8192;

export const ticketSchema = z.strictObject({
	federation: federationName,
	federationId: federationIdText,
	inviter: peerId,
	/** The only organization that may use it. */
	organization: organizationName,
	/** Random; a ticket whose id is in the chain is used up. */
	id: bytes(16),
	expiresAt: z.iso.datetime(),
	/** Where members can be reached; at least one. */
	addresses: addresses.min(1),
	signature: signatureBytes,
});

export type Ticket = z.infer<typeof ticketSchema>;

/**
 * Makes and signs a ticket.
 * @throws AlthingError `federation.bad_ticket` when a field is not acceptable
 */
export function issueTicket(
	inviter: SigningKey,
	content: Omit<Ticket, "inviter" | "id" | "signature">,
	random: (length: number) => Uint8Array,
): Ticket {
	const unsigned = { ...content, inviter: inviter.peer, id: Uint8Array.from(random(16)) };
	const parsed = ticketSchema.safeParse({ ...unsigned, signature: inviter.sign(signedBytes(unsigned)) });
	if (!parsed.success) throw badTicket(issueText(parsed.error));
	return parsed.data;
}

/** True when the inviter signed the ticket. Whether the inviter is a member is the chain's question. */
export function verifyTicket(ticket: Ticket): boolean {
	const { signature, ...unsigned } = ticket;
	return verifySignature(ticket.inviter, signedBytes(unsigned), signature);
}

/** Key of a ticket in the set of used ones. */
export function ticketKey(ticket: Ticket): string {
	return toHex(ticket.id);
}

/** The text that people pass on: `althing1:` and base64url. */
export function formatTicket(ticket: Ticket): string {
	return PREFIX + Buffer.from(encodeCanonical(ticket)).toString("base64url");
}

/**
 * Reads a ticket's text; white space around and line breaks within are forgiven.
 * @throws AlthingError `federation.bad_ticket` saying what is wrong with it
 */
export function parseTicket(text: string): Ticket {
	if (text.length > MAX_TEXT) throw badTicket("it is too long");
	const compact = text.replace(/\s+/g, "");
	if (!compact.startsWith(PREFIX)) throw badTicket(`it does not begin with "${PREFIX}"`);
	const body = compact.slice(PREFIX.length);
	const raw = Uint8Array.from(Buffer.from(body, "base64url"));
	if (body === "" || Buffer.from(raw).toString("base64url") !== body) {
		throw badTicket("it is cut off or contains characters that do not belong there");
	}
	let decoded: unknown;
	try {
		decoded = decodeCanonical(raw, MAX_TEXT);
	} catch (cause) {
		throw badTicket("it is incomplete or was changed; copy it again as a whole", cause);
	}
	const parsed = ticketSchema.safeParse(decoded);
	if (!parsed.success) throw badTicket(issueText(parsed.error));
	if (!verifyTicket(parsed.data)) throw badTicket("its signature does not match; it was changed or forged");
	return parsed.data;
}

/** Peers that the ticket tells to ask: its inviter, and every peer named in its addresses. */
export function peersOf(ticket: Ticket): PeerId[] {
	const named = ticket.addresses.flatMap((address) =>
		multiaddr(address)
			.getComponents()
			.filter(({ name }) => name === "p2p")
			.map(({ value }) => value ?? ""),
	);
	return [...new Set([ticket.inviter, ...named.filter(isPeerId)])];
}

function signedBytes(unsigned: { readonly [key: string]: Encodable }): Uint8Array {
	return encodeCanonical([DOMAIN, unsigned]);
}

function issueText(error: z.ZodError): string {
	const issue = error.issues[0];
	return `${issue?.path.join(".") || "ticket"}: ${issue?.message}`;
}

function badTicket(why: string, cause?: unknown): AlthingError {
	return new AlthingError("federation.bad_ticket", `This is not a usable ticket: ${why}.`, {}, { cause });
}
