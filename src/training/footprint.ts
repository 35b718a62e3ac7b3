/** What a job takes of a site's memory, worked out before it is accepted. */
import type { JobWork } from "../jobs/jobPlan.ts";
import { chunkSizes } from "../learning/engine/chunkSizes.ts";
import { exampleValues } from "../learning/gradientCost.ts";
import { participationReach } from "../privacy/correlatedNoise/strategy.ts";
import type { CompressionPlan } from "./compressionPlan.ts";
import { keepsSiteState } from "./personalizationChoice.ts";
import { commonParameterCount } from "./plan.ts";
import { isScreened } from "./robustUpdate.ts";

/** Records of one site and who takes part in a sum. */
export interface FootprintFacts {
	/** Features of a record here. */
	readonly columns: number;
	/** Training and held-out records of this site. */
	readonly rows: number;
	readonly participants: number;
}

const FLOAT32 = 4;
const FLOAT64 = 8;
/** The state that a round starts from, the one being computed, and each once more as bytes on its way. */
const STATES = 4;
/** What the site keeps for itself: before and after a round, and each once more as bytes. */
const OWN_STATES = 4;
/** Most vectors of the model's size that an optimizer keeps. */
const MOMENTS = 2;
/** Values before and after encoding, the mask that is added, the sum that is opened. */
const VECTOR_BYTES = FLOAT64 + 3 * FLOAT32;
/** Masked inputs that wait to be added up, at most, and the running sum. */
const INPUTS_AT_ONCE = 17;
/** Each once more on its way to a worker. */
const INPUT_COPIES = 2;

/**
 * An estimate from above of the bytes a job holds at one site while it computes, the largest of its
 * sums as coordinator included: inputs are added up as they arrive, but where some may yet be left out
 * all of them are kept. Not counted: the program itself, and messages on the network's own account
 * (`network.limits`).
 */
export function footprintBytes(work: JobWork, { rows, columns, participants }: FootprintFacts): number {
	const { length, encoding } = work.plan;
	const packedBytes = Math.ceil((length * encoding.modulusBits) / 8);
	const inputs = keepsInputs(work) ? participants : Math.min(participants, INPUTS_AT_ONCE);
	const shown = work.kind === "training" ? participants * FLOAT64 * (work.plan.publicValues ?? 0) : 0;
	const sums = length * VECTOR_BYTES + INPUT_COPIES * packedBytes * inputs + shown;
	if (work.kind === "query") return sums;
	if (work.kind === "vertical") return rows * columns * FLOAT32 + sums;
	const { model, parameterCount, correlation, compression } = work.plan;
	const own = keepsSiteState(work.spec) ? OWN_STATES * parameterCount * FLOAT64 : 0;
	const past = correlation === undefined ? 0 : 2 * participationReach(correlation).releases;
	return (
		rows * (model.inputs + 1) * FLOAT32 +
		STATES * commonParameterCount(work.plan) * (1 + MOMENTS) * FLOAT32 +
		own +
		sums +
		past * length * FLOAT64 +
		(compression === undefined ? 0 : compressionBytes(compression)) +
		chunkSizes(model).at(-1)! * exampleValues(model) * FLOAT32
	);
}

/** Inputs are screened, or wait for their senders' public parts. */
function keepsInputs(work: JobWork): boolean {
	if (work.kind !== "training") return false;
	const { publicValues, report } = work.plan;
	return isScreened(work.spec) || publicValues !== undefined || report !== undefined;
}

/** The update before it is reduced and after it is restored, what is not sent (three times on its way), the cells of a sketch. */
function compressionBytes({ parameters, errorFeedback, sketch }: CompressionPlan): number {
	const kept = errorFeedback ? 3 * FLOAT32 : 0;
	return parameters * (2 * FLOAT64 + kept + (sketch === undefined ? 0 : sketch.rows * FLOAT32));
}
