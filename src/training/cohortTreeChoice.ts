/** Rounds that are summed over a tree of cohorts (`aggregation.cohortSize`): which other keys go with them. */
import type { JobSpec } from "./jobSpec.ts";

/**
 * The largest cohort when so many participants are dealt into cohorts of at least `cohortSize`, all of one size
 * give or take one; undefined where there are too few for two of them.
 */
export function largestCohort(participants: number, cohortSize: number): number | undefined {
	const count = Math.floor(participants / cohortSize);
	return count < 2 ? undefined : Math.ceil(participants / count);
}

/** The first contradiction between `aggregation.cohortSize` and other keys, with the way out. */
export function cohortTreeContradiction({
	aggregation,
	training,
	privacy,
	selection,
	robustness,
}: Pick<JobSpec, "aggregation" | "training" | "privacy" | "selection" | "robustness">): string | undefined {
	if (aggregation.cohortSize === undefined) return undefined;
	if (training.schedule !== "synchronous")
		return `aggregation.cohortSize is for training.schedule synchronous: ${training.schedule} has no round that all cohorts take part in at once`;
	if (aggregation.minimumSurvivors !== undefined)
		return "aggregation.cohortSize leaves it to the charter's minimumSurvivorFraction how many of each cohort have to survive: leave aggregation.minimumSurvivors out";
	if (selection !== undefined)
		return "aggregation.cohortSize deals all participants into cohorts, once: a selection of each round's would change who is summed with whom; leave selection out";
	if (robustness !== undefined && robustness.mode !== "none")
		return `robustness.mode ${robustness.mode} judges the vectors of one session, and aggregation.cohortSize has many: say robustness: {mode: none}, the plain mean, which one participant can ruin, or leave aggregation.cohortSize out`;
	if (privacy.mechanism === "distributed_gaussian" && privacy.correlation !== "none")
		return "privacy.correlation cancels noise of earlier rounds' sums, and with aggregation.cohortSize a cohort may be missing from one and not from the next: use correlation none";
	return undefined;
}
