/** What a voter checks before it votes for a survivor set, and a holder before it opens anything. */
import { equalBytes } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { slotId, verifyQuorumCertificate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import { metaLeaf, neighbourhoodOf, provesPart, type Sharing, shareSetHashOf } from "./cohort.ts";
import type { CohortGraph } from "./cohortGraph.ts";
import type { Context } from "./context.ts";
import { decodeMembers } from "./memberSet.ts";
import type { Certified, Evidence, Proposal, Proposed } from "./messages.ts";
import { DOMAIN, sessionId } from "./sessionId.ts";
import { canonical, isAuthentic } from "./statements.ts";

/** The value that is voted on: 32 bytes over session, U2, U3, every signed meta and the masked sum. */
export function proposalHash(sidPre: Uint8Array, proposal: Proposal): Uint8Array {
	return hashFields(`${DOMAIN}/proposal`, sidPre, canonical(proposal));
}

/** U3, sorted. */
export function survivorsOf(graph: CohortGraph, proposal: Proposal): PeerId[] {
	return decodeMembers(graph.members, proposal.survivors) ?? [];
}

/** U2 \ U3, sorted. */
export function droppedOf(graph: CohortGraph, proposal: Proposal): PeerId[] {
	const survivors = new Set(survivorsOf(graph, proposal));
	return (decodeMembers(graph.members, proposal.cohort) ?? []).filter((member) => !survivors.has(member));
}

/**
 * Judges a proposal; `sharing` is this node's own view if it has one. A node without one (late, or
 * restarted) can still vote: what makes the vote safe is signed by the survivors themselves, and each
 * of them is answered for by its neighbours.
 * @returns what is wrong, or undefined
 */
export function proposalFlaw(
	{ config, sidPre, graph, members }: Context,
	{ proposal, origin }: Proposed,
	sharing: Sharing | undefined,
): string | undefined {
	if (origin.author !== proposal.proposer || !isAuthentic(origin)) return "its proposer did not sign it";
	if (!equalBytes(origin.sidPre, sidPre)) return "it belongs to another session";
	if (!equalBytes(origin.proposalHash, proposalHash(sidPre, proposal)))
		return "its proposer signed another one";
	if (!members.includes(proposal.proposer)) return "its proposer is no participant";
	const cohort = decodeMembers(graph.members, proposal.cohort);
	const survivors = decodeMembers(graph.members, proposal.survivors);
	if (cohort === undefined || survivors === undefined) return "its sets of members are unreadable";
	if (sharing !== undefined) {
		if (!equalBytes(sessionId(sidPre, proposal.rosterRoot), sharing.roster.sid))
			return "it follows from another roster";
		if (!equalBytes(shareSetOf(sidPre, proposal), sharing.shareSetHash))
			return "it follows from another share set";
	}
	const shared = new Set(cohort);
	if ((proposal.screening !== undefined) !== (config.screening !== undefined))
		return "it does not say how its inputs were screened, or should not";
	if (survivors.some((member) => !shared.has(member))) return "its survivors are not among its cohort";
	if (survivors.length < config.minimumSurvivors) {
		return `it has ${survivors.length} survivors; at least ${config.minimumSurvivors} are required`;
	}
	if (graph.openable(survivors).length < survivors.length) return "it opens the sum of too small a bucket";
	return graph.thinSpot(survivors);
}

/**
 * Judges the signed metas of a member's neighbourhood, which must be all of them there.
 * @returns what is wrong, or undefined
 */
export function evidenceFlaw(
	{ config, sidPre, graph }: Context,
	{ proposal }: Proposed,
	{ metas, proof }: Evidence,
	viewer: PeerId,
): string | undefined {
	const sid = sessionId(sidPre, proposal.rosterRoot);
	const shareSetHash = shareSetOf(sidPre, proposal);
	const around = graph.positionOf(viewer) < 0 ? [] : neighbourhoodOf(graph, viewer);
	const near = new Set(around);
	const survivors = new Set(survivorsOf(graph, proposal));
	const byAuthor = new Map(metas.map((meta) => [meta.author, meta]));
	if (
		byAuthor.size !== metas.length ||
		metas.some(({ author }) => !survivors.has(author) || !near.has(author))
	)
		return "it shows inputs of others than the survivors around the node it is for";
	for (const meta of metas) {
		// A member shown another roster or share set masked against other mates (attack A4):
		// its self mask must stay closed.
		if (!equalBytes(meta.sid, sid) || !equalBytes(meta.shareSetHash, shareSetHash)) {
			return `the input of ${meta.author} was made for another session or share set`;
		}
		if ((meta.publicHash === undefined) !== (config.publicBytes === undefined))
			return `the input of ${meta.author} has not the public part that the job asks for`;
		if (!isAuthentic(meta)) return `the input of ${meta.author} is not signed by it`;
	}
	if (around.some((member) => survivors.has(member) && !byAuthor.has(member)))
		return "it lacks the signed input of a survivor around the node it is for";
	return provesPart(graph, around, byAuthor, metaLeaf, { root: proposal.metaTree, proof })
		? undefined
		: "the signed inputs it shows are not the proposed ones";
}

/** Judges a proposal and its certificate; returns what is wrong, or undefined. */
export function certifiedFlaw(context: Context, { certificate, proposed }: Certified): string | undefined {
	const { slot, sidPre, config, computations } = context;
	if (slotId(certificate.slot) !== slotId(slot)) return "the certificate is for another slot";
	if (!equalBytes(certificate.value, proposalHash(sidPre, proposed.proposal))) {
		return "the certificate is for another proposal";
	}
	const sound = computations.once(
		"certificate",
		() => [
			sidPre,
			certificate.value,
			Buffer.from(certificate.votes.map(({ voter }) => voter).join(" ")),
			Buffer.concat(certificate.votes.map(({ signature }) => signature)),
		],
		() => verifyQuorumCertificate(config.electorate, certificate),
	);
	return sound ? proposalFlaw(context, proposed, undefined) : "the certificate has no valid quorum";
}

function shareSetOf(sidPre: Uint8Array, { rosterRoot, cohort, shareTree }: Proposal): Uint8Array {
	return shareSetHashOf(sessionId(sidPre, rosterRoot), cohort, shareTree);
}
