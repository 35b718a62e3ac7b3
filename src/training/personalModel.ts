/**
 * The organization's own model of a job: trained, evaluated and read out at the organization, and
 * seen nowhere else. Nothing here enters a vector that leaves, so nothing here is charged; and what it
 * yields is private towards nobody but by staying where the records are.
 */

import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../data/dataset.ts";
import { trainLocally } from "../learning/localTraining.ts";
import type { CommonState } from "./commonState.ts";
import { keepsOwnLayers, type Personalization } from "./personalizationChoice.ts";
import { type SharedParameters, withOwn } from "./sharedParameters.ts";
import type { PersonalEvaluation, SiteState } from "./siteState.ts";
import { commonModels, type ModelCounts, modelHere, type Site } from "./siteSteps.ts";

/** A personal model's own steps. */
interface PersonalSteps {
	readonly epochs: number;
	readonly learningRate?: number | undefined;
	/** Pull towards the common model; none for fine-tuning. */
	readonly weight?: number;
}

/**
 * What a round does for the personal model beside the site's vector.
 * @param own as the vector's own steps left it
 */
export async function personalRound(
	site: Site,
	heldOut: Dataset,
	{ round, evaluates }: { readonly round: number; readonly evaluates: boolean },
	state: CommonState,
	own: SiteState,
): Promise<SiteState> {
	const { personalization } = site.spec;
	if (personalization === undefined || personalization.method === "fine_tuning") return own;
	const after =
		personalization.method === "ditto"
			? await trained(site, state.parameters, own.parameters ?? state.parameters, personalization, own)
			: own;
	return evaluates ? await evaluated(site, heldOut, round, state, after) : after;
}

/**
 * The personal model after the job's last round, which made the common model that it now goes with.
 * @param rounds that made the common model
 */
export async function finishedPersonal(
	site: Site,
	heldOut: Dataset,
	rounds: number,
	state: CommonState,
	own: SiteState,
): Promise<SiteState> {
	const { personalization } = site.spec;
	if (personalization === undefined) return own;
	const after = await lastSteps(site, personalization, rounds, state, own);
	return { ...(await evaluated(site, heldOut, rounds, state, after)), final: true };
}

async function lastSteps(
	site: Site,
	personalization: NonNullable<Personalization>,
	rounds: number,
	state: CommonState,
	own: SiteState,
): Promise<SiteState> {
	const common = state.parameters;
	switch (personalization.method) {
		case "fine_tuning":
			return await trained(site, common, common, personalization, own);
		case "ditto":
			return await trained(site, common, own.parameters ?? common, personalization, own);
		case "pfedme":
			// The proximal problem once more, around the last shared model and over all records.
			return await trained(
				site,
				common,
				common,
				{ ...personalization, epochs: personalization.innerSteps },
				own,
			);
		case "clustered":
			return { ...own, cluster: (await modelHere(site, rounds, state, own)).cluster };
		case "fedbn":
		case "fedper":
		case "fedrep":
			return own;
	}
}

/** Trains the personal model from `start`; where that diverges the site keeps what it had. */
async function trained(
	{ spec, train, trainer, random }: Site,
	common: Float32Array,
	start: Float32Array,
	{ epochs, learningRate = spec.training.localLearningRate, weight }: PersonalSteps,
	own: SiteState,
): Promise<SiteState> {
	if (train.rows === 0) return { ...own, parameters: start };
	try {
		const plan = {
			epochs,
			learningRate,
			batchSize: spec.training.localBatch,
			...(weight === undefined ? {} : { proximal: { weight, anchor: common } }),
		};
		const { delta } = await trainLocally(trainer, start, train, plan, random);
		return { ...own, parameters: start.map((value, i) => value + delta[i]!) };
	} catch (error) {
		if (error instanceof AlthingError && error.code === "learning.not_finite")
			return { ...own, parameters: own.parameters ?? common };
		throw error;
	}
}

/**
 * The organization's own model: its personal one, the common one with its own layers, or the common one
 * that it chose; undefined before there is one.
 */
export function personalParameters(
	personalization: Personalization,
	plan: ModelCounts & { readonly shared: SharedParameters },
	state: Pick<CommonState, "parameters">,
	own: SiteState,
): Float32Array | undefined {
	if (personalization?.method === "clustered")
		return own.cluster === undefined ? undefined : commonModels(plan, state)[own.cluster];
	if (own.parameters === undefined || !keepsOwnLayers(personalization)) return own.parameters;
	return withOwn(plan.shared, state.parameters, own.parameters);
}

async function evaluated(
	site: Site,
	heldOut: Dataset,
	rounds: number,
	state: CommonState,
	own: SiteState,
): Promise<SiteState> {
	const { spec, plan, trainer } = site;
	const personal = personalParameters(spec.personalization, plan, state, own);
	if (personal === undefined || heldOut.rows === 0) return own;
	const figures = async (parameters: Float32Array) => {
		const { lossSum, correct, examples } = await trainer.evaluate(parameters, heldOut, plan.lossBound);
		return { loss: lossSum / examples, accuracy: correct / examples };
	};
	// Where layers stay at the sites, or there are several common models, no common one does the task by itself.
	const whole = plan.whole.clusters === 1 && plan.shared.count === plan.parameterCount;
	const evaluation: PersonalEvaluation = {
		rounds,
		records: heldOut.rows,
		personal: await figures(personal),
		...(whole ? { common: await figures(state.parameters) } : {}),
	};
	return { ...own, evaluation };
}
