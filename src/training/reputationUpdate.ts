/**
 * Reputation as a job's robustness: what the common state keeps for it (a score and a standing of each participant,
 * and the aggregate of the last round), and what a round's inputs are judged by. Public arithmetic, the same bits at
 * every node.
 */
import { AlthingError } from "../../crypto/error.ts";
import { nextReputations, nextStandings } from "../robustness/directionReputation.ts";
import type { RobustnessChoice } from "../robustness/robustnessChoice.ts";
import { norm } from "../robustness/vectors.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { Participation } from "./plan.ts";

type Reputation = Extract<RobustnessChoice, { mode: "reputation" }>;
type Kept = Pick<CommonState, "reputations" | "standings" | "lastAggregate">;

/** Length of the public direction that inputs are projected on, as the screening has it. */
const DIRECTION_LENGTH = 32;

export function reputationOf({ robustness }: Pick<ResolvedJobSpec, "robustness">): Reputation | undefined {
	return robustness?.mode === "reputation" ? robustness : undefined;
}

/**
 * Refuses a job whose participants are too few to tell attackers apart, or to leave them out.
 * @throws AlthingError `job.invalid`
 */
export function requireReputable(
	spec: Pick<ResolvedJobSpec, "robustness">,
	{ participants, minimumSurvivors }: Participation,
): void {
	const choice = reputationOf(spec);
	if (choice === undefined) return;
	const { attackers } = choice;
	const refuse = (why: string): never => {
		throw new AlthingError(
			"job.invalid",
			`robustness.mode reputation against ${attackers} attackers ${why}`,
			{ participants, minimumSurvivors, attackers },
		);
	};
	if (participants <= 2 * attackers)
		refuse(
			`needs ${2 * attackers + 1} participants, not ${participants}; lower robustness.attackers, or use norm_bound`,
		);
	if (participants - attackers < minimumSurvivors)
		refuse(
			`may leave ${participants - attackers} of ${participants} participants, fewer than the ${minimumSurvivors} that a sum is opened for; aggregation.minimumSurvivors, or the charter's minimumSurvivorFraction, has to be lower`,
		);
}

/** What a round's inputs are judged by, beside their norm. */
export function reputationRules(
	{ attackers }: Reputation,
	{ reputations, standings, lastAggregate }: Kept,
): {
	readonly attackers: number;
	readonly scores: Float64Array;
	readonly standings?: Float64Array;
	readonly direction?: Float64Array;
} {
	const before = {
		scores: reputations ?? new Float64Array(),
		...(standings === undefined ? {} : { standings }),
	};
	const length = lastAggregate === undefined ? 0 : norm(lastAggregate);
	if (lastAggregate === undefined || !(length > 0)) return { attackers, ...before };
	const unit = DIRECTION_LENGTH / length;
	return { attackers, ...before, direction: lastAggregate.map((value) => value * unit) };
}

/**
 * What the state keeps after a round.
 * @param mean of the survivors' updates
 * @param alignments one for each participant of the job; undefined for who was not seen, and in a round
 *   without a direction yet
 * @param round of the job, from 0
 */
export function reputationAfter(
	spec: Pick<ResolvedJobSpec, "robustness">,
	{ reputations, standings }: Kept,
	mean: Float64Array,
	alignments: readonly (number | undefined)[] | undefined,
	round: number,
): Kept {
	if (reputationOf(spec) === undefined) return {};
	if (alignments === undefined)
		throw new AlthingError(
			"training.bad_state",
			"a round of a job with reputation came without what its screening found",
		);
	const scores = nextReputations(reputations ?? new Float64Array(alignments.length), alignments);
	const seen = alignments.map((one) => one !== undefined);
	const next = nextStandings(standings, scores, seen, round);
	return {
		reputations: scores,
		...(next === undefined ? {} : { standings: next }),
		lastAggregate: mean.slice(),
	};
}
