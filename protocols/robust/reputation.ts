/**
 * Reputation in a screening: the 17th projection of each input, on the direction of the last certified
 * aggregate, says how far it agrees with it; whose agreement has been an outlier's for rounds is left out.
 * The number is stated, vouched for and held against the opened sum like the other sixteen, and it cannot be
 * larger than the bound allows: what colluders shift between each other has a true total, and nobody can
 * take more of it than one input could have.
 */
import { DIRECTION_ROUNDING } from "../../crypto/directionProjection.ts";
import { SIGN_PROJECTIONS } from "../../crypto/signProjection.ts";
import { excludedByReputation, nextReputations } from "../../src/robustness/directionReputation.ts";
import type { PeerId } from "../contract.ts";
import { DIRECTION_LENGTH, type ScreeningRules } from "./outcome.ts";

type Rules = Pick<ScreeningRules, "normBound" | "reputation">;

/** Projections that a statement has of a vector or mask. */
export function projectionsOf({ reputation }: Pick<ScreeningRules, "reputation">): number {
	return SIGN_PROJECTIONS + (reputation?.direction === undefined ? 0 : 1);
}

/** Whether the last projection, of an input within the bound, is one that it can have (but for 2^-45). */
export function isPossible(projections: Int32Array, { normBound }: Rules): boolean {
	const last = projections[SIGN_PROJECTIONS];
	return last === undefined || Math.abs(last) <= (DIRECTION_LENGTH + DIRECTION_ROUNDING) * normBound;
}

/** Agreement of an input with the last aggregate, in [-1, 1]; undefined in a round without a direction. */
export function alignmentOf(projections: Int32Array, { normBound }: Rules): number | undefined {
	const last = projections[SIGN_PROJECTIONS];
	if (last === undefined) return undefined;
	return Math.min(1, Math.max(-1, last / (DIRECTION_LENGTH * normBound)));
}

/**
 * Who of those that may be in the sum is left out of it.
 * @param members the electorate, whose scores and standings the rules hold
 * @param kept sorted
 * @param proven attackers that the screening found out, beside those that are kept
 * @returns everybody where too few are kept to tell
 */
export function leftOutByReputation(
	members: readonly PeerId[],
	{ reputation }: Rules,
	kept: readonly PeerId[],
	alignments: ReadonlyMap<PeerId, number>,
	proven: number,
): readonly PeerId[] {
	if (reputation?.direction === undefined) return [];
	const { scores, standings } = reputation;
	const attackers = Math.max(0, reputation.attackers - proven);
	if (kept.length <= 2 * attackers) return kept;
	const next = nextReputations(
		scores,
		members.map((member) => alignments.get(member)),
	);
	const ofKept = (values: Float64Array) =>
		Float64Array.from(kept, (peer) => values[members.indexOf(peer)] as number);
	const before = standings === undefined ? undefined : ofKept(standings);
	return excludedByReputation(ofKept(next), attackers, before).map((place) => kept[place] as PeerId);
}
