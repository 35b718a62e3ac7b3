/**
 * What a job file without `robustness` gets: the enforced L2 bound with the mean, wherever it can be
 * enforced. The choice becomes part of the specification that every organization signs for, so what a
 * job runs under stands in its record, not in what its version of the program takes for granted.
 */
import type { RobustnessChoice } from "../robustness/robustnessChoice.ts";
import type { JobSpec } from "./jobSpec.ts";

/** Local steps average over batches, and a bound stands on them without momentum what it stands on gradients with. */
const OF_LOCAL_STEPS: RobustnessChoice = { mode: "norm_bound", clientMomentum: 0 };
/** What hides in the spread of gradients (ALIE, min-max) ruins a bounded mean of them round by round. */
const OF_GRADIENTS: RobustnessChoice = { mode: "norm_bound", clientMomentum: 0.9 };

/** Not where an update is of a round of its own: buffered, or on coordinates that each round picks. */
function enforcedBound({
	training,
	compression,
}: Pick<JobSpec, "training" | "compression">): RobustnessChoice {
	const alike = training.schedule !== "buffered" && compression === undefined;
	return training.algorithm === "fedsgd" && alike ? OF_GRADIENTS : OF_LOCAL_STEPS;
}

/**
 * The robustness of a job; undefined for gossip, which makes no sum and bounds every step by itself.
 * A job whose file names none and that cannot have the bound has the plain mean only where the reason lies
 * in its privacy, which bounds honest sites; for others see {@link robustnessGap}.
 */
export function robustnessOf({
	robustness,
	training,
	privacy,
	compression,
}: Pick<JobSpec, "robustness" | "training" | "privacy" | "compression">): RobustnessChoice | undefined {
	if (robustness !== undefined || training.schedule === "gossip") return robustness;
	if (privacy.mechanism === "distributed_gaussian") return { mode: "none" };
	return enforcedBound({ training, compression });
}

/** Why a job can have no robustness but `none`, with the way out; undefined where it can. */
function unbounded({
	training,
	personalization,
	compression,
	robustness,
}: Pick<JobSpec, "training" | "personalization" | "compression" | "robustness">): string | undefined {
	if (training.algorithm === "fednova")
		return "training.algorithm fednova moves by a number of steps that sites claim, and a bound on updates says nothing of it: use fedavg, fedprox or scaffold";
	if (personalization?.method === "clustered")
		return "personalization.method clustered divides by how many sites claim to have chosen a model, and a bound on updates says nothing of it";
	if (compression === undefined || robustness === undefined || robustness.mode === "norm_bound")
		return undefined;
	return "compression goes with robustness.mode norm_bound alone: other rules judge whole updates";
}

/** The first contradiction between a job's robustness and its other keys; undefined where there is none. */
export function robustnessGap(spec: JobSpec): string | undefined {
	const { robustness, training } = spec;
	if (robustness?.mode === "none") return undefined;
	if (robustness === undefined && spec.privacy.mechanism === "distributed_gaussian") return undefined;
	if (training.schedule === "gossip") return undefined;
	const why = unbounded(spec);
	if (why !== undefined)
		return `${why}; or say robustness: {mode: none}, the plain mean, which one participant can ruin`;
	if (robustness === undefined) return undefined;
	if (robustness.mode === "norm_bound") {
		const { clientMomentum, largestWeight } = robustness;
		if (clientMomentum === 0 && largestWeight === undefined) return undefined;
	}
	if (spec.compression !== undefined && robustness.clientMomentum > 0)
		return "compression goes with robustness.mode norm_bound and clientMomentum 0: what a site sends are coordinates, cells or rotations drawn anew in each round, of which a momentum would be no average; training.momentum is kept of the released sums";
	if (training.algorithm === "scaffold")
		return "training.algorithm scaffold goes with robustness.mode norm_bound, clientMomentum 0 and equal weights alone: a control variate is no account of what its site keeps when momentum moves it, or a rule over updates leaves it out";
	if (training.schedule === "buffered")
		return "training.schedule buffered goes with robustness.mode norm_bound, clientMomentum 0 and equal weights alone: an update is shortened to the bound of the round that takes it, and other rules compare updates of one version";
	return undefined;
}
