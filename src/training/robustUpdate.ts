/**
 * What robustness makes of a site's update before it is encoded, and the public bound that it is held to:
 * momentum of the site's own, equal weights (a claimed number of records would be a lever), and with
 * `norm_bound` and `reputation` an L2 bound that follows what the last round's updates were (runningBound.ts), by certificate.
 */
import { AlthingError } from "../../crypto/error.ts";
import { SCREENED_MODES } from "../robustness/robustnessChoice.ts";
import { nextNormBound } from "../robustness/runningBound.ts";
import { selectionLeavesOut } from "../robustness/spectralSelection.ts";
import { boundedWeightOf, weightedWithin } from "./boundedWeight.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { Participation, TrainingPlan } from "./plan.ts";
import { reputationRules } from "./reputationUpdate.ts";

/** Encodings leave room for so many sites, so that no length that the screening has to tell apart wraps. */
export const SCREENED_ROOM = 64;

type Choice = Pick<ResolvedJobSpec, "robustness" | "aggregation" | "privacy">;

/** Whether every site's vector is screened under secure aggregation. */
export function isScreened({ robustness }: Pick<ResolvedJobSpec, "robustness">): boolean {
	return robustness !== undefined && SCREENED_MODES.includes(robustness.mode);
}

/** Whether no site counts for more than another: a claimed number of records would be a lever. */
export function weighsAlike({ robustness }: Pick<ResolvedJobSpec, "robustness">): boolean {
	return robustness !== undefined && robustness.mode !== "none";
}

/** A site's momentum of its own updates; 0 where the job keeps none. */
export function clientMomentumOf({ robustness }: Pick<ResolvedJobSpec, "robustness">): number {
	return robustness === undefined || robustness.mode === "none" ? 0 : robustness.clientMomentum;
}

/** L2 norm that a site's vector has at most in the round that starts from a state, before it is encoded. */
export function siteNormBound(
	{ aggregation }: Pick<Choice, "aggregation">,
	{ normBound = aggregation.updateNormBound }: Pick<CommonState, "normBound">,
): number {
	return Math.min(normBound, aggregation.updateNormBound);
}

/** Everybody judges everybody's statements, and the coordinator keeps every input until then. */
const MOST_SCREENED = 128;

/**
 * Refuses a job whose inputs would be screened among more participants than they can be, or whose buffer the
 * corrupt could keep from ever having a sum: who is ready is asked again, and no certificate says whom to leave out.
 * @throws AlthingError `job.invalid`
 */
export function requireScreenable(
	spec: Pick<ResolvedJobSpec, "robustness" | "training">,
	{ participants, corruption, minimumSurvivors }: Participation,
): void {
	if (!isScreened(spec)) return;
	if (spec.training.schedule === "buffered" && participants - corruption < minimumSurvivors) {
		const least = minimumSurvivors + corruption;
		throw new AlthingError(
			"job.invalid",
			`training.bufferSize ${participants} leaves fewer than the ${minimumSurvivors} contributions that a sum is opened for when ${corruption} of them are too long: raise it to ${least}, lower aggregation.minimumSurvivors, or say robustness.mode none`,
			{ participants, corruption, minimumSurvivors },
		);
	}
	if (participants <= MOST_SCREENED) return;
	throw new AlthingError(
		"job.invalid",
		`robustness.mode ${spec.robustness?.mode}, the default, is for ${MOST_SCREENED} contributors to a round at most, not ${participants}: ask fewer of them with selection.size, or say robustness.mode none, whose mean one participant can ruin`,
		{ participants },
	);
}

/** A selection is made among so many; distances between fewer tell too much, and more do not fit into a message. */
const LEAST_SELECTED_FROM = 10;
const MOST_SELECTED_FROM = 101;

/**
 * Refuses a job whose participants are too few, or too many, for its selection.
 * @throws AlthingError `job.invalid`
 */
export function requireSelectable(
	{ robustness }: Pick<ResolvedJobSpec, "robustness">,
	who: Participation,
): void {
	if (robustness?.mode !== "strict") return;
	const { attackers } = robustness;
	const { participants, minimumSurvivors, corruption } = who;
	const refuse = (why: string): never => {
		throw new AlthingError("job.invalid", `robustness.mode strict against ${attackers} attackers ${why}`, {
			...who,
		});
	};
	// Sketches are shared so that `attackers` learn nothing of them and can name nobody falsely.
	if (attackers < corruption)
		refuse(
			`shares sketches that the ${corruption} participants who may be corrupt, by the federation's charter, could read together; set robustness.attackers to ${corruption} or more`,
		);
	const least = Math.max(LEAST_SELECTED_FROM, 4 * attackers + 1);
	if (participants < least)
		refuse(`needs ${least} participants, not ${participants}; use norm_bound, or fewer robustness.attackers`);
	if (participants > MOST_SELECTED_FROM)
		refuse(`is for ${MOST_SELECTED_FROM} participants at most, not ${participants}; use norm_bound`);
	const selected = participants - selectionLeavesOut(attackers);
	if (selected < minimumSurvivors)
		refuse(
			`selects ${selected} of ${participants} participants, fewer than the ${minimumSurvivors} that a sum is opened for; aggregation.minimumSurvivors, or the charter's minimumSurvivorFraction, has to be lower`,
		);
}

/** Bound of the first round, for the common state; nothing where there is no bound that moves. */
export function initialNormBound(spec: Choice): Pick<CommonState, "normBound"> {
	return isScreened(spec) && spec.robustness?.mode !== "strict"
		? { normBound: spec.aggregation.updateNormBound }
		: {};
}

/**
 * The bound of the next round.
 * @param norms estimated norms of the survivors' vectors, in integer units, as certified
 */
export function normBoundAfter(
	spec: Choice,
	plan: TrainingPlan,
	state: CommonState,
	norms: readonly number[] | undefined,
): Pick<CommonState, "normBound"> {
	const { normBound } = state;
	if (normBound === undefined || norms === undefined || norms.length === 0)
		return { ...(normBound === undefined ? {} : { normBound }) };
	const lengths = norms.map((norm) => norm / plan.encoding.scale);
	return { normBound: nextNormBound(lengths, normBound, spec.aggregation.updateNormBound) };
}

/** What the inputs of a round are screened by: the norm of an honest vector at most, in integer units. */
export function screeningRules(
	spec: Choice,
	plan: TrainingPlan,
	state: CommonState,
): {
	readonly coordinates: number;
	readonly normBound: number;
	readonly selection?: { readonly attackers: number };
	readonly reputation?: ReturnType<typeof reputationRules>;
} {
	const { robustness } = spec;
	const { update } = plan.layout;
	const bound = siteNormBound(spec, state);
	// Rounding moves each coordinate by half a unit at most, at random by one; the margin covers floating point.
	const rounding = Math.sqrt(update) / (plan.compression === undefined ? 2 : 1);
	return {
		coordinates: update,
		...(robustness?.mode === "reputation" ? { reputation: reputationRules(robustness, state) } : {}),
		...(robustness?.mode === "strict" ? { selection: { attackers: robustness.attackers } } : {}),
		normBound: (bound * plan.encoding.scale + rounding) * (1 + 2 ** -20),
	};
}

/**
 * m <- decay m + (1 - decay) u, and behind it the sum of the weights in it, 1 - decay^t after t rounds: divided by
 * that it is an average from the first round on, as Adam corrects its moments (Kingma and Ba 2015).
 */
function averaged(update: Float64Array, momentum: Float32Array | undefined, decay: number): Float32Array {
	const next = new Float32Array(update.length + 1);
	for (let i = 0; i < update.length; i++) next[i] = decay * (momentum?.[i] ?? 0) + (1 - decay) * update[i]!;
	next[update.length] = decay * (momentum?.[update.length] ?? 0) + (1 - decay);
	return next;
}

function corrected(momentum: Float32Array): Float64Array {
	const weights = momentum.at(-1)!;
	return Float64Array.from(momentum.subarray(0, -1), (value) => value / weights);
}

export interface RobustUpdate {
	/** With a bounded weight behind it, where the job has one. */
	readonly update: Float64Array;
	readonly weight: number;
	/** For the next round, if this vector comes into the sum; behind it the sum of its weights. */
	readonly momentum?: Float32Array;
}

/**
 * A site's update as robustness has it sent.
 * @param sent the update as it was bounded, and the weight that the job would give it
 * @param momentum of the last round whose sum this site is in
 */
export function robustUpdate(
	spec: Choice,
	state: CommonState,
	sent: { readonly update: Float64Array; readonly weight: number },
	momentum: Float32Array | undefined,
): RobustUpdate {
	if (!weighsAlike(spec)) return sent;
	const weight = spec.privacy.mechanism === "none" ? spec.aggregation.updateNormBound : 0;
	const decay = clientMomentumOf(spec);
	const bound = siteNormBound(spec, state);
	if (boundedWeightOf(spec) !== undefined) {
		const kept = decay === 0 ? undefined : averaged(sent.update, momentum, decay);
		const share = sent.weight / spec.aggregation.updateNormBound;
		const update = weightedWithin(kept === undefined ? sent.update : corrected(kept), share, bound);
		return { update, weight: sent.weight, ...(kept === undefined ? {} : { momentum: kept }) };
	}
	if (decay === 0) return { update: sent.update, weight };
	const kept = averaged(sent.update, momentum, decay);
	const average = corrected(kept);
	let squares = 0;
	for (const value of average) squares += value * value;
	const factor = squares > 0 ? Math.min(1, bound / Math.sqrt(squares)) : 1;
	return { update: average.map((value) => value * factor), weight, momentum: kept };
}
