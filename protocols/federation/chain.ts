/**
 * The chain of charter versions, verified from the founding one.
 *
 * | link | authorized by |
 * |-|-|
 * | version 1 | the founder's signature; its hash is the federation id |
 * | version v > 1 | a quorum certificate of version v-1's members over the hash of version v |
 *
 * A version is accepted only if it equals what its signed changes make of the version
 * before, so nothing (rules, members, names) changes silently.
 */
import { z } from "zod";
import { encodeCanonical, equalBytes, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import {
	type Electorate,
	type QuorumCertificate,
	quorumCertificateSchema,
	type Slot,
	verifyQuorumCertificate,
} from "../certificate/index.ts";
import { signatureBytes } from "../wire.ts";
import { type ChangeRequest, requestIdOf, verifyChangeRequest } from "./changeRequest.ts";
import {
	applyChanges,
	type ChainHistory,
	type Charter,
	charterHash,
	charterHashText,
	charterSchema,
	electorateOf,
} from "./charter.ts";
import type { Declaration } from "./declaration.ts";
import type { Rules } from "./rules.ts";
import { ticketKey, verifyTicket } from "./ticket.ts";

export const chainLinkSchema = z.strictObject({
	charter: charterSchema,
	/** Of version 1: the founder's signature over the charter's hash. */
	founding: signatureBytes.nullable(),
	/** Of every later version. */
	certificate: quorumCertificateSchema.nullable(),
});

export type ChainLink = z.infer<typeof chainLinkSchema>;

/** Two certified successors of one version: proof that more than f members voted twice, or lied about a dead slot. */
export interface ForkProof {
	readonly version: number;
	readonly links: readonly [ChainLink, ChainLink];
	/** Members whose signatures stand under both. */
	readonly suspects: readonly PeerId[];
}

/** The slot in which the members of version - 1 decide the version. */
export function charterSlot(federationId: string, version: number, attempt: number): Slot {
	return { scope: federationId, subject: "charter", instance: String(version), attempt };
}

/** A verified chain. Immutable: {@link CharterChain.extend} returns a longer one. */
export class CharterChain implements ChainHistory {
	readonly federationId: string;
	readonly links: readonly ChainLink[];
	readonly usedTickets: ReadonlySet<string>;
	readonly usedRequests: ReadonlySet<string>;

	private constructor(
		federationId: string,
		links: readonly ChainLink[],
		usedTickets: ReadonlySet<string>,
		usedRequests: ReadonlySet<string>,
	) {
		this.federationId = federationId;
		this.links = links;
		this.usedTickets = usedTickets;
		this.usedRequests = usedRequests;
	}

	/** A chain of the founding charter alone, with the founder as its only member. */
	static found(
		founder: SigningKey,
		content: {
			readonly federation: string;
			readonly rules: Rules;
			readonly declaration: Declaration;
			readonly createdAt: string;
		},
	): CharterChain {
		const charter: Charter = {
			format: "althing/charter/1",
			federation: content.federation,
			version: 1,
			previous: null,
			members: [{ peer: founder.peer, joinedVersion: 1, ...content.declaration }],
			rules: content.rules,
			createdAt: content.createdAt,
			changes: [],
		};
		const founding = founder.sign(foundingBytes(charterHash(charter)));
		return CharterChain.verify([{ charter, founding, certificate: null }]);
	}

	/**
	 * Verifies a chain from its founding charter on.
	 * @param links decoded or raw; every link is checked against its schema
	 * @param federationId when given, the chain must be this federation's
	 * @throws AlthingError `federation.invalid_chain` naming the version and the reason
	 */
	static verify(links: readonly unknown[], federationId?: string): CharterChain {
		const founding = parseLink(links[0], 1);
		const { charter } = founding;
		const [founder] = charter.members;
		const hash = charterHash(charter);
		if (charter.version !== 1 || charter.previous !== null || charter.changes.length > 0) {
			throw invalidChain(1, "it is not a founding charter");
		}
		if (founder === undefined || charter.members.length !== 1 || founder.joinedVersion !== 1) {
			throw invalidChain(1, "a federation is founded by one member");
		}
		if (founding.certificate !== null || founding.founding === null) {
			throw invalidChain(1, "it lacks the founder's signature");
		}
		if (!verifySignature(founder.peer, foundingBytes(hash), founding.founding)) {
			throw invalidChain(1, "the founder's signature does not match");
		}
		const id = toHex(hash);
		if (federationId !== undefined && id !== federationId) {
			throw invalidChain(1, `it founds the federation ${id}, not ${federationId}`);
		}
		let chain = new CharterChain(id, [founding], new Set(), new Set());
		for (const link of links.slice(1)) chain = chain.extend(link);
		return chain;
	}

	/** The newest version. */
	get head(): Charter {
		return (this.links.at(-1) as ChainLink).charter;
	}

	/** Who decides the next version. */
	get electorate(): Electorate {
		return electorateOf(this.head);
	}

	/** The version with this number, if the chain reaches it. */
	at(version: number): Charter | undefined {
		return this.links[version - 1]?.charter;
	}

	/**
	 * The next version made of these changes.
	 * @throws AlthingError as {@link successor}, or `federation.invalid_change` for a signature that does not match
	 */
	next(changes: readonly ChangeRequest[], createdAt: string): Charter {
		for (const request of changes) {
			if (!verifyChangeRequest(request)) {
				throw invalidChange(`the signature of ${request.author} does not match`);
			}
			if (request.change.kind === "join" && !verifyTicket(request.change.ticket)) {
				throw invalidChange(`the ticket shown by ${request.author} is not signed by its inviter`);
			}
		}
		return this.successor(changes, createdAt);
	}

	/**
	 * {@link next} for changes whose signatures have been checked before.
	 * @throws AlthingError `federation.invalid_change`, `federation.ticket_used`, `federation.ticket_expired`
	 */
	successor(changes: readonly ChangeRequest[], createdAt: string): Charter {
		const seen = new Set(this.usedRequests);
		for (const request of changes) {
			const id = requestIdOf(request);
			if (seen.has(id)) throw invalidChange(`request ${id.slice(0, 12)} was applied before`);
			seen.add(id);
		}
		if (changes.length === 0) throw invalidChange("there is no change");
		if (Date.parse(createdAt) < Date.parse(this.head.createdAt)) {
			throw invalidChange("it is older than its predecessor");
		}
		return applyChanges(this.head, this, changes, createdAt);
	}

	/**
	 * The chain with one more version.
	 * @throws AlthingError `federation.invalid_chain` naming the version and the reason
	 */
	extend(raw: unknown): CharterChain {
		const version = this.head.version + 1;
		const link = parseLink(raw, version);
		if (link.charter.version !== version) {
			throw invalidChain(version, `the link that follows is of version ${link.charter.version}`);
		}
		if (!equalBytes(link.charter.previous ?? new Uint8Array(), charterHash(this.head))) {
			throw invalidChain(version, `it does not follow version ${version - 1} as known here`);
		}
		const flaw = this.#certificateFlaw(link);
		if (flaw !== undefined) throw invalidChain(version, flaw);
		const { changes, createdAt } = link.charter;
		let expected: Charter;
		try {
			expected = this.next(changes, createdAt);
		} catch (cause) {
			throw invalidChain(version, cause instanceof Error ? cause.message : String(cause), cause);
		}
		if (!equalBytes(charterHash(expected), charterHash(link.charter))) {
			throw invalidChain(version, "it says something that its signed changes do not");
		}
		const tickets = changes.flatMap(({ change }) =>
			change.kind === "join" ? [ticketKey(change.ticket)] : [],
		);
		return new CharterChain(
			this.federationId,
			[...this.links, link],
			new Set([...this.usedTickets, ...tickets]),
			new Set([...this.usedRequests, ...changes.map(requestIdOf)]),
		);
	}

	/**
	 * Proof of a fork, when `link` is a certified version other than the one this chain has at
	 * its height; undefined for the same version, an unknown height or an uncertified link.
	 */
	forkProof(link: ChainLink): ForkProof | undefined {
		const { version } = link.charter;
		const own = this.links[version - 1];
		const before = this.links.slice(0, version - 1);
		if (own === undefined || before.length === 0) return undefined;
		if (charterHashText(own.charter) === charterHashText(link.charter)) return undefined;
		const parent = new CharterChain(this.federationId, before, new Set(), new Set());
		if (parent.#certificateFlaw(link) !== undefined) return undefined;
		const other = new Set(votersOf(link.certificate));
		return {
			version,
			links: [own, link],
			suspects: votersOf(own.certificate).filter((peer) => other.has(peer)),
		};
	}

	/** What is wrong with the certificate of a successor of this chain's head. */
	#certificateFlaw(link: ChainLink): string | undefined {
		const { charter, certificate } = link;
		if (certificate === null || link.founding !== null) return "it has no certificate";
		const { slot } = certificate;
		const expected = charterSlot(this.federationId, this.head.version + 1, slot.attempt);
		if (
			slot.scope !== expected.scope ||
			slot.subject !== expected.subject ||
			slot.instance !== expected.instance
		) {
			return "its certificate is about something else";
		}
		if (!equalBytes(certificate.value, charterHash(charter))) return "its certificate is for another charter";
		if (!verifyQuorumCertificate(this.electorate, certificate)) {
			return `its certificate is not that of a quorum of version ${this.head.version}'s members`;
		}
		return undefined;
	}
}

/** Checks a fork proof against a chain that reaches the version before the fork. */
export function verifyForkProof(chain: CharterChain, proof: ForkProof): boolean {
	const [a, b] = proof.links;
	const before = chain.links.slice(0, proof.version - 1);
	if (before.length !== proof.version - 1 || before.length === 0) return false;
	try {
		return CharterChain.verify([...before, a], chain.federationId).forkProof(b) !== undefined;
	} catch {
		return false;
	}
}

function votersOf(certificate: QuorumCertificate | null): PeerId[] {
	return certificate === null ? [] : certificate.votes.map(({ voter }) => voter);
}

function foundingBytes(hash: Uint8Array): Uint8Array {
	return encodeCanonical(["althing/founding/1", hash]);
}

function parseLink(raw: unknown, version: number): ChainLink {
	const parsed = chainLinkSchema.safeParse(raw);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	throw invalidChain(version, `${issue?.path.join(".") || "the link"}: ${issue?.message}`);
}

function invalidChange(why: string): AlthingError {
	return new AlthingError("federation.invalid_change", `The charter cannot be changed so: ${why}.`);
}

function invalidChain(version: number, why: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"federation.invalid_chain",
		`Version ${version} of the charter is not valid: ${why}`.replace(/\.?$/, "."),
		{ version },
		{ cause },
	);
}
