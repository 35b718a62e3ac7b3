/** What a job's selection of participants means for this node: how large its sums are, and by what rule it selects. */
import { AlthingError } from "../../crypto/error.ts";
import { cohortParameters, LARGEST_COMPLETE_COHORT } from "../../protocols/aggregation/index.ts";
import type { JobStart } from "../../protocols/agreement/index.ts";
import { type Charter, corruptionOf, minimumSurvivorsOf } from "../../protocols/federation/index.ts";
import type { CoordinationTiming, TrainingJobOptions } from "../../protocols/training/index.ts";
import { type JobTraits, traitsOf } from "../../src/jobs/jobTraits.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import { contributorsOf, invitedOf, requireSafeCohort } from "../../src/selection/cohort.ts";
import {
	type Characteristics,
	characteristicOf,
	reportsLosses,
	type SelectionChoice,
} from "../../src/selection/selectionChoice.ts";
import { REPORT_BYTES } from "../../src/training/lossReports.ts";
import type { Participation } from "../../src/training/plan.ts";
import { cohortParticipation, cohortTreeOf } from "./cohortTree.ts";

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
	return minimumSurvivorsOf(charter, traitsOf(spec).contributors(participants));
}

/**
 * How large the sums of a job are, and how many participants may be corrupt. A start may leave out honest
 * members that accepted (a quorum is enough) and no corrupt one: all of the charter's f may take part, however
 * few others do.
 * @param participants of the job; all of them may come to be asked when attempts fail
 * @throws AlthingError `job.cohort_too_small`, `job.cohort_too_large`, `aggregation.no_parameters`,
 *   `hierarchy.bad_size`
 */
export function participationOf(
	spec: ResolvedSpecification,
	charter: Charter,
	participants: number,
): Participation {
	const tree = cohortTreeOf(spec, charter, participants);
	if (tree !== undefined) return cohortParticipation(tree, charter, participants);
	const corruption = Math.min(corruptionOf(charter), participants);
	const minimumSurvivors = spec.aggregation.minimumSurvivors ?? charterMinimumOf(spec, charter, participants);
	const traits = traitsOf(spec);
	const { selection: choice, schedule } = traits;
	const contributors = traits.contributors(participants);
	// Without a coordinator no sum is opened.
	if (schedule !== "gossip") requireSafeCohort({ contributors, corruption, minimumSurvivors });
	if (participants > LARGEST_COMPLETE_COHORT && needsCompleteGraph(traits)) {
		throw new AlthingError(
			"job.cohort_too_large",
			`buffered rounds, Poisson selections and reported losses are offered for up to ${LARGEST_COMPLETE_COHORT} participants, not ${participants}; select a fixed number instead`,
			{ participants },
		);
	}
	if (choice !== undefined && choice.strategy !== "poisson") {
		const selected = Math.min(participants, invitedOf(choice));
		cohortParameters({
			members: selected,
			corruption: Math.min(corruption, selected),
			dropped: selected - minimumSurvivors,
		});
	}
	return { participants, corruption, minimumSurvivors };
}

/** The rules by which a round's contributors are found alike by all; nothing where everybody takes part in every round. */
export function selectionFor(
	spec: ResolvedSpecification,
	start: JobStart,
	{ minimumSurvivors, participants }: Participation,
): Pick<TrainingJobOptions, "selection" | "enoughInputs" | "buffer" | "publicBytes"> {
	const { selection: choice, ...traits } = traitsOf(spec);
	if (choice === undefined) {
		const buffer = traits.buffer?.(participants);
		return buffer === undefined ? {} : { buffer };
	}
	const characteristics = new Map(
		start.participants.map(({ response }) => [response.peer, response.characteristics ?? {}]),
	);
	return {
		selection: { choice, characteristics, minimumSurvivors },
		...(reportsLosses(choice) ? { publicBytes: REPORT_BYTES } : {}),
		// A Poisson sample has no size to be reached.
		...(choice.strategy === "poisson" ? {} : { enoughInputs: contributorsOf(choice, participants) }),
	};
}

/**
 * The roster of a buffered round, and a Poisson sample, may be much smaller than the set it is taken from;
 * and losses that everybody sees are for complete graphs.
 */
function needsCompleteGraph({ schedule, selection }: JobTraits): boolean {
	return schedule === "buffered" || selection?.strategy === "poisson" || reportsLosses(selection);
}

/**
 * Phases that may run to their time limits, a silent member in each, between two steps of a round that the others
 * see: its inputs, then sketches, confirmations, statements and disputes where inputs are screened, and the sum.
 */
const PHASES_BETWEEN_STEPS = 8;
/** A buffer fills when sites are ready: its coordinator is given more time before it counts as stalling. */
const BUFFER_PATIENCE = 10;

/** A coordinator does not stall as long as it only waits for the job's phases to end. */
export function patientTiming(spec: ResolvedSpecification, timing: CoordinationTiming): CoordinationTiming {
	const phases = PHASES_BETWEEN_STEPS * spec.aggregation.phaseTimeoutMs;
	const stallMs = Math.max(timing.stallMs, phases);
	const patience = traitsOf(spec).schedule === "buffered" ? BUFFER_PATIENCE : 1;
	return { ...timing, stallMs: patience * stallMs };
}
