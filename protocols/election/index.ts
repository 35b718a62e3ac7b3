/**
 * Election: who coordinates a job, verifiable by everybody, with the next in line taking
 * over only when a quorum certifies it.
 *
 * @example
 * ```ts
 * const [coordinator, next] = rankMembers(context, electorate.members, lastSurvivors);
 * verifyTerm(electorate, federationId, jobId, certifiedTerm); // before obeying a new coordinator
 * ```
 */
export { type RankingContext, rankMembers } from "./ranking.ts";
export {
	type CertifiedTerm,
	epochOf,
	firstTerm,
	termSlot,
	termValue,
	VIEWS_PER_EPOCH,
	verifyTerm,
} from "./terms.ts";
