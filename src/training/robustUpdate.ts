/**
 * What robustness makes of a site's update before it is encoded, and the public bound that it is held to:
 * momentum of the site's own, equal weights (a claimed number of records would be a lever), and with
 * `norm_bound` an L2 bound that follows the median of what the last round's updates were, by certificate.
 */
import { AlthingError } from "../../crypto/error.ts";
import { selectionLeavesOut } from "../robustness/spectralSelection.ts";
import { medianOf } from "../robustness/vectors.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { Participation, TrainingPlan } from "./plan.ts";

/** Encodings leave room for so many sites, so that no length that the screening has to tell apart wraps. */
export const SCREENED_ROOM = 64;

/** A round's bound is the last median times this, so that it grows again where most updates were clipped. */
const ROOM_ABOVE_MEDIAN = 1.25;
/** From round to round the bound changes by this factor at most. */
const LARGEST_CHANGE = 1.5;
/** It does not sink below this part of aggregation.updateNormBound: the grid is made for the latter. */
const LEAST_PART = 2 ** -10;

type Choice = Pick<ResolvedJobSpec, "robustness" | "aggregation" | "privacy">;

/** Whether every site's vector is screened under secure aggregation. */
export function isScreened({ robustness }: Pick<ResolvedJobSpec, "robustness">): boolean {
	return robustness?.mode === "norm_bound" || robustness?.mode === "strict";
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
	return spec.robustness?.mode === "norm_bound" ? { normBound: spec.aggregation.updateNormBound } : {};
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
	const median = medianOf(norms.map((norm) => norm / plan.encoding.scale));
	const largest = spec.aggregation.updateNormBound;
	const least = Math.max(normBound / LARGEST_CHANGE, largest * LEAST_PART);
	return {
		normBound: Math.min(Math.max(median * ROOM_ABOVE_MEDIAN, least), normBound * LARGEST_CHANGE, largest),
	};
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
} {
	const { robustness } = spec;
	const { update } = plan.layout;
	const bound = state.normBound ?? spec.aggregation.updateNormBound;
	// Rounding moves each coordinate by half a unit at most; the margin covers floating point.
	return {
		coordinates: update,
		...(robustness?.mode === "strict" ? { selection: { attackers: robustness.attackers } } : {}),
		normBound: (bound * plan.encoding.scale + Math.sqrt(update) / 2) * (1 + 2 ** -20),
	};
}

export interface RobustUpdate {
	readonly update: Float64Array;
	readonly weight: number;
	/** For the next round, if this vector comes into the sum. */
	readonly momentum?: Float32Array;
}

/**
 * A site's update as robustness has it sent.
 * @param sent the update times the weight that the job would give it
 * @param momentum of the last round whose sum this site is in
 */
export function robustUpdate(
	spec: Choice,
	state: CommonState,
	sent: { readonly update: Float64Array; readonly weight: number },
	momentum: Float32Array | undefined,
): RobustUpdate {
	const { robustness, aggregation, privacy } = spec;
	if (robustness === undefined) return sent;
	const weighted = privacy.mechanism === "none";
	const { updateNormBound } = aggregation;
	const whole = weighted && sent.weight > 0 ? updateNormBound / sent.weight : 1;
	const decay = robustness.clientMomentum;
	const kept =
		decay > 0
			? Float32Array.from(
					sent.update,
					(value, i) => decay * (momentum?.[i] ?? 0) + (1 - decay) * value * whole,
				)
			: undefined;
	const direction = Float64Array.from(kept ?? sent.update.map((value) => value * whole));
	let squares = 0;
	for (const value of direction) squares += value * value;
	const bound = Math.min(state.normBound ?? updateNormBound, updateNormBound);
	const factor = squares > 0 ? Math.min(1, bound / Math.sqrt(squares)) : 1;
	return {
		update: direction.map((value) => value * factor),
		weight: weighted ? updateNormBound : 0,
		...(kept === undefined ? {} : { momentum: kept }),
	};
}
