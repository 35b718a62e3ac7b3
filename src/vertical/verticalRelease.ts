/** From a verified sum to the next common state of a vertical job: public arithmetic, alike everywhere. */
import { AlthingError } from "../../crypto/error.ts";
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import { areAligned } from "./alignment.ts";
import { recordsOf, stepOf } from "./schedule.ts";
import { LOSS_BOUND, SCORE, type VerticalPlan } from "./verticalPlan.ts";
import type { VerticalJob } from "./verticalSpec.ts";
import type { VerticalState } from "./verticalState.ts";

export interface VerticalRelease {
	readonly state: VerticalState;
	readonly metrics: { readonly loss?: number; readonly accuracy?: number };
}

/**
 * @param sum over `survivors` organizations, mod 2^32
 * @throws AlthingError `vertical.misaligned` when the organizations do not have the same records
 */
export function applyVerticalRelease(input: {
	readonly spec: VerticalJob;
	readonly plan: VerticalPlan;
	readonly round: number;
	readonly state: VerticalState;
	readonly sum: Uint32Array;
	readonly survivors: number;
}): VerticalRelease {
	const { spec, plan, round, state, sum, survivors } = input;
	const step = stepOf(plan.schedule, round);
	if (step.kind === "align") {
		if (areAligned(sum, survivors)) return { state, metrics: {} };
		throw new AlthingError(
			"vertical.misaligned",
			"The organizations do not have the same records: their sets of keys differ. Agree on the records, register the data again, and submit the job anew.",
		);
	}
	const values = decode(fromRing(sum, plan.encoding.modulusBits), plan.encoding);
	const { seed } = state;
	const kept = state.errors === undefined ? {} : { errors: state.errors };
	switch (step.kind) {
		case "forward": {
			const count = recordsOf(plan.schedule, seed, step).length * plan.cut;
			const sums = scaled(values.subarray(0, count), spec.privacy.activationNorm);
			const before = step.part === "heldOut" && step.chunk > 0 ? state.activations : [];
			return { state: { seed, activations: [...before, sums], ...kept }, metrics: {} };
		}
		case "backward": {
			const records = recordsOf(plan.schedule, seed, { ...step, kind: "forward", part: "train" });
			const errors = scaled(values.subarray(0, records.length * plan.cut), spec.privacy.errorNorm);
			return { state: { seed, activations: [], errors: { step: step.step, values: errors } }, metrics: {} };
		}
		case "score":
			return { state: { seed, activations: [], ...kept }, metrics: scoreIn(values, plan) };
	}
}

function scoreIn(values: Float64Array, plan: VerticalPlan): VerticalRelease["metrics"] {
	const [loss = 0, correct = 0, count = 0] = values.subarray(plan.score, plan.score + SCORE);
	// Noise can hide what few held-out records say, or the label holder was away.
	if (count < plan.scoreUnit) return {};
	return {
		loss: Math.max(0, (loss / count) * LOSS_BOUND),
		accuracy: Math.min(1, Math.max(0, correct / count)),
	};
}

function scaled(values: Float64Array, factor: number): Float64Array {
	return values.map((value) => value * factor);
}
