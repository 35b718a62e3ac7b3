/**
 * Terms of a job's coordinator.
 *
 * A term is one integer: epoch * {@link VIEWS_PER_EPOCH} + view. An epoch begins every
 * `roundsPerEpoch` rounds with a coordinator that follows from the last beacon alone (no
 * vote). Inside an epoch the next view, and with it the next in line, takes over only by a
 * quorum certificate, so two sides of a partition cannot both proceed.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import {
	type Electorate,
	type QuorumCertificate,
	type Slot,
	verifyQuorumCertificate,
} from "../certificate/index.ts";

export const VIEWS_PER_EPOCH = 1_000_000;

export function epochOf(term: number): number {
	return Math.floor(term / VIEWS_PER_EPOCH);
}

export function firstTerm(epoch: number): number {
	return epoch * VIEWS_PER_EPOCH;
}

/** The slot in which the coordinator of a term is decided. */
export function termSlot(federationId: string, jobId: string, term: number): Slot {
	return { scope: federationId, subject: "term", instance: `${jobId}/${term}`, attempt: 0 };
}

/** What members vote for in a term's slot. */
export function termValue(coordinator: PeerId): Uint8Array {
	return hashFields("althing/term/1", coordinator);
}

/** A certified term: the coordinator and the votes for it. */
export interface CertifiedTerm {
	readonly term: number;
	readonly coordinator: PeerId;
	readonly certificate: QuorumCertificate;
}

/** True when a quorum of the electorate certified this coordinator for this term of this job. */
export function verifyTerm(
	electorate: Electorate,
	federationId: string,
	jobId: string,
	certified: CertifiedTerm,
): boolean {
	const slot = termSlot(federationId, jobId, certified.term);
	const actual = certified.certificate.slot;
	return (
		actual.scope === slot.scope &&
		actual.subject === slot.subject &&
		actual.instance === slot.instance &&
		actual.attempt === 0 &&
		electorate.members.includes(certified.coordinator) &&
		equalBytes(certified.certificate.value, termValue(certified.coordinator)) &&
		verifyQuorumCertificate(electorate, certified.certificate)
	);
}
