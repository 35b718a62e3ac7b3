/**
 * Everything that follows from a query and its participants: the layout of the summed vector, the
 * integer units, each site's share of the noise, and the event a record is charged. A pure
 * function of public inputs, so every site derives the same plan.
 *
 * Encoding. Every coordinate is an integer sum over a site's records to which one record adds at
 * most `unitsPerRecord` = U in absolute value: U for a counted record, a multiple of 1/U of the
 * largest value for a value (siteVector.ts has the rounding and its proof). A record touches
 * `touched` coordinates, so its L2 sensitivity is U sqrt(touched), exactly.
 *
 * Across sites the noise is added in shares (src/privacy/noiseShares.ts), and the released sum is
 * charged as a Gaussian (src/privacy/integerNoise.ts). No secret sampling, no amplification.
 */
import { AlthingError, hasCode } from "../../crypto/error.ts";
import { calibrateNoiseMultiplier } from "../privacy/accounting/calibration.ts";
import { gaussian, type PrivacyEvent } from "../privacy/accounting/events.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import { type NoiseSharePlan, planNoiseShares, slackDelta } from "../privacy/noiseShares.ts";
import { accountedDelta, DELTA_RESERVE, LARGEST_SAMPLER_DISTANCE } from "../privacy/slack.ts";
import type { Participation } from "../training/plan.ts";
import { treeLength } from "./quantileTree.ts";
import { cellCount, type QuerySpec } from "./spec.ts";

export interface QueryPlan {
	/** Coordinates of the summed vector. */
	readonly length: number;
	readonly encoding: EncodingPlan;
	/** U: integer units that one counted record adds to a coordinate. */
	readonly unitsPerRecord: number;
	/** Standard deviation of each site's share on every coordinate, integer units. */
	readonly sigmaLocal: number;
	/** z, what the event is charged with. */
	readonly noiseMultiplier: number;
	/** What the released sum costs one record, of any site. */
	readonly event: PrivacyEvent;
}

/** Noise of this many units: the r^2 = 4 that integerNoise.ts takes are 0.1 % of its variance, rounding is less. */
const WANTED_SIGMA = 64;
/** Per share, twice what planNoiseShares insists on. */
const WANTED_SIGMA_LOCAL = 8;
const LARGEST_UNITS = 2 ** 20;
/** Multipliers are rounded up to one of so many in 1: participants' plans must agree to the last bit. */
const MULTIPLIER_STEPS = 2 ** 20;
const MODULUS_BITS = 32;
/** Standard deviations of noise kept free beyond the worst-case sum, as in fixedPoint.ts. */
const NOISE_TAIL = 12;

/**
 * @throws AlthingError `query.needs_delta` for pure epsilon (noise in shares is Gaussian),
 *   `privacy.no_headroom` when the sites' records and the noise do not fit the ring,
 *   `query.delta_too_small` where epsilon is so large or delta so small that the sampler's distance
 *   to the exact law counts, `privacy.no_honest_noise`, `privacy.unreachable_target`
 */
export function planQuery(spec: QuerySpec, who: Participation): QueryPlan {
	const noiseMultiplier = multiplierOf(spec);
	const { length, touched } = layoutOf(spec);
	const shares = {
		noiseMultiplier,
		minimumSurvivors: who.minimumSurvivors,
		corrupted: who.corruption,
		maximumContributors: who.participants,
	};
	for (let units = wantedUnits(noiseMultiplier, touched, who); units >= 1; units /= 2) {
		const sensitivity = units * Math.sqrt(touched) * (1 + 2 ** -50);
		const noise = sharesOf({ ...shares, sensitivity });
		const coordinateBound = units * spec.maximumRecordsPerSite;
		const sigmaOfAll = noise === undefined ? 0 : noise.sigmaLocal * Math.sqrt(who.participants);
		const room = 2 ** (MODULUS_BITS - 1) - 1 - who.participants * coordinateBound;
		if (noise === undefined || room < NOISE_TAIL * sigmaOfAll) continue;
		const deviations = room / sigmaOfAll;
		const plan: QueryPlan = {
			length,
			encoding: {
				length,
				scale: units,
				modulusBits: MODULUS_BITS,
				coordinateBound,
				sensitivity,
				wrapProbability: Math.max(Number.MIN_VALUE, 2 * length * Math.exp(-(deviations * deviations) / 2)),
			},
			unitsPerRecord: units,
			sigmaLocal: noise.sigmaLocal,
			noiseMultiplier,
			event: gaussian(noiseMultiplier),
		};
		requireNegligibleSlack(spec, plan, who);
		return plan;
	}
	throw new AlthingError(
		"privacy.no_headroom",
		`The sum over ${who.participants} sites of up to ${spec.maximumRecordsPerSite} records each, with noise ${noiseMultiplier.toPrecision(3)} times the sensitivity, does not fit integers modulo 2^${MODULUS_BITS} with enough resolution. Lower maximumRecordsPerSite to what the largest site really has.`,
		{ ...who, maximumRecordsPerSite: spec.maximumRecordsPerSite },
	);
}

/** The epsilon and delta asked for must hold with all that is charged beside the event. */
function requireNegligibleSlack({ privacy }: QuerySpec, plan: QueryPlan, who: Participation): void {
	if ("noiseMultiplier" in privacy || privacy.delta === undefined) return;
	const slack = slackDelta({
		sigmaLocal: plan.sigmaLocal,
		length: plan.length,
		maximumContributors: who.participants,
		samplerDistance: LARGEST_SAMPLER_DISTANCE,
		epsilon: privacy.epsilon,
	});
	if (slack <= DELTA_RESERVE * privacy.delta) return;
	throw new AlthingError(
		"query.delta_too_small",
		`At epsilon ${privacy.epsilon} a delta of ${privacy.delta} cannot be kept: the distance of sampled noise to its exact law alone comes to ${slack.toPrecision(2)}, of which a hundredth of delta must have room. Lower epsilon or raise delta.`,
		{ epsilon: privacy.epsilon, delta: privacy.delta, slack },
	);
}

function multiplierOf({ privacy }: QuerySpec): number {
	if ("noiseMultiplier" in privacy) return privacy.noiseMultiplier;
	if (privacy.delta === undefined) {
		throw new AlthingError(
			"query.needs_delta",
			"Noise that several sites add in shares is Gaussian, which needs a delta: give privacy.delta (say 1e-6), or ask one site alone.",
		);
	}
	const calibrated = calibrateNoiseMultiplier({
		epsilon: privacy.epsilon,
		delta: accountedDelta(privacy.delta),
		samplingProbability: 1,
		steps: 1,
	});
	return Math.ceil(calibrated * MULTIPLIER_STEPS) / MULTIPLIER_STEPS;
}

/** Coordinates of a query's vector, and how many of them one record touches. */
export function layoutOf(spec: QuerySpec): { readonly length: number; readonly touched: number } {
	switch (spec.kind) {
		case "count":
		case "sum":
			return { length: 1, touched: 1 };
		case "mean":
			return { length: 2, touched: 2 };
		case "variance":
			return { length: 3, touched: 3 };
		case "histogram":
		case "topK":
			return { length: cellCount(spec.by), touched: 1 };
		case "contingencyTable":
			return { length: spec.by.reduce((cells, one) => cells * cellCount(one), 1), touched: 1 };
		case "quantiles":
			return { length: treeLength(spec.levels), touched: spec.levels };
	}
}

/** The least power of two with noise of enough units. */
function wantedUnits(noiseMultiplier: number, touched: number, who: Participation): number {
	const perUnit = noiseMultiplier * Math.sqrt(touched);
	const local = perUnit / Math.sqrt(Math.max(1, who.minimumSurvivors - who.corruption));
	const wanted = Math.max(1, WANTED_SIGMA / perUnit, WANTED_SIGMA_LOCAL / local);
	return Math.min(LARGEST_UNITS, 2 ** Math.ceil(Math.log2(wanted)));
}

/** Undefined where the units are too coarse for the proof about shares. */
function sharesOf(request: Parameters<typeof planNoiseShares>[0]): NoiseSharePlan | undefined {
	try {
		return planNoiseShares(request);
	} catch (error) {
		if (hasCode(error, "privacy.noise_too_fine")) return undefined;
		throw error;
	}
}
