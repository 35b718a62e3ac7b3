/** What a job's selection of participants means for this node: how large its sums are, and by what rule it selects. */
import type { JobStart } from "../../protocols/agreement/index.ts";
import { type Charter, minimumSurvivorsOf } from "../../protocols/federation/index.ts";
import type { TrainingJobOptions } from "../../protocols/training/index.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import { contributorsOf, requireSafeCohort } from "../../src/selection/cohort.ts";
import {
	type Characteristics,
	characteristicOf,
	type SelectionChoice,
} from "../../src/selection/selectionChoice.ts";
import type { Participation } from "../../src/training/plan.ts";

/** A query asks everybody, once. */
export function selectionOf(spec: ResolvedSpecification): SelectionChoice | undefined {
	return spec.technique === "query" ? undefined : spec.selection;
}

/** Of what this organization declares, what the job's selection goes by: nobody is told more. */
export function declaredFor(
	choice: SelectionChoice | undefined,
	characteristics: Characteristics,
): Characteristics | undefined {
	const name = choice === undefined ? undefined : characteristicOf(choice);
	const value = name === undefined ? undefined : characteristics[name];
	return name === undefined || value === undefined ? undefined : { [name]: value };
}

/** Fewest survivors that the charter allows a job's sums to be opened for: a fraction of those a round is for. */
export function charterMinimumOf(
	spec: ResolvedSpecification,
	charter: Charter,
	participants: number,
): number {
	return minimumSurvivorsOf(charter, contributorsOf(selectionOf(spec), participants));
}

/**
 * How large the sums of a job are.
 * @param participants of the job; all of them may come to be asked when attempts fail
 * @param corruption how many of them may be corrupt
 * @throws AlthingError `job.cohort_too_small`
 */
export function participationOf(
	spec: ResolvedSpecification,
	charter: Charter,
	participants: number,
	corruption: number,
): Participation {
	const choice = selectionOf(spec);
	const minimumSurvivors = spec.aggregation.minimumSurvivors ?? charterMinimumOf(spec, charter, participants);
	if (choice !== undefined) {
		const contributors = contributorsOf(choice, participants);
		requireSafeCohort({ contributors, corruption, minimumSurvivors });
	}
	return { participants, corruption, minimumSurvivors };
}

/** The rule by which every participant selects alike; nothing where everybody takes part in every round. */
export function selectionFor(
	spec: ResolvedSpecification,
	start: JobStart,
	{ minimumSurvivors, participants }: Participation,
): Pick<TrainingJobOptions, "selection" | "enoughInputs"> {
	const choice = selectionOf(spec);
	if (choice === undefined) return {};
	const characteristics = new Map(
		start.participants.map(({ response }) => [response.peer, response.characteristics ?? {}]),
	);
	return {
		selection: { choice, characteristics, minimumSurvivors },
		// A Poisson sample has no size to be reached.
		...(choice.strategy === "poisson" ? {} : { enoughInputs: contributorsOf(choice, participants) }),
	};
}
