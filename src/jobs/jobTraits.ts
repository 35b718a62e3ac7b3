/**
 * What tells the techniques apart for the node's rounds and records, in one table: everything else of a job
 * goes by its plan (jobPlan.ts), whatever the technique.
 */
import { parameterCount } from "../learning/model.ts";
import { contributorsOf } from "../selection/cohort.ts";
import type { SelectionChoice } from "../selection/selectionChoice.ts";
import { bufferOf } from "../training/bufferedRounds.ts";
import type { ResolvedJobSpec } from "../training/jobSpec.ts";
import { keepsSiteState } from "../training/personalizationChoice.ts";
import { modelOf } from "../training/plan.ts";
import type { VerticalJob } from "../vertical/verticalSpec.ts";
import type { ResolvedQueryJob, ResolvedSpecification } from "./specification.ts";

export interface JobTraits {
	/** Of a round: everybody at once, whoever is ready, or neighbours among each other. */
	readonly schedule: "synchronous" | "buffered" | "gossip";
	/** Who is asked to contribute to a round; everybody where absent. */
	readonly selection?: SelectionChoice | undefined;
	/** Contributions that a round is for, of so many participants. */
	contributors(participants: number): number;
	/** The buffer of a job with buffered rounds. */
	buffer?(participants: number): ReturnType<typeof bufferOf>;
	/** Whether what is trained is one model, which is stored, shown and exported. */
	readonly trainsModel: boolean;
	/** Parameters of that model; 0 where there is none. */
	parameters(): number;
	/** What a site keeps for itself between rounds counts if it is in the sum, or whatever becomes of the round. */
	readonly siteState: "none" | "if_summed" | "standing";
	/** Whether something of the site's own is left to be done when the rounds are over. */
	readonly personalizes: boolean;
	/** As the job's file has them, for the records an auditor reads. */
	readonly recorded: { readonly privacy: object; readonly mechanism: string; readonly model: object };
}

/** The traits of a job. */
export function traitsOf(spec: ResolvedSpecification): JobTraits {
	switch (spec.technique) {
		case "query":
			return traitsOfQuery(spec);
		case "vertical_learning":
			return traitsOfVertical(spec);
		case "federated_learning":
			return traitsOfTraining(spec);
	}
}

/** A query asks everybody, once. */
function traitsOfQuery({ query }: ResolvedQueryJob): JobTraits {
	return {
		schedule: "synchronous",
		contributors: (participants) => participants,
		trainsModel: false,
		parameters: () => 0,
		siteState: "none",
		personalizes: false,
		recorded: { privacy: query.privacy, mechanism: "distributed_gaussian", model: query },
	};
}

/** Columns of the same records are needed from everybody; own parts never leave, and move once a batch. */
function traitsOfVertical({ privacy, model }: VerticalJob): JobTraits {
	return {
		schedule: "synchronous",
		contributors: (participants) => participants,
		trainsModel: false,
		parameters: () => 0,
		siteState: "standing",
		personalizes: false,
		recorded: { privacy, mechanism: privacy.mechanism, model },
	};
}

function traitsOfTraining(spec: ResolvedJobSpec): JobTraits {
	const { training, selection, privacy, model } = spec;
	const buffer = (participants: number) => bufferOf(training, participants);
	return {
		schedule: training.schedule,
		selection,
		contributors: (participants) => buffer(participants)?.capacity ?? contributorsOf(selection, participants),
		buffer,
		trainsModel: true,
		parameters: () => parameterCount(modelOf(spec)),
		siteState: keepsSiteState(spec) ? "if_summed" : "none",
		personalizes: spec.personalization !== undefined,
		recorded: { privacy, mechanism: privacy.mechanism, model },
	};
}
