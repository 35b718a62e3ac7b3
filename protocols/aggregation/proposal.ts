/** What a voter checks before it votes for a survivor set, and a holder before it opens anything. */
import { equalBytes } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { type Slot, slotId, verifyQuorumCertificate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import { canonical, type Sharing } from "./cohort.ts";
import type { AggregationConfig } from "./configuration.ts";
import { type Certified, isAuthentic, type Proposal, type Proposed } from "./messages.ts";
import { DOMAIN, sessionId } from "./sessionId.ts";

/** The value that is voted on: 32 bytes over session, U2, U3, every signed meta and the masked sum. */
export function proposalHash(sidPre: Uint8Array, proposal: Proposal): Uint8Array {
	return hashFields(`${DOMAIN}/proposal`, sidPre, canonical(proposal));
}

/** U3, sorted. */
export function survivorsOf(proposal: Proposal): PeerId[] {
	return proposal.metas.map(({ author }) => author);
}

/** U2 \ U3, sorted. */
export function droppedOf(proposal: Proposal): PeerId[] {
	const survivors = new Set(survivorsOf(proposal));
	return proposal.cohort.filter((member) => !survivors.has(member));
}

/**
 * Judges a proposal; `sharing` is this node's own view if it has one. A node without one
 * (late, or restarted) can still vote: everything that makes the vote safe is signed by
 * the survivors themselves.
 * @returns what is wrong, or undefined
 */
export function proposalFlaw(
	config: AggregationConfig,
	sidPre: Uint8Array,
	{ proposal, origin }: Proposed,
	sharing: Sharing | undefined,
): string | undefined {
	const { cohort, metas, shareSetHash, rosterRoot } = proposal;
	const selected = config.selected ?? config.electorate.members;
	const sid = sessionId(sidPre, rosterRoot);
	if (origin.author !== proposal.proposer || !isAuthentic(origin)) return "its proposer did not sign it";
	if (!equalBytes(origin.sidPre, sidPre)) return "it belongs to another session";
	if (!equalBytes(origin.proposalHash, proposalHash(sidPre, proposal)))
		return "its proposer signed another one";
	if (!config.electorate.members.includes(proposal.proposer)) return "its proposer is no participant";
	if (!ascending(cohort) || cohort.some((member) => !selected.includes(member))) {
		return "its cohort is not a sorted set of those selected to contribute";
	}
	if (sharing !== undefined) {
		if (!equalBytes(sid, sharing.roster.sid)) return "it follows from another roster";
		if (!equalBytes(shareSetHash, sharing.shareSetHash)) return "it follows from another share set";
		if (cohort.join() !== sharing.cohort.join()) return "its cohort is not the share set's";
	}
	const survivors = survivorsOf(proposal);
	if (!ascending(survivors) || survivors.some((member) => !cohort.includes(member))) {
		return "its survivors are not a sorted subset of the cohort";
	}
	if (survivors.length < config.minimumSurvivors) {
		return `it has ${survivors.length} survivors; at least ${config.minimumSurvivors} are required`;
	}
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
	return undefined;
}

/** Judges a certified proposal; returns what is wrong, or undefined. */
export function certifiedFlaw(
	config: AggregationConfig,
	sidPre: Uint8Array,
	slot: Slot,
	{ certificate, proposed }: Certified,
	sharing: Sharing | undefined,
): string | undefined {
	if (slotId(certificate.slot) !== slotId(slot)) return "the certificate is for another slot";
	if (!equalBytes(certificate.value, proposalHash(sidPre, proposed.proposal))) {
		return "the certificate is for another proposal";
	}
	if (!verifyQuorumCertificate(config.electorate, certificate)) return "the certificate has no valid quorum";
	return proposalFlaw(config, sidPre, proposed, sharing);
}

function ascending(peers: readonly PeerId[]): boolean {
	return peers.every((peer, i) => i === 0 || (peers[i - 1] as PeerId) < peer);
}
