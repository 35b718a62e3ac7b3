/**
 * Jobs whose rule needs every site's vector (robustness.mode clear): what a site shows of its update, and
 * the public step from the shown vectors of the certified survivors to their robust mean.
 */
import { allFinite } from "../learning/finite.ts";
import { float32FromBytes, float32ToBytes } from "../learning/littleEndian.ts";
import { coordinateMedian } from "../robustness/coordinates.ts";
import { requireChoiceFits, robustAggregate } from "../robustness/robustAggregate.ts";
import type { ClearChoice } from "../robustness/robustnessChoice.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { Participation, TrainingPlan } from "./plan.ts";
import { rootDataOf } from "./rootData.ts";

const BYTES_PER_VALUE = 4;

export function clearChoiceOf({ robustness }: Pick<ResolvedJobSpec, "robustness">): ClearChoice | undefined {
	return robustness?.mode === "clear" ? robustness : undefined;
}

/**
 * Numbers that each site shows: its update, and with a trust score the update that the root data give.
 * @throws AlthingError `robustness.too_many_attackers` for a rule that does not stand so many among the
 *   fewest survivors, `job.invalid`, `data.*` for root data that do not fit the job's
 */
export function publicValuesOf(
	spec: ResolvedJobSpec,
	updateLength: number,
	who: Participation,
): number | undefined {
	const choice = clearChoiceOf(spec);
	if (choice === undefined) return undefined;
	requireChoiceFits(choice, who.minimumSurvivors);
	if (choice.rule !== "trust_score") return updateLength;
	rootDataOf(choice, spec.data.description);
	return 2 * updateLength;
}

export function encodePublicPart(values: Float64Array): Uint8Array {
	return float32ToBytes(Float32Array.from(values));
}

export function publicBytesOf({ publicValues }: Pick<TrainingPlan, "publicValues">): number | undefined {
	return publicValues === undefined ? undefined : BYTES_PER_VALUE * publicValues;
}

export interface RobustMean {
	readonly mean: Float64Array;
	/** For the next common state. */
	readonly kept: Pick<CommonState, "lastAggregate">;
	/** Places of the survivors whose vectors count for nothing. */
	readonly leftOut: readonly number[];
}

/**
 * The rule applied to the survivors' vectors; one with a number that is not finite counts as zeros.
 * @param parts in the survivors' order
 * @param seed the round's beacon
 */
export function robustMean(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	state: CommonState,
	parts: readonly Uint8Array[],
	seed: Uint8Array,
): RobustMean {
	const choice = clearChoiceOf(spec)!;
	const { length } = plan.whole;
	const shown = parts.map((part) => {
		const values = Float64Array.from(float32FromBytes(part));
		return allFinite(values) ? values : new Float64Array(values.length);
	});
	const vectors = shown.map((values) => values.subarray(0, length));
	const reference = state.lastAggregate ?? new Float64Array(length);
	// Every site works out the root update for itself, and processors differ in last bits: the median of
	// what they say is between what honest ones say.
	const root =
		choice.rule === "trust_score"
			? coordinateMedian(
					shown.map((values) => values.subarray(length)),
					choice.attackers,
				)
			: undefined;
	const { aggregate, excluded } = robustAggregate(choice, { vectors, seed, reference, root });
	return {
		mean: aggregate,
		kept: choice.rule === "centered_clipping" ? { lastAggregate: aggregate } : {},
		leftOut: excluded,
	};
}
