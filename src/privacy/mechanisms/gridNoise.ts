/**
 * Gaussian and Laplace noise for real values, on a public grid: the value is rounded to a multiple
 * of g, a power of two, and whole multiples of g are added by an exact integer sampler. Noise on
 * doubles would not do: both the textbook samplers (Mironov 2012; Jin et al. 2022) and the addition
 * itself (Haney et al. 2022) leave traces of the value in the last bits.
 *
 * Unit: one record added or removed. Sensitivity D: as stated by the caller, in real numbers. A
 * value that was summed in floating point does not have the sensitivity of the formula (Casacuberta
 * et al. 2022): sum whole numbers, or add the summation's error to D.
 *
 * Granularity: g is the largest power of two with D / g >= 2^10. Rounding to nearest, half up, moves
 * a difference d of two values to at most ceil(d / g) steps: |floor(a + 1/2) - floor(b + 1/2)| is a
 * whole number below a - b + 1. So the whole-number sensitivity is S = ceil(D / g), at most 2^-10
 * above D / g, and the noise is scaled to S: the discretization is paid for in noise, exactly, and
 * nothing is charged beside the event. The value is clamped to +-2^52 g first, which moves no two
 * values apart.
 *
 * Timing: that of the exact samplers, which depends on the noise drawn and so is as secret as the
 * noise: release off the request path. Rounding and addition do the same work for every value.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { effectiveNoiseMultiplier, sigmaFor } from "../integerNoise.ts";
import { discreteLaplace } from "../samplers/discreteLaplace.ts";
import { sampleExactGaussian } from "../samplers/exactGaussian.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { requireEpsilon } from "./scores.ts";

export interface NoisyValue extends Mechanism {
	/** g: releases are multiples of it. */
	readonly granularity: number;
	/** Of the noise in a release. */
	readonly standardError: number;
	/** The value with noise. Not a number counts as 0, so that no record can stop the release. */
	release(value: number): number;
}

export interface NoisyVector extends Mechanism {
	readonly granularity: number;
	/** Of each coordinate. */
	readonly standardError: number;
	/** @throws AlthingError `privacy.wrong_length` */
	release(values: Float64Array): Float64Array;
}

const LEAST_STEPS = 2 ** 10;
const LARGEST_STEPS = 2 ** 52;
/** Keeps noise far below 2^53 steps, where sums would no longer be exact. */
const LARGEST_MULTIPLIER = 2 ** 20;
/** Upwards over the rounding of a quotient and a product. */
const UP = 1 + 2 ** -51;

/**
 * Laplace noise: epsilon-DP, charged as the discrete law that it is.
 * @param request sensitivity > 0 in real units, epsilon > 0
 * @throws AlthingError `privacy.bad_sensitivity`, `privacy.bad_epsilon`, `privacy.bad_scale`
 */
export function gridLaplace(
	{ sensitivity, epsilon }: { readonly sensitivity: number; readonly epsilon: number },
	words: RandomWords = new RandomWords(),
): NoisyValue {
	requireEpsilon(epsilon);
	const { granularity, steps } = gridFor(sensitivity);
	const scale = (steps / epsilon) * UP;
	const noise = discreteLaplace(scale);
	return {
		name: "Laplace noise on a grid",
		unit: "one record added or removed",
		sensitivity,
		event: { kind: "discreteLaplace", scale, sensitivity: steps },
		granularity,
		standardError: Math.SQRT2 * scale * granularity,
		release: (value) => (toSteps(value, granularity) + noise(words)) * granularity,
	};
}

/**
 * Gaussian noise, charged as the discrete law that it is.
 * @param request sensitivity > 0 in real units; noiseMultiplier > 0: standard deviation over sensitivity
 * @throws AlthingError `privacy.bad_sensitivity`, `privacy.bad_sigma`
 */
export function gridGaussian(
	{ sensitivity, noiseMultiplier }: { readonly sensitivity: number; readonly noiseMultiplier: number },
	words: RandomWords = new RandomWords(),
): NoisyValue {
	requireMultiplier(noiseMultiplier);
	const { granularity, steps } = gridFor(sensitivity);
	const sigma = noiseMultiplier * steps * UP;
	return {
		name: "Gaussian noise on a grid",
		unit: "one record added or removed",
		sensitivity,
		event: { kind: "discreteGaussian", sigma, sensitivity: steps },
		granularity,
		standardError: sigma * granularity,
		release: (value) => (toSteps(value, granularity) + sampleExactGaussian(sigma, words)) * granularity,
	};
}

/**
 * Gaussian noise on a vector of L2 sensitivity D: rounding adds up to half a step a coordinate to
 * either value, so S = D / g + sqrt(d). Charged as a continuous Gaussian by the theorem of
 * `integerNoise.ts`; its `latticeSlack` for `length` coordinates (below 1e-33 each) goes to delta.
 * @throws AlthingError `privacy.bad_sensitivity`, `privacy.bad_sigma`, `privacy.wrong_length` unless length is a whole number >= 1
 */
export function gridGaussianVector(
	request: { readonly length: number; readonly sensitivity: number; readonly noiseMultiplier: number },
	words: RandomWords = new RandomWords(),
): NoisyVector {
	const { length, sensitivity, noiseMultiplier } = request;
	requireMultiplier(noiseMultiplier);
	if (!Number.isSafeInteger(length) || length < 1) throw wrongLength(length, "a whole number from 1 upwards");
	// A grid finer by sqrt(d) keeps the rounding's share of the sensitivity at 2^-10.
	const granularity = gridFor(sensitivity / Math.sqrt(length)).granularity;
	const steps = (sensitivity / granularity + Math.sqrt(length)) * UP;
	const sigma = sigmaFor({ noiseMultiplier, sensitivity: steps });
	return {
		name: "Gaussian noise on a grid, vector",
		unit: "one record added or removed",
		sensitivity,
		event: {
			kind: "gaussian",
			noiseMultiplier: effectiveNoiseMultiplier({ sigma, sensitivity: steps }),
		},
		granularity,
		standardError: sigma * granularity,
		release: (values) => {
			if (values.length !== length) throw wrongLength(values.length, String(length));
			return values.map(
				(value) => (toSteps(value, granularity) + sampleExactGaussian(sigma, words)) * granularity,
			);
		},
	};
}

/** g and S. */
function gridFor(sensitivity: number): { readonly granularity: number; readonly steps: number } {
	if (!(sensitivity >= 2 ** -900 && sensitivity <= 2 ** 900)) {
		throw new AlthingError(
			"privacy.bad_sensitivity",
			`The sensitivity of a real value must be positive, finite and within 2^+-900, not ${sensitivity}.`,
			{ sensitivity },
		);
	}
	let granularity = 1;
	// Exact: halving and doubling, and quotients by powers of two.
	while (sensitivity / granularity < LEAST_STEPS) granularity /= 2;
	while (sensitivity / granularity >= 2 * LEAST_STEPS) granularity *= 2;
	return { granularity, steps: Math.ceil(sensitivity / granularity) };
}

/** The nearest whole number of steps, exact; the sum with noise below 2^53 is exact, too. */
function toSteps(value: number, granularity: number): number {
	if (Number.isNaN(value)) return 0;
	// Math.round is floor(x + 1/2) exactly, which the sum in doubles is not just below 1/2.
	return Math.max(-LARGEST_STEPS, Math.min(LARGEST_STEPS, Math.round(value / granularity)));
}

function requireMultiplier(noiseMultiplier: number): void {
	if (noiseMultiplier > 0 && noiseMultiplier <= LARGEST_MULTIPLIER) return;
	throw new AlthingError(
		"privacy.bad_sigma",
		`The noise multiplier must be above 0 and at most ${LARGEST_MULTIPLIER}, not ${noiseMultiplier}.`,
		{ noiseMultiplier },
	);
}

function wrongLength(length: number, wanted: string): AlthingError {
	return new AlthingError(
		"privacy.wrong_length",
		`The vector has ${length} coordinates where ${wanted} is wanted.`,
	);
}
