/** When a job's start holds: it proves itself, whoever proposes it. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { type Electorate, quorum, type Slot } from "../certificate/index.ts";
import {
	commitmentTo,
	type JobProposal,
	type JobResponse,
	type JobStart,
	jobIdOf,
	type NonceReveal,
	verifyResponse,
	verifyReveal,
} from "./messages.ts";

export interface StartRules {
	readonly proposal: JobProposal;
	/** The members under the charter that the proposal names. */
	readonly electorate: Electorate;
	/** Fewest participants the charter allows a job to start with. */
	readonly minimumCohort: number;
}

/** Acceptances that a start needs. */
export function acceptancesNeeded({ electorate, minimumCohort }: StartRules): number {
	return Math.max(quorum(electorate), minimumCohort);
}

/** True when the nonce is the one that the response committed to, revealed by its own author. */
export function opensCommitment(
	proposal: JobProposal,
	response: JobResponse,
	{ jobId, peer, nonce, signature }: NonceReveal,
): boolean {
	return (
		peer === response.peer &&
		jobId === response.jobId &&
		equalBytes(commitmentTo(jobId, peer, nonce), response.commitment) &&
		verifyReveal(proposal, { jobId, peer, nonce, signature })
	);
}

/** True when enough distinct members accepted this very proposal and opened their commitments. */
export function isValidStart(rules: StartRules, start: JobStart): boolean {
	const { proposal, electorate } = rules;
	const jobId = jobIdOf(proposal);
	const peers = start.participants.map(({ response }) => response.peer);
	return (
		start.jobId === jobId &&
		equalBytes(start.charterHash, proposal.charterHash) &&
		peers.length >= acceptancesNeeded(rules) &&
		peers.every(
			(peer, index) =>
				electorate.members.includes(peer) && (index === 0 || (peers[index - 1] as PeerId) < peer),
		) &&
		start.participants.every(
			({ response, reveal }) =>
				response.accept &&
				response.jobId === jobId &&
				verifyResponse(proposal, response) &&
				opensCommitment(proposal, response, reveal),
		)
	);
}

/** The slot in which the start is decided. */
export function startSlot(proposal: JobProposal, attempt: number): Slot {
	return { scope: proposal.federationId, subject: "job", instance: jobIdOf(proposal), attempt };
}

/** Who may propose the start: a ranking that needs no beacon, for it decides nothing but who speaks first. */
export function leaderOf(proposal: JobProposal, members: readonly PeerId[], attempt: number): PeerId {
	const jobId = jobIdOf(proposal);
	const rank = (peer: PeerId) => toHex(hashFields("althing/job-leader/1", proposal.charterHash, jobId, peer));
	const ranked = [...members].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
	return ranked[attempt % ranked.length] as PeerId;
}
