/**
 * Tuning of a training job's settings on one organization's own records, in private: each trial is
 * the whole job run here alone, scored by a noised count on the held-out records.
 *
 * The trial's model tells about training records what the job's rounds tell, the score about held-out
 * records what one Gaussian tells; each part of the data is charged `repeatAndSelect` of its own.
 */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { createTrainer, type Trainer, type TrainerOptions } from "../learning/trainer.ts";
import { epsilonBounds } from "../privacy/accounting/accountant.ts";
import { gaussian, type PrivacyEvent } from "../privacy/accounting/events.ts";
import { repeatedSlackDelta } from "../privacy/accounting/rdp/repeatAndSelect.ts";
import { latticeSlack, sigmaFor } from "../privacy/integerNoise.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import { accountedDelta, LARGEST_SAMPLER_DISTANCE, slackEpsilon } from "../privacy/slack.ts";
import type { TrialLaw } from "../privacy/tuning/trialCount.ts";
import { type Trial, tunePrivately } from "../privacy/tuning/tuning.ts";
import { type RoundCharge, totalCharges, trainingCharges } from "./charges.ts";
import { initialState } from "./commonState.ts";
import { Contributor } from "./contribution.ts";
import { checkJobSpec, type JobSpec, type ResolvedJobSpec, resolveJobSpec } from "./jobSpec.ts";
import { noiseLevelOf, type Participation, planTraining, type TrainingPlan } from "./plan.ts";
import { fitsPublicBatch } from "./recordReach.ts";
import { applyRelease } from "./release.ts";
import type { SiteData } from "./siteData.ts";

/** Settings that may differ between candidates: none of them changes what a trial costs. */
const tuningCandidateSchema = z
	.strictObject({
		serverLearningRate: z.number().positive().optional(),
		momentum: z.number().min(0).lt(1).optional(),
		optimizer: z.enum(["sgd", "adam"]).optional(),
		clippingNorm: z.number().positive().optional(),
		clipping: z.enum(["flat", "per_layer", "automatic"]).optional(),
	})
	.describe("settings of the job that this candidate changes");

export const tuningSchema = z.strictObject({
	candidates: z.array(tuningCandidateSchema).min(1).max(1000),
	epsilon: z.number().min(0.01).max(100).describe("of the whole tuning, for each record"),
	delta: z.number().positive().max(1e-2),
	meanTrials: z
		.number()
		.gt(1)
		.max(1000)
		.default(10)
		.describe("trials on average; how many there are is secret"),
	shape: z
		.union([z.number().gt(-1).lte(1), z.literal("poisson")])
		.default(1)
		.describe("law of the number of trials: 1 geometric, 0 logarithmic, or poisson"),
});

type TuningCandidate = z.infer<typeof tuningCandidateSchema>;
export type Tuning = z.infer<typeof tuningSchema>;

/** One organization by itself: its noise is all there is. */
const ALONE: Participation = { participants: 1, corruption: 0, minimumSurvivors: 1 };
/** Grid of the score's sum, per held-out record. */
const SCORE_UNITS = 1024;
const WIDTH = 1e-3;

export interface TuningPlan {
	/** One job a candidate, with the epsilon of one trial. */
	readonly jobs: readonly ResolvedJobSpec[];
	readonly law: TrialLaw;
	readonly scoreSigma: number;
	/** What the site charges before the first trial. */
	readonly charges: readonly RoundCharge[];
}

/**
 * Sizes the noise of a trial so that the tuning as a whole stays within its epsilon and delta.
 * @param trainingRows of the site
 * @throws AlthingError `tuning.unsupported` for a job whose rounds are not plain sampled sums,
 *   `tuning.unreachable_target` when no trial is that private, `job.batch_too_small`, and what {@link planTraining} throws
 */
export function planTuning(spec: JobSpec, tuning: Tuning, trainingRows: number): TuningPlan {
	requireSampledSums(spec);
	if (!fitsPublicBatch(spec, trainingRows)) {
		throw new AlthingError(
			"job.batch_too_small",
			"training.expectedBatch is smaller than what this site alone samples: for tuning here, give about samplingRate x this site's records",
		);
	}
	const { epsilon, meanTrials, shape } = tuning;
	const law = { meanTrials, shape };
	const delta = accountedDelta(tuning.delta);
	const costs = (event: PrivacyEvent): number =>
		epsilonBounds({ kind: "repeatAndSelect", event, ...law }, delta).upper;
	// The candidates differ in nothing that is charged: one stands for all.
	const eventAt = (trialEpsilon: number): PrivacyEvent => {
		const job = variantOf(spec, {}, { epsilon: trialEpsilon, delta: tuning.delta });
		return trainingPart(job, planTraining(job, ALONE));
	};
	const trialEpsilon = largest((value) => costs(eventAt(value)) <= epsilon, 0.01, Math.min(100, epsilon));
	const scoreMultiplier = 1 / largest((value) => costs(gaussian(1 / value)) <= epsilon, 1e-6, 20);
	const jobs = tuning.candidates.map((candidate) =>
		variantOf(spec, candidate, { epsilon: trialEpsilon, delta: tuning.delta }),
	);
	const [first] = jobs as [ResolvedJobSpec];
	const plan = planTraining(first, ALONE);
	const scoreSigma = sigmaFor({ noiseMultiplier: scoreMultiplier, sensitivity: SCORE_UNITS + 1 });
	let slack = 0;
	for (let round = 0; round < first.training.rounds; round++)
		slack += trainingCharges(first, plan, ALONE, {
			round,
			level: noiseLevelOf(plan, round, first.training.rounds, {}),
			// For every sampler of every candidate, whatever its sigma; runTuning holds them to it.
			samplerDistance: LARGEST_SAMPLER_DISTANCE,
			newCycles: 0,
		})[0]!.extraDelta;
	const scoreSlack =
		(1 + Math.exp(slackEpsilon(epsilon))) * (latticeSlack({ length: 1 }) + LARGEST_SAMPLER_DISTANCE);
	const charge = (partition: RoundCharge["partition"], event: PrivacyEvent, each: number): RoundCharge => ({
		partition,
		event: { kind: "repeatAndSelect", event, ...law },
		extraDelta: repeatedSlackDelta(meanTrials, each),
	});
	return {
		jobs,
		law,
		scoreSigma,
		charges: [
			charge("train", trainingPart(first, plan), slack),
			charge("heldOut", gaussian(scoreMultiplier), scoreSlack),
		],
	};
}

export interface Tuned {
	/** Index of the chosen candidate; undefined where the law drew no trial. */
	readonly candidate: number | undefined;
	/**
	 * The chosen trial's noised score: records answered correctly, or minus the sum of losses over 8
	 * for a regression. The best of several, so too good by about its noise.
	 */
	readonly score: number | undefined;
}

/** Charged before this is called. How long it takes tells how many trials there were: keep that to the site. */
export async function runTuning(
	plan: TuningPlan,
	data: SiteData,
	options: Omit<TrainerOptions, "model">,
): Promise<Tuned> {
	const { jobs, law, scoreSigma } = plan;
	const model = planTraining(jobs[0]!, ALONE).model;
	const trainer = await createTrainer({ ...options, model });
	const noise = tableGaussian(scoreSigma);
	requireExact(noise.totalVariationDistance);
	try {
		const candidates = jobs.map((_, index) => index) as [number, ...number[]];
		const trial = (index: number) => trialOf(jobs[index]!, data, trainer, noise);
		const best = await tunePrivately({ candidates, law, trial });
		return { candidate: best?.candidate, score: best?.score };
	} finally {
		await trainer.dispose();
	}
}

async function trialOf(
	spec: ResolvedJobSpec,
	data: SiteData,
	trainer: Trainer,
	noise: GaussianSampler,
): Promise<Trial<undefined>> {
	const plan = planTraining(spec, ALONE);
	// Without held-out records: the rounds' own evaluations then tell nothing about them.
	const { heldOut } = data;
	const none = { ...heldOut, rows: 0, features: new Float32Array(0), labels: new Float32Array(0) };
	const contributor = new Contributor({ spec, plan, data: { train: data.train, heldOut: none }, trainer });
	requireExact(contributor.samplerDistance);
	let state = initialState(spec, plan, "tuning", randomBytes(32));
	try {
		for (let round = 0; round < spec.training.rounds; round++) {
			const { vector: sum } = await contributor.contribute(round, state);
			({ state } = applyRelease({ spec, plan, round, state, sum, survivors: 1 }));
		}
	} catch (error) {
		// Released values alone made it diverge: a trial like any other, and the worst one.
		if (error instanceof AlthingError && error.code === "learning.not_finite")
			return { score: Number.NEGATIVE_INFINITY, output: undefined };
		throw error;
	}
	const { lossSum, correct } = await trainer.evaluate(state.parameters, heldOut, plan.lossBound);
	const value = plan.model.task === "regression" ? -lossSum / plan.lossBound : correct;
	// One record moves the rounded sum by at most SCORE_UNITS + 1.
	const noised = Int32Array.of(0);
	noise.fill(noised);
	return { score: (Math.round(value * SCORE_UNITS) + noised[0]!) / SCORE_UNITS, output: undefined };
}

function requireExact(samplerDistance: number): void {
	if (samplerDistance <= LARGEST_SAMPLER_DISTANCE) return;
	throw new AlthingError("privacy.misuse", "a sampler is further from its law than tuning was charged for");
}

function trainingPart(job: ResolvedJobSpec, plan: TrainingPlan): PrivacyEvent {
	return totalCharges(job, plan).find(({ partition }) => partition === "train")!.event;
}

/** The job with a candidate's settings, and with the privacy of one trial. @throws AlthingError `job.invalid` */
function variantOf(
	spec: JobSpec,
	candidate: TuningCandidate,
	privacy: { readonly epsilon: number; readonly delta: number },
): ResolvedJobSpec {
	const { clippingNorm, clipping, ...training } = candidate;
	const given = Object.fromEntries(
		Object.entries({ clippingNorm, clipping }).filter(([, value]) => value !== undefined),
	);
	return resolveJobSpec(
		checkJobSpec({
			...spec,
			training: { ...spec.training, ...training },
			// A trial's score is the common model's alone.
			personalization: undefined,
			privacy: { ...spec.privacy, ...given, ...privacy },
		}),
	);
}

function requireSampledSums({ privacy }: JobSpec): void {
	const fits =
		privacy.mechanism === "distributed_gaussian" &&
		privacy.unit === "record" &&
		privacy.correlation === "none" &&
		privacy.noiseSchedule !== "adaptive" &&
		privacy.clipping !== "adaptive";
	if (fits) return;
	throw new AlthingError(
		"tuning.unsupported",
		"Tuning runs jobs of privacy.mechanism distributed_gaussian with unit record, without correlated noise, adaptive noise or adaptive clipping: write the job that way and tune what is left open.",
	);
}

/** The largest value, to a thousandth, that is still good; goodness falls with the value. */
function largest(good: (value: number) => boolean, least: number, most: number): number {
	if (good(most)) return most;
	if (!good(least)) {
		throw new AlthingError(
			"tuning.unreachable_target",
			"Not even trials with the most noise that is offered stay within this epsilon and delta: allow more of it, or fewer trials.",
		);
	}
	let [low, high] = [least, most];
	while (high > low * (1 + WIDTH)) {
		const middle = Math.sqrt(low * high);
		if (good(middle)) low = middle;
		else high = middle;
	}
	return low;
}
