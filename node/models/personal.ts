/** The organization's own model of a job, read out of what the organization keeps for itself. */
import type { ModelCardFacts } from "../../src/learning/formats/modelCard.ts";
import type { TrainedModel } from "../../src/learning/formats/trainedModel.ts";
import { parameterCount } from "../../src/learning/model.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import { clustersOf, keepsOwnLayers } from "../../src/training/personalizationChoice.ts";
import { personalParameters } from "../../src/training/personalModel.ts";
import { modelOf } from "../../src/training/plan.ts";
import { sharedParametersOf } from "../../src/training/sharedParameters.ts";
import { decodeSiteState, type PersonalEvaluation } from "../../src/training/siteState.ts";

export interface PersonalModel {
	readonly trained: TrainedModel;
	/** On the organization's own held-out records, as of the last evaluation. */
	readonly evaluation: PersonalEvaluation | undefined;
}

/**
 * @param common parameters of all common models, side by side
 * @param own encoded site state
 * @returns undefined for a job without personal models, and before there is one
 * @throws AlthingError `training.bad_site_state`
 */
export function personalModelOf(
	spec: ResolvedJobSpec,
	common: Float32Array,
	own: Uint8Array,
): PersonalModel | undefined {
	const { personalization } = spec;
	const model = modelOf(spec);
	const shared = sharedParametersOf(model, personalization);
	const plan = {
		shared,
		parameterCount: parameterCount(model),
		whole: { clusters: clustersOf(personalization) },
	};
	const state = decodeSiteState(own, { parameterCount: plan.parameterCount, sharedCount: shared.count });
	const parameters = personalParameters(personalization, plan, { parameters: common }, state);
	return parameters && { trained: { model, parameters: parameters.slice() }, evaluation: state.evaluation };
}

/** What a personal model's card says otherwise than the common one's. */
export function personalCardFacts(
	spec: ResolvedJobSpec,
	facts: ModelCardFacts,
	evaluation: PersonalEvaluation | undefined,
): ModelCardFacts {
	const { personalization, privacy } = spec;
	const isCommon = personalization?.method === "clustered";
	return {
		...facts,
		// A cluster's model is a release like any common one; everything else saw the records without noise.
		privacy: isCommon ? facts.privacy : [],
		metrics:
			evaluation === undefined
				? {}
				: {
						"own held-out records": evaluation.records,
						"own held-out loss": evaluation.personal.loss,
						...(evaluation.personal.accuracy > 0
							? { "own held-out accuracy": evaluation.personal.accuracy }
							: {}),
						...(evaluation.common === undefined
							? {}
							: { "own held-out loss of the common model": evaluation.common.loss }),
					},
		limits: [
			`This is one organization's own model (personalization.method ${personalization?.method}). It belongs to the organization that wrote this card, was sent to nobody, and its figures were computed without noise on that organization's records.`,
			...(isCommon || privacy.mechanism === "none"
				? []
				: [
						"The job's epsilon does not cover it: keep it where the records are, or treat passing it on as passing on what was learned from them.",
					]),
			...facts.limits,
		],
	};
}

/** What the common model's card says beside the usual. */
export function commonModelLimits({ personalization }: ResolvedJobSpec): string[] {
	if (personalization?.method === "clustered")
		return [
			`One of ${personalization.clusters} common models, of which every organization uses the one that fits its records; \`--personal\` exports the one chosen here.`,
		];
	return keepsOwnLayers(personalization)
		? [
				"Some layers stayed at the organizations: in this common model they are as they were before training. It is of use only with layers of one's own; `--personal` exports the whole model.",
			]
		: [];
}
