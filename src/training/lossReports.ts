/**
 * Losses that sites report in public, for selections that go by them. A report is one byte, and everybody sees
 * whose it is, so all of its noise is added at the site: two integers, the held-out records' summed loss and
 * their number, in exact discrete Gaussian noise, and nothing but their quotient leaves.
 *
 * Reports and evaluations tell about the same held-out records. Gaussians compose by 1 / z^2, so with either
 * at sqrt(2) of the multiplier that it would have alone, both together stay within the job's epsilon.
 */
import type { Dataset } from "../data/dataset.ts";
import type { Trainer } from "../learning/trainer.ts";
import { calibrateNoiseMultiplier } from "../privacy/accounting/calibration.ts";
import { sigmaFor } from "../privacy/integerNoise.ts";
import { tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import { accountedDelta } from "../privacy/slack.ts";
import { NO_IDEA } from "../selection/history.ts";
import { reportsLosses } from "../selection/selectionChoice.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";

export interface ReportPlan {
	/** z of what one report tells about a held-out record. */
	readonly noiseMultiplier: number;
	/** Standard deviation of the noise on either integer. */
	readonly sigma: number;
}

/** What evaluations and reports have more of than they would need alone. */
export const SHARED_EVALUATION = Math.SQRT2;

/** Integer value of one record in the count, and of the loss bound in the sum. */
const UNIT = 256;
/** L2 reach of a record: rounding moves the sum by one more at most. */
const SENSITIVITY = Math.sqrt((UNIT + 1) ** 2 + UNIT ** 2);
/** Integers that are noised. */
export const REPORTED_INTEGERS = 2;
/** Bytes of a report. */
export const REPORT_BYTES = 1;
const LARGEST = NO_IDEA - 1;

/** A site reports at most once a round. Undefined where nobody reports. */
export function planReports({ selection, privacy, training }: ResolvedJobSpec): ReportPlan | undefined {
	if (!reportsLosses(selection) || privacy.mechanism === "none") return undefined;
	const alone = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta: accountedDelta(privacy.delta),
		samplingProbability: 1,
		steps: training.rounds,
	});
	const noiseMultiplier = alone * SHARED_EVALUATION;
	return { noiseMultiplier, sigma: sigmaFor({ noiseMultiplier, sensitivity: SENSITIVITY }) };
}

/** What a site reports of the model that a round starts from. */
export async function reportLoss(
	trainer: Trainer,
	parameters: Float32Array,
	heldOut: Dataset,
	{ sigma }: ReportPlan,
	lossBound: number,
): Promise<{ readonly report: Uint8Array; readonly samplerDistance: number }> {
	const { lossSum, examples } = await trainer.evaluate(parameters, heldOut, lossBound);
	const sampler = tableGaussian(sigma);
	const noise = new Int32Array(REPORTED_INTEGERS);
	sampler.fill(noise);
	const report = reportOf(Math.round((lossSum / lossBound) * UNIT) + noise[0]!, examples * UNIT + noise[1]!);
	return { report: Uint8Array.of(report), samplerDistance: sampler.totalVariationDistance };
}

/** The byte that a noised sum and count come to. */
export function reportOf(sum: number, count: number): number {
	if (count < UNIT) return NO_IDEA;
	return Math.min(LARGEST, Math.max(0, Math.round((LARGEST * sum) / count)));
}
