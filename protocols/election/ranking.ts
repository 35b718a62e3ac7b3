/**
 * Who coordinates: a ranking of the members that anyone can recompute and nobody can choose.
 *
 * The seed is the beacon of the last certified round: a hash of the survivors' self-mask
 * seeds, committed before the survivor set was fixed and recoverable without their owners
 * (protocols/aggregation), so no coalition below the threshold can bias or withhold it.
 */

import { toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";

export interface RankingContext {
	readonly federationId: string;
	readonly jobId: string;
	/** Hash of the charter version the job was started under. */
	readonly charterHash: Uint8Array;
	/** 32-byte beacon. */
	readonly seed: Uint8Array;
	readonly term: number;
}

/**
 * The members by SHA-256(domain | federation | charter | job | seed | term | peer), those in
 * `recentSurvivors` (the last certified survivor set: a liveness view signed by a quorum)
 * before all others. The first is the coordinator of the term; the next in line follow.
 */
export function rankMembers(
	context: RankingContext,
	members: readonly PeerId[],
	recentSurvivors: readonly PeerId[],
): PeerId[] {
	const live = new Set(recentSurvivors);
	return members
		.map((peer) => ({
			peer,
			late: live.has(peer) ? 0 : 1,
			key: toHex(
				hashFields(
					"althing/coordinator/1",
					context.federationId,
					context.charterHash,
					context.jobId,
					context.seed,
					context.term,
					peer,
				),
			),
		}))
		.sort((a, b) => a.late - b.late || (a.key < b.key ? -1 : 1))
		.map(({ peer }) => peer);
}
