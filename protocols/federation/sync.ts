/** What two members tell each other about what they have, and the answer to it. */
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { ChainLink, CharterChain } from "./chain.ts";
import { charterHash, memberOf } from "./charter.ts";
import { CHAIN_PIECE_BYTES, MAX_CHAIN_LINKS } from "./constants.ts";
import type { FederationMessage, StatusMessage } from "./messages.ts";
import type { PendingRequests } from "./pendingRequests.ts";
import type { VersionDecision } from "./versionDecision.ts";

/** Links from a version on, as many as one message takes. */
export function chainPiece(chain: CharterChain, fromVersion: number, toVersion: number): ChainLink[] {
	const piece: ChainLink[] = [];
	let sizeBytes = 0;
	for (const link of chain.links.slice(Math.max(0, fromVersion - 1), toVersion)) {
		sizeBytes += encodeCanonical(link as never).length;
		if (piece.length > 0 && (sizeBytes > CHAIN_PIECE_BYTES || piece.length >= MAX_CHAIN_LINKS)) break;
		piece.push(link);
	}
	return piece;
}

/** The last version that had the peer as a member; 0 if none. */
export function lastMembershipOf(chain: CharterChain, peer: PeerId): number {
	return chain.links.findLast(({ charter }) => memberOf(charter, peer) !== undefined)?.charter.version ?? 0;
}

export function statusOf(
	chain: CharterChain,
	decision: VersionDecision | undefined,
	pending: PendingRequests,
	asks: boolean,
): StatusMessage {
	return {
		kind: "status",
		version: chain.head.version,
		attempt: decision?.attempt ?? 0,
		requests: pending
			.list(chain)
			.map(({ requestId, approvals }) => ({ id: requestId, approvals: [...approvals] })),
		proposals: decision?.proposals.map(({ charter }) => charterHash(charter)) ?? [],
		voters: [...new Set(decision?.ballots.map(({ voter }) => voter))],
		asks,
	};
}

/**
 * Compares another member's status of the same version with what is here.
 * @returns what to send it, and whether it has something that is missing here
 */
export function statusGap(
	chain: CharterChain,
	decision: VersionDecision,
	pending: PendingRequests,
	theirs: StatusMessage,
): { readonly send: FederationMessage[]; readonly lacksHere: boolean } {
	const send: FederationMessage[] = [];
	let lacksHere = theirs.attempt > decision.attempt;
	for (let attempt = theirs.attempt; attempt < decision.attempt; attempt++) {
		const dead = decision.deadCertificate(attempt);
		if (dead !== undefined) send.push({ kind: "dead", certificate: { ...dead, ballots: [...dead.ballots] } });
	}
	const theirRequests = new Map(theirs.requests.map(({ id, approvals }) => [id, new Set(approvals)]));
	for (const { requestId, request, approvals } of pending.list(chain)) {
		const theirApprovals = theirRequests.get(requestId);
		if (theirApprovals === undefined) send.push({ kind: "request", request });
		for (const verdict of pending.verdictsOn(requestId)) {
			if (verdict.approve && !theirApprovals?.has(verdict.member)) send.push({ kind: "verdict", verdict });
		}
		const here = new Set(approvals);
		if (theirApprovals !== undefined) lacksHere ||= [...theirApprovals].some((member) => !here.has(member));
	}
	lacksHere ||= theirs.requests.some(
		({ id }) => pending.get(id) === undefined && !chain.usedRequests.has(id),
	);
	if (theirs.attempt > decision.attempt) return { send, lacksHere };
	// After moving on with the dead certificates above, the other side takes these of the current attempt too.
	const sameAttempt = theirs.attempt === decision.attempt;
	const theirProposals = new Set(sameAttempt ? theirs.proposals.map(toHex) : []);
	const theirVoters = new Set(sameAttempt ? theirs.voters : []);
	for (const proposal of decision.proposals) {
		if (!theirProposals.delete(toHex(charterHash(proposal.charter))))
			send.push({ kind: "proposal", proposal });
	}
	const voters = new Set(decision.ballots.map(({ voter }) => voter));
	for (const ballot of decision.ballots) {
		if (!theirVoters.has(ballot.voter)) send.push({ kind: "ballot", ballot });
	}
	lacksHere ||= theirProposals.size > 0 || [...theirVoters].some((voter) => !voters.has(voter));
	return { send, lacksHere };
}
