/** How large the sums of a job are, and whether they are safe to open. */
import { AlthingError } from "../../crypto/error.ts";
import type { SelectionChoice } from "./selectionChoice.ts";

/** Tolerance of products that would be whole numbers but for floating point, like 10 * 1.1. */
const ROUNDING = 1e-9;

/**
 * Contributions that a round of the job is for, of so many participants: what fractions of a cohort, like the
 * charter's least share of survivors, are fractions of.
 */
export function contributorsOf(choice: SelectionChoice | undefined, participants: number): number {
	if (choice === undefined) return participants;
	if (choice.strategy === "poisson")
		return Math.max(2, Math.floor(choice.probability * participants + ROUNDING));
	return Math.min(participants, sizeOf(choice));
}

type Sized = Exclude<SelectionChoice, { strategy: "poisson" }>;

function sizeOf(choice: Sized): number {
	if (choice.strategy !== "stratified") return choice.size;
	return Object.values(choice.strata).reduce((sum, size) => sum + size, 0);
}

/** Participants asked in a round's first attempt. */
export function invitedOf(choice: Sized): number {
	return Math.ceil(sizeOf(choice) * (1 + choice.overselection) - ROUNDING);
}

/**
 * Refuses cohorts so small that the corrupt participants could be too many of one. All of them are assumed to
 * be among those selected, and on every roster, which the coordinator picks: no luck of the draw is counted
 * on, and the beacon need not be perfect. Then fewer shares than reconstruct a secret, and not all of the
 * noise, may be theirs.
 * @throws AlthingError `job.cohort_too_small`
 */
export function requireSafeCohort(cohort: {
	readonly contributors: number;
	readonly corruption: number;
	readonly minimumSurvivors: number;
}): void {
	const { contributors, corruption, minimumSurvivors } = cohort;
	if (minimumSurvivors > contributors) {
		throw new AlthingError(
			"job.cohort_too_small",
			`a round is for ${contributors} contributions, but ${minimumSurvivors} have to survive; have more participants, or lower aggregation.minimumSurvivors`,
			{ ...cohort },
		);
	}
	const needed = Math.max(2, 2 * corruption);
	if (minimumSurvivors < needed) {
		throw new AlthingError(
			"job.cohort_too_small",
			`sums of ${minimumSurvivors} participants are too small where ${corruption} of all may be corrupt, since all of those may be among them and would hold half of the shares of everybody's secrets: at least ${needed} have to survive; raise aggregation.minimumSurvivors, or have more participants`,
			{ ...cohort, needed },
		);
	}
}
