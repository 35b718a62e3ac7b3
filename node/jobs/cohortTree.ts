/** What a job over a tree of cohorts means for its sums: how its participants are dealt, and what one cohort bears. */

import { AlthingError } from "../../crypto/error.ts";
import { type Charter, corruptionOf } from "../../protocols/federation/index.ts";
import { cohortShapes, MAX_COHORTS } from "../../protocols/hierarchy/index.ts";
import type { TrainingJobOptions } from "../../protocols/training/index.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import { largestCohort } from "../../src/training/cohortTreeChoice.ts";
import type { Participation } from "../../src/training/plan.ts";

/**
 * @returns undefined for a job whose rounds are one sum of all
 * @throws AlthingError `job.cohort_too_small`: too few participants for two cohorts, or too many cohorts
 */
export function cohortTreeOf(
	spec: ResolvedSpecification,
	charter: Charter,
	participants: number,
): TrainingJobOptions["tree"] {
	const least = spec.technique === "federated_learning" ? spec.aggregation.cohortSize : undefined;
	if (least === undefined) return undefined;
	const cohortSize = largestCohort(participants, least);
	if (cohortSize === undefined || Math.ceil(participants / cohortSize) > MAX_COHORTS)
		throw new AlthingError(
			"job.cohort_too_small",
			`${participants} participants make ${Math.floor(participants / least)} cohorts of aggregation.cohortSize ${least}, and a tree has 2 to ${MAX_COHORTS}; choose another size, or leave it out for one sum of all`,
			{ participants, cohortSize: least },
		);
	return { cohortSize, toleratedDropout: 1 - charter.rules.minimumSurvivorFraction };
}

/**
 * Each cohort's sum is opened by itself: what holds of the one with the fewest honest survivors holds of all.
 * @throws AlthingError `hierarchy.bad_size`, `aggregation.no_parameters`
 */
export function cohortParticipation(
	tree: NonNullable<TrainingJobOptions["tree"]>,
	charter: Charter,
	participants: number,
): Participation {
	const corruption = Math.min(corruptionOf(charter), participants);
	const shapes = cohortShapes({ ...tree, members: participants, corruption });
	return {
		participants,
		corruption: Math.max(...shapes.map(({ corruption }) => corruption)),
		minimumSurvivors: Math.min(...shapes.map(({ minimumSurvivors }) => minimumSurvivors)),
		cohorts: shapes.length,
	};
}
