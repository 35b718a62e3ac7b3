/** The parameters that a job's secure sums run under, computed from its participants, for its record. */
import {
	type CohortParameters,
	cohortParameters,
	corruptionAmong,
} from "../../protocols/aggregation/index.ts";
import { quorum } from "../../protocols/certificate/index.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import { contributorsOf, invitedOf } from "../../src/selection/cohort.ts";
import type { SelectionChoice } from "../../src/selection/selectionChoice.ts";
import type { Participation } from "../../src/training/plan.ts";

export interface CohortSecurity {
	/** Of one sum. */
	readonly participants: number;
	/** Rounds over a tree: sums of so many cohorts, each opened by itself; the numbers are those of the largest. */
	readonly cohorts?: number;
	readonly assumedCorrupt: number;
	readonly quorum: number;
	readonly minimumSurvivors: number;
	/** Whether everybody is masked against everybody, or each against its neighbours on a ring. */
	readonly graph: "complete" | "ring";
	/** Members that hold a share of one's secrets, and how many of them reconstruct these. */
	readonly shareHolders: number;
	readonly threshold: number;
	readonly maskedNeighbours: number;
	/** Survivors that any two windows of half the masked neighbours must have; ring only. */
	readonly windowSurvivors?: number;
}

/** Participants that a round's first attempt is open to. */
function selectedOf(choice: SelectionChoice | undefined, participants: number): number {
	if (choice === undefined) return participants;
	if (choice.strategy === "poisson") return contributorsOf(choice, participants);
	return Math.min(participants, invitedOf(choice));
}

/**
 * @returns undefined for a job that makes no secure sums of all participants (gossip)
 * @throws AlthingError `aggregation.no_parameters` when no graph of this cohort is secure at 40 bits,
 *   `certificate.electorate`
 */
export function cohortSecurityOf(
	spec: ResolvedSpecification,
	who: Participation,
): CohortSecurity | undefined {
	const { schedule, selection: choice } = traitsOf(spec);
	if (schedule === "gossip") return undefined;
	const { participants, corruption, minimumSurvivors } = who;
	if (who.cohorts !== undefined) return securityOfOne(who, who.cohorts);
	const members = selectedOf(choice, participants);
	const electorate = { members: new Array<string>(participants).fill(""), corruption };
	const cohort = cohortParameters({
		members,
		// Only a uniform selection is a random part of the participants.
		corruption:
			(choice?.strategy ?? "uniform") === "uniform"
				? corruptionAmong(electorate, members)
				: Math.min(corruption, members),
		dropped: Math.max(0, members - minimumSurvivors),
	});
	return described(cohort, {
		participants: members,
		assumedCorrupt: corruption,
		quorum: quorum(electorate),
		minimumSurvivors,
	});
}

/** Of the largest cohort of a tree. */
function securityOfOne(
	{ participants, corruption, minimumSurvivors }: Participation,
	cohorts: number,
): CohortSecurity {
	const members = Math.ceil(participants / cohorts);
	const cohort = cohortParameters({ members, corruption, dropped: members - minimumSurvivors });
	return described(cohort, {
		participants: members,
		cohorts,
		assumedCorrupt: corruption,
		quorum: quorum({ members: new Array<string>(members).fill(""), corruption }),
		minimumSurvivors,
	});
}

function described(
	cohort: CohortParameters,
	sums: Pick<CohortSecurity, "participants" | "cohorts" | "assumedCorrupt" | "quorum" | "minimumSurvivors">,
): CohortSecurity {
	const { participants: members } = sums;
	if (cohort.graph === "complete") {
		const threshold = Math.floor(members / 2) + 1;
		return {
			...sums,
			graph: "complete",
			shareHolders: members - 1,
			threshold,
			maskedNeighbours: members - 1,
		};
	}
	const { holders, threshold, mates, windowSurvivors } = cohort;
	return {
		...sums,
		graph: "ring",
		shareHolders: holders,
		threshold,
		maskedNeighbours: mates,
		windowSurvivors,
	};
}
