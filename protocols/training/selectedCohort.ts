/** The graph of a session among selected participants: whether there is one, and which. */
import { hasCode } from "../../crypto/error.ts";
import type { SelectionRule } from "../../src/selection/select.ts";
import { type CohortParameters, cohortParameters, corruptionAmong } from "../aggregation/index.ts";
import type { Electorate } from "../certificate/index.ts";

interface JobCohort {
	readonly electorate: Electorate;
	readonly selection?: SelectionRule | undefined;
	readonly minimumSurvivors: number;
}

/**
 * Parameters of a session of so many of the participants. Only a uniform selection is a random part of them:
 * by what they declare or how they behave, the corrupt may all be in any other.
 * @throws AlthingError `aggregation.no_parameters`
 */
export function cohortOfSelected(
	{ electorate, selection, minimumSurvivors }: JobCohort,
	selected: number,
): CohortParameters {
	const corruption =
		selection?.choice.strategy === "uniform"
			? corruptionAmong(electorate, selected)
			: Math.min(electorate.corruption, selected);
	return cohortParameters({ members: selected, corruption, dropped: selected - minimumSurvivors });
}

/** Whether a session of so many of the participants is safe and can be opened with the fewest survivors. */
export function canBeSecured(job: JobCohort, selected: number): boolean {
	try {
		cohortOfSelected(job, selected);
		return true;
	} catch (error) {
		if (hasCode(error, "aggregation.no_parameters")) return false;
		throw error;
	}
}
