/**
 * Buffered asynchronous rounds (FedBuff: Nguyen et al. 2022): what goes together with them, and the last step of
 * a contribution that was trained before the round that takes it was known.
 *
 * Training ends in the exact integers that the update rounds to, without noise; they stay in this site's memory.
 * When a round takes them, its distance from the version that they were trained from is known: the update is
 * scaled by 1 / sqrt(1 + staleness) and rounded, and only then gets this site's share of the noise.
 */
import { fromRing, toRing } from "../privacy/fixedPoint.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import type { TrainingPlan } from "./plan.ts";
import type { PrivacyChoice } from "./privacyChoice.ts";
import type { TrainingChoice } from "./trainingChoice.ts";

/** What the rules below look at of a job. */
interface JobKeys {
	readonly training: TrainingChoice;
	readonly privacy: PrivacyChoice;
	readonly selection?: unknown;
	readonly compression?: unknown;
	readonly personalization?: unknown;
}

/** The first contradiction around `training.schedule`, with the way out; undefined where there is none. */
export function scheduleContradiction({ training, privacy, ...other }: JobKeys): string | undefined {
	const { schedule, bufferSize, maximumStaleness, evaluateEveryRounds } = training;
	if (schedule !== "buffered") {
		return (bufferSize ?? maximumStaleness) === undefined
			? undefined
			: "training.bufferSize and maximumStaleness belong to training.schedule buffered";
	}
	if (bufferSize === undefined)
		return "training.bufferSize is needed with training.schedule buffered: how many contributions a round takes";
	if (other.selection !== undefined)
		return "selection contradicts training.schedule buffered, which takes whoever is ready first; leave one of them out";
	if (other.compression !== undefined)
		return "compression is not offered with training.schedule buffered: what is left out of an update is kept for the very next round";
	if (other.personalization !== undefined)
		return "personalization is not offered with training.schedule buffered: what a site keeps goes with the round that it trained for";
	if (training.algorithm === "scaffold" || training.algorithm === "fednova")
		return `training.algorithm ${training.algorithm} contradicts training.schedule buffered: its corrections belong to updates of one version; use fedsgd, fedavg or fedprox`;
	if (evaluateEveryRounds !== 1)
		return "training.evaluateEveryRounds must be 1 with training.schedule buffered: an evaluation is made before its round is known";
	if (privacy.mechanism !== "distributed_gaussian") return undefined;
	if (privacy.correlation !== "none")
		return "privacy.correlation contradicts training.schedule buffered: a record's rounds would not be fixed beforehand";
	if (privacy.clipping === "adaptive")
		return "privacy.clipping adaptive contradicts training.schedule buffered: updates of one sum would be in units of different norms";
	if (privacy.noiseSchedule !== "constant")
		return "privacy.noiseSchedule must be constant with training.schedule buffered";
	return undefined;
}

const DEFAULT_STALENESS = 10;

/** The buffer of a job with that many participants; undefined with synchronous rounds. */
export function bufferOf(
	training: TrainingChoice,
	participants: number,
): { readonly capacity: number; readonly maximumStaleness: number } | undefined {
	const { schedule, bufferSize, maximumStaleness = DEFAULT_STALENESS } = training;
	if (schedule !== "buffered" || bufferSize === undefined) return undefined;
	return { capacity: Math.min(bufferSize, participants), maximumStaleness };
}

/** The plan that a contribution is prepared by: the update without its share of the noise yet. */
export function withoutShares(plan: TrainingPlan): TrainingPlan {
	return { ...plan, noise: plan.noise.map((level) => ({ ...level, parameterSigma: 0 })) };
}

/** Public weight of an update whose site missed so many rounds while it trained, in (0, 1]. */
export function stalenessWeight(staleness: number): number {
	return 1 / Math.sqrt(1 + staleness);
}

/** Noise tables of this process, by standard deviation. */
const samplers = new Map<number, GaussianSampler>();

function samplerOf(sigma: number): GaussianSampler {
	const sampler = samplers.get(sigma) ?? tableGaussian(sigma);
	samplers.set(sigma, sampler);
	return sampler;
}

/**
 * A prepared contribution, ready to be masked.
 *
 * The sensitivity is the plan's: multiplying integers by at most 1 and rounding moves no two of them further
 * apart (for integers a, b at distance m the products are at most m apart, and so are their roundings), so
 * neighbouring vectors keep their L2 distance or come closer. Where updates are held to a norm bound, nothing is
 * private in them, or all of it is already.
 * @param prepared mod 2^modulusBits, by a plan {@link withoutShares}
 * @param plan the job's, with one level of noise
 * @param normBound that updates of the round are held to, if they are: it may be less than that of the version
 */
export function finishContribution(
	plan: Pick<TrainingPlan, "layout" | "encoding" | "noise">,
	prepared: Uint32Array,
	staleness: number,
	normBound?: number,
): { readonly vector: Uint32Array; readonly samplerDistance: number } {
	const { layout, encoding } = plan;
	const { parameterSigma } = plan.noise[0]!;
	const update = fromRing(prepared.subarray(0, layout.update), encoding.modulusBits);
	let weight = stalenessWeight(staleness);
	if (normBound !== undefined) {
		let squares = 0;
		for (const value of update) squares += value * value;
		const length = Math.sqrt(squares) * weight;
		if (length > normBound * encoding.scale) weight *= (normBound * encoding.scale) / length;
	}
	for (let i = 0; i < update.length; i++) update[i] = Math.round(update[i]! * weight);
	const samplerDistance = addShare(update, parameterSigma);
	const vector = prepared.slice();
	vector.set(toRing(update, encoding.modulusBits));
	// Nothing un-noised outlives the contribution.
	update.fill(0);
	prepared.fill(0);
	return { vector, samplerDistance };
}

/** @returns the distance of the noise to its exact law */
function addShare(values: Int32Array, sigma: number): number {
	if (sigma === 0) return 0;
	const sampler = samplerOf(sigma);
	const noise = new Int32Array(values.length);
	sampler.fill(noise);
	for (let i = 0; i < values.length; i++) values[i]! += noise[i]!;
	noise.fill(0);
	return sampler.totalVariationDistance;
}
