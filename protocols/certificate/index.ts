/**
 * The one certificate mechanism: everything a federation decides (a charter version, a
 * coordinator's term, the survivor set of an aggregation, the result of a round) is one
 * value in one *slot*, decided by votes.
 *
 * - Every member of the electorate casts **at most one ballot per slot, ever**: a vote for a
 *   value or an abstention ("I will never vote here"). The ballot is written durably before
 *   it is sent ({@link VoteLock}).
 * - A {@link QuorumCertificate} is q = floor((n+f)/2)+1 votes for one value. Two of them for
 *   one slot would need more than f double voters.
 * - A {@link DeadCertificate} proves that no value of the slot can ever reach q; only then may
 *   the same question be asked again in the slot with the next `attempt`.
 * - A new coordinator collects ballots and must finish a value that can still win
 *   ({@link BallotBox.viableValues}) before it may ask for a Dead certificate.
 *
 * @example
 * ```ts
 * const box = new BallotBox(electorate, slot);
 * box.add(signBallot(key, slot, value));
 * const certificate = box.certificate();
 * if (certificate !== undefined) verifyQuorumCertificate(electorate, certificate); // true
 * ```
 *
 * Sources: HotStuff-2/PBFT quorum intersection; secure-aggregation design 2.7 (vote once
 * with Dead). The exclusion of QC and Dead is checked exhaustively in the tests.
 */
export { BallotBox, type BallotOutcome } from "./ballotBox.ts";
export {
	type Ballot,
	ballotSchema,
	type DeadCertificate,
	deadCertificateSchema,
	type Electorate,
	MAX_ELECTORATE,
	type QuorumCertificate,
	quorum,
	quorumCertificateSchema,
	type Slot,
	signBallot,
	slotId,
	slotSchema,
	verifyBallot,
	verifyDeadCertificate,
	verifyQuorumCertificate,
} from "./certificates.ts";
export { VoteLock } from "./voteLock.ts";
