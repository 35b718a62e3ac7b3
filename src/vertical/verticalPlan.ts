/**
 * Everything that follows from a vertical job and its participants, the same for everybody: the
 * rounds, the summed vector, the noise, and what each epoch costs a record. The theorem is in
 * docs/vertical.md: in an epoch a record is seen at most once through the cut, trains each own part
 * at most once, and nothing else that is released depends on it.
 */
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { calibrateNoiseMultiplier } from "../privacy/accounting/calibration.ts";
import { gaussian, type PrivacyEvent, selfComposed } from "../privacy/accounting/events.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import { planNoiseShares, slackDelta } from "../privacy/noiseShares.ts";
import { accountedDelta, slackEpsilon } from "../privacy/slack.ts";
import type { ContributionFacts, RoundCharge } from "../training/charges.ts";
import type { Participation } from "../training/plan.ts";
import { ALIGNMENT_LENGTH, LARGEST_FEDERATION } from "./alignment.ts";
import { type Schedule, scheduleOf } from "./schedule.ts";
import { cutWidth, type VerticalJob, verticalJobHash } from "./verticalSpec.ts";

export interface VerticalPlan {
	readonly schedule: Schedule;
	/** Units through the cut for one record. */
	readonly cut: number;
	/** Coordinates of the summed vector: [ batch x cut values | loss, correct, count ]. */
	readonly length: number;
	/** Where the score begins. */
	readonly score: number;
	/** For values in units of their norm: one record's row has an L2 norm of at most 1. */
	readonly encoding: EncodingPlan;
	/** z of everything that is released or trained on; 0 without privacy. */
	readonly noiseMultiplier: number;
	/** Standard deviation of each site's share, integer units; 0 without privacy. */
	readonly sigmaLocal: number;
	/** Real value, in norms, of one held-out record in each coordinate of the score. */
	readonly scoreUnit: number;
}

export const SCORE = 3;
/** Each held-out record's loss counts at most this. */
export const LOSS_BOUND = 8;
const MODULUS_BITS = 32;
/** Of a norm's integer units: rounding is then far below any noise. */
const LARGEST_SCALE_EXPONENT = 16;
/** The sums' integers, without wrapping. */
export const LARGEST_INTEGER = 2 ** (MODULUS_BITS - 1) - 1;
/** Standard deviations of noise kept free beside a score. */
const NOISE_TAIL = 12;

/**
 * Gaussian events of an epoch: what a record sends through the cut and its gradient in the own part,
 * at every organization; at the label holder the error that comes back and its gradient in the top.
 */
export const GRADIENT = "gradient";
export const EVENTS_OF_FEATURES = ["activation", GRADIENT] as const;
export const EVENTS_OF_LABELS = ["error", "topGradient"] as const;
const MOST_EVENTS = EVENTS_OF_FEATURES.length + EVENTS_OF_LABELS.length;

/** Parameters of an own part, at most: for what is charged to delta beside the events. */
export const LARGEST_PART = 2 ** 22;

/**
 * @throws AlthingError `job.invalid`, `privacy.no_headroom`, `privacy.no_honest_noise`,
 *   `privacy.unreachable_target`
 */
export function planVertical(spec: VerticalJob, who: Participation): VerticalPlan {
	if (who.participants > LARGEST_FEDERATION) {
		throw new AlthingError(
			"job.invalid",
			`vertical learning is for at most ${LARGEST_FEDERATION} organizations, not ${who.participants}`,
		);
	}
	const schedule = scheduleOf(spec);
	const cut = cutWidth(spec);
	const score = Math.max(schedule.batch * cut, ALIGNMENT_LENGTH);
	const outline = { schedule, cut, length: score + SCORE, score };
	const { privacy, training } = spec;
	if (privacy.mechanism === "none") {
		const encoding = encodingAt(LARGEST_SCALE_EXPONENT, cut);
		const scoreUnit = Math.min(1, scoreRoom(schedule, encoding, 0));
		return { ...outline, encoding, noiseMultiplier: 0, sigmaLocal: 0, scoreUnit };
	}
	const noiseMultiplier = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta: accountedDelta(privacy.delta),
		samplingProbability: 1,
		steps: MOST_EVENTS * training.epochs,
	});
	const { encoding, sigmaLocal } = noisyEncoding(cut, noiseMultiplier, who);
	// A held-out record moves the three coordinates by at most s u sqrt(3) + sqrt(3) integer units.
	const scoreUnit = Math.min(
		(encoding.sensitivity / Math.sqrt(SCORE) - 1) / encoding.scale,
		scoreRoom(schedule, encoding, sigmaLocal * Math.sqrt(who.participants)),
	);
	if (!(scoreUnit > 0)) {
		throw new AlthingError("privacy.no_headroom", "the noise of this job is too small to cover its scores");
	}
	return { ...outline, encoding, noiseMultiplier, sigmaLocal, scoreUnit };
}

/** Values in units of their norm, so that one record's row of `cut` has an L2 norm of at most 1 before it is rounded. */
function encodingAt(exponent: number, cut: number): EncodingPlan {
	const scale = 2 ** exponent;
	const sensitivity = (scale + Math.sqrt(cut)) * (1 + 2 ** -50);
	return {
		length: cut,
		scale,
		modulusBits: MODULUS_BITS,
		coordinateBound: scale,
		sensitivity,
		wrapProbability: 0,
	};
}

/** The finest encoding with which the sum and its noise fit the ring, as in src/privacy/fixedPoint.ts. */
function noisyEncoding(
	cut: number,
	noiseMultiplier: number,
	who: Participation,
): { readonly encoding: EncodingPlan; readonly sigmaLocal: number } {
	for (let exponent = LARGEST_SCALE_EXPONENT; exponent >= 0; exponent--) {
		const encoding = encodingAt(exponent, cut);
		const { sigmaLocal } = planNoiseShares({
			noiseMultiplier,
			sensitivity: encoding.sensitivity,
			minimumSurvivors: who.minimumSurvivors,
			corrupted: who.corruption,
			maximumContributors: who.participants,
		});
		const sigma = sigmaLocal * Math.sqrt(who.participants);
		const room = LARGEST_INTEGER - who.participants * encoding.coordinateBound;
		if (room < NOISE_TAIL * sigma) continue;
		const deviations = room / sigma;
		const wraps = 2 * cut * Math.exp(-(deviations * deviations) / 2);
		return { encoding: { ...encoding, wrapProbability: Math.max(Number.MIN_VALUE, wraps) }, sigmaLocal };
	}
	throw new AlthingError(
		"privacy.no_headroom",
		`noise ${noiseMultiplier.toPrecision(3)} times a record's reach does not fit integers modulo 2^${MODULUS_BITS}: ask for fewer epochs or a larger epsilon`,
	);
}

/** The largest unit with which the score of all held-out records, and noise, fit the ring. */
function scoreRoom({ heldOutRecords }: Schedule, { scale }: EncodingPlan, sigma: number): number {
	return (LARGEST_INTEGER - NOISE_TAIL * sigma) / (Math.max(1, heldOutRecords) * scale);
}

/** All that participants must agree on beyond the common state. */
export function verticalPlanHash(spec: VerticalJob, plan: VerticalPlan, who: Participation): Uint8Array {
	const { cut, length, score, noiseMultiplier, sigmaLocal, scoreUnit, schedule } = plan;
	// Without the probability of a wrap, which comes of an exponential.
	const { wrapProbability: _, ...encoding } = plan.encoding;
	return hashFields(
		"althing/vertical-plan/1",
		verticalJobHash(spec),
		encodeCanonical({
			...who,
			cut,
			length,
			score,
			noiseMultiplier,
			sigmaLocal,
			scoreUnit,
			schedule: { ...schedule },
			encoding,
		}),
	);
}

/**
 * What a site charges before its contribution leaves: the events of an epoch when the first of them
 * is shown. They stand whatever becomes of the round, since later rounds of the epoch rely on them.
 * Both parts of the data set are charged: the job's held-out records are not the ledger's.
 */
export function verticalCharges(
	spec: VerticalJob,
	plan: VerticalPlan,
	who: Participation,
	{ samplerDistance, newCycles }: ContributionFacts,
): RoundCharge[] {
	const { privacy } = spec;
	if (privacy.mechanism === "none") return [];
	const extraDelta = slackDelta({
		sigmaLocal: plan.sigmaLocal,
		length: plan.length + LARGEST_PART,
		maximumContributors: who.participants,
		samplerDistance,
		epsilon: slackEpsilon(privacy.epsilon),
	});
	const event = selfComposed(gaussian(plan.noiseMultiplier), newCycles);
	return bothParts(event).map((charge) => ({ ...charge, extraDelta, standing: true }));
}

/** The whole job, at the label holder, whose records pay most. */
export function totalVerticalCharges(
	spec: VerticalJob,
	plan: VerticalPlan,
): Omit<RoundCharge, "extraDelta">[] {
	if (spec.privacy.mechanism === "none") return [];
	return bothParts(selfComposed(gaussian(plan.noiseMultiplier), MOST_EVENTS * spec.training.epochs));
}

function bothParts(event: PrivacyEvent) {
	return [
		{ partition: "train" as const, event },
		{ partition: "heldOut" as const, event },
	];
}
