/** A proposed next version of the charter, with the approvals that its changes need. */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { quorum } from "../certificate/index.ts";
import { peerId, signatureBytes } from "../wire.ts";
import type { CharterChain } from "./chain.ts";
import { requestIdOf, type Verdict, verdictSchema, verifyVerdict } from "./changeRequest.ts";
import { type Charter, charterHash, charterHashText, charterSchema, MAX_CHANGES } from "./charter.ts";
import { MAX_MEMBERS } from "./rules.ts";

export const proposalSchema = z.strictObject({
	charter: charterSchema,
	attempt: z.int().min(0).max(1_000_000),
	proposer: peerId,
	approvals: z.array(verdictSchema).max(MAX_CHANGES * MAX_MEMBERS),
	signature: signatureBytes,
});

export type Proposal = z.infer<typeof proposalSchema>;

export function signProposal(
	key: SigningKey,
	federationId: string,
	attempt: number,
	charter: Charter,
	approvals: readonly Verdict[],
): Proposal {
	const signature = key.sign(proposalBytes(federationId, attempt, charter));
	return { charter, attempt, proposer: key.peer, approvals: [...approvals], signature };
}

/**
 * Checks that a proposal may be voted for as successor of the chain's head: proposed by a
 * member, made of valid changes only, each approved by a quorum of the current members
 * (leaving needs no approval).
 * @throws AlthingError `federation.invalid_proposal` saying why not
 */
export function checkProposal(chain: CharterChain, proposal: Proposal): void {
	const { charter, proposer } = proposal;
	const { electorate, federationId } = chain;
	if (!electorate.members.includes(proposer)) throw invalid("who proposes is not a member");
	if (
		!verifySignature(proposer, proposalBytes(federationId, proposal.attempt, charter), proposal.signature)
	) {
		throw invalid("the proposer's signature does not match");
	}
	let expected: Charter;
	try {
		expected = chain.next(charter.changes, charter.createdAt);
	} catch (cause) {
		throw invalid(cause instanceof Error ? cause.message : String(cause), cause);
	}
	if (charterHashText(expected) !== charterHashText(charter)) {
		throw invalid("it says something that its signed changes do not");
	}
	for (const request of charter.changes) {
		if (request.change.kind === "leave") continue;
		const id = requestIdOf(request);
		const approvers = new Set<PeerId>();
		for (const verdict of proposal.approvals) {
			if (verdict.requestId !== id || verdict.federationId !== federationId || !verdict.approve) continue;
			if (!electorate.members.includes(verdict.member) || approvers.has(verdict.member)) continue;
			if (verifyVerdict(verdict)) approvers.add(verdict.member);
		}
		if (approvers.size < quorum(electorate)) {
			throw invalid(`request ${id.slice(0, 12)} has ${approvers.size} approvals of ${quorum(electorate)}`);
		}
	}
}

/** Members in the order in which they propose the next version: by hash, so nobody chooses its place. */
export function proposerRanking(chain: CharterChain): PeerId[] {
	const version = chain.head.version + 1;
	const rank = (peer: PeerId) =>
		Buffer.from(hashFields("althing/federation/proposer/1", chain.federationId, version, peer)).toString(
			"hex",
		);
	return chain.electorate.members
		.map((peer) => ({ peer, rank: rank(peer) }))
		.sort((a, b) => (a.rank < b.rank ? -1 : 1))
		.map(({ peer }) => peer);
}

function proposalBytes(federationId: string, attempt: number, charter: Charter): Uint8Array {
	return encodeCanonical(["althing/proposal/1", federationId, attempt, charterHash(charter)]);
}

function invalid(why: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"federation.invalid_proposal",
		`The proposed charter is refused: ${why}`.replace(/\.?$/, "."),
		{},
		{ cause },
	);
}
