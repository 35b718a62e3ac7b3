/** The facts on a model's card: where it comes from, what it cost in privacy, what that does not cover. */
import type { DataDescription } from "../../src/data/description.ts";
import type { ModelCardFacts } from "../../src/learning/formats/modelCard.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import type { ModelFacts, ModelJob } from "./records.ts";

/** @param files SHA-256 in hex by name, of the files that the card goes with */
export function cardFacts(
	job: ModelJob,
	spec: ResolvedJobSpec,
	completed: number,
	facts: ModelFacts,
	files: Readonly<Record<string, string>>,
): ModelCardFacts {
	const { description } = spec.data;
	const { loss, accuracy, evaluatedRounds } = facts;
	return {
		job: { name: job.name, id: job.jobId },
		federation: { name: job.federation, members: facts.participants },
		rounds: { completed, planned: spec.training.rounds },
		data: {
			description: `${spec.description ?? `Data set "${spec.data.set}"`}, described as "${description.name}"; the records stayed with the ${facts.participants} sites.`,
			features: featureLines(description),
			label: labelLine(description),
		},
		privacy: privacyOf(spec, facts),
		backend: job.backend,
		metrics: {
			...(loss === undefined ? {} : { "held-out loss": loss }),
			...(accuracy === undefined ? {} : { "held-out accuracy": accuracy }),
			...(evaluatedRounds === undefined ? {} : { "rounds of the evaluated model": evaluatedRounds }),
		},
		limits: [...mechanismLimits(spec), ...evaluationLimits(spec, evaluatedRounds)],
		files,
	};
}

function privacyOf(spec: ResolvedJobSpec, { epsilonSpent, delta }: ModelFacts): ModelCardFacts["privacy"] {
	const { privacy, data } = spec;
	if (privacy.mechanism === "none") return [];
	return [
		{
			subject: `records of "${data.set}" at the organization that wrote this card`,
			unit:
				privacy.unit === "client"
					? "all records of one organization, or none"
					: "one record added or removed",
			// A job that spent nothing yet still has the bound that it was planned with.
			epsilon: epsilonSpent ?? privacy.epsilon,
			delta: delta ?? privacy.delta,
			accountant: `${
				privacy.mechanism === "distributed_gaussian" && privacy.noiseSchedule === "adaptive"
					? "the Renyi filter for noise chosen from earlier releases"
					: "the tightest of privacy-loss distribution and Renyi divergence"
			}; integer noise charged as the Gaussian it is a post-processing of`,
		},
	];
}

function mechanismLimits({ privacy }: ResolvedJobSpec): string[] {
	if (privacy.mechanism === "none") {
		return [
			"Secure aggregation hid each site's update from everybody else, but the sums of every round carry no noise: all other sites together, or a sum over few sites, can tell much about one site.",
		];
	}
	const noise =
		privacy.mechanism === "distributed_gaussian"
			? "Sites add the noise in shares: the stated epsilon holds while no more sites leave out their noise, or pool what they know, than the federation's charter assumes to be corrupt."
			: "Each site adds all the noise for its own records itself: the stated epsilon does not depend on what other sites do, only on this site's own software.";
	const unit =
		privacy.unit === "client"
			? "The unit is one organization's whole data set; that it took part, and when, is not hidden."
			: "The unit is one record of one site: a person with several records has the loss of them all, and what a site's data set says as a whole (its size, its mix of labels) is not hidden.";
	return [
		noise,
		unit,
		"Epsilon counts this job alone; other jobs on the same records add to it, as the organization's budget ledger does.",
		"How long training takes, who took part and when are not covered.",
	];
}

function evaluationLimits({ privacy }: ResolvedJobSpec, evaluatedRounds: number | undefined): string[] {
	const input =
		"The exported files take features clamped and scaled as listed under Data; the node's own predictions do that themselves.";
	if (evaluatedRounds === undefined) return [input];
	const noised = privacy.mechanism === "none" ? "" : ", with noise";
	return [
		input,
		`The metrics were summed over records that the sites held out from training${noised}, and belong to the model after ${evaluatedRounds} rounds, not necessarily to this one.`,
	];
}

function featureLines({ features }: DataDescription): string[] {
	const { count, bounds, scale } = features;
	const range = scale === "unit" ? "[0, 1]" : "[-1, 1]";
	const line = (least: number, largest: number) => `clamped to [${least}, ${largest}], scaled to ${range}`;
	const [first, second] = bounds;
	if (typeof first === "number" && typeof second === "number") {
		return [`${count} numbers, each ${line(first, second)}`];
	}
	return (bounds as readonly (readonly [number, number])[]).map(
		([least, largest], column) => `column ${column + 1} ${line(least, largest)}`,
	);
}

function labelLine({ label, features }: DataDescription): string {
	if (label.kind === "class")
		return `${label.column}, one of ${label.classes.join(", ")} (outputs in this order)`;
	if (label.kind === "none") return "none";
	const [least, largest] = label.bounds;
	return `${label.column}, a number clamped to [${least}, ${largest}] and scaled to ${features.scale === "unit" ? "[0, 1]" : "[-1, 1]"}, as are an exported file's outputs`;
}
