/** How much noise a plan needs, or how many rounds: inverses of the accountant, always ending on the safe side. */
import { AlthingError } from "../../../crypto/error.ts";
import { gaussian, type PrivacyEvent, poissonSampled, selfComposed } from "./events.ts";
import { gaussianNoiseMultiplier } from "./pld/gaussian.ts";
import { pldEpsilon } from "./pld/index.ts";
import { decreasingRoot } from "./pld/root.ts";

/** A run of equal rounds. */
export interface RoundsPlan {
	/** Target, > 0. */
	readonly epsilon: number;
	/** Target without the parts charged separately (sampler, noise shares), in (0, 1). */
	readonly delta: number;
	/** Of each record into each round, in (0, 1]; 1 for no secret sampling. */
	readonly samplingProbability: number;
	/** Number of rounds, an integer >= 1. */
	readonly steps: number;
}

export interface CalibrationTarget {
	/** Target, > 0. */
	readonly epsilon: number;
	/** Target, in (0, 1). */
	readonly delta: number;
	/** What is released with a noise multiplier; its epsilon must fall as the multiplier grows. */
	readonly eventOf: (noiseMultiplier: number) => PrivacyEvent;
	/** Where to begin, if one knows; the result does not depend on it beyond the tolerance. */
	readonly guess?: number;
}

const LEAST_MULTIPLIER = 0.05;
const LARGEST_MULTIPLIER = 1e6;
/** How close the bounds on epsilon are brought while the root is looked for, and in the end. */
const COARSE_BOUNDS = 1e-2;
const FINE_BOUNDS = 4e-4;
/** Widths of brackets of log multiplier. */
const COARSE_WIDTH = 2e-3;
const WIDTH = 1e-6;
/** So far below the target, relatively, epsilon may stay. */
const ACCEPTED = 5e-5;
/**
 * Every node derives the multiplier of a plan for itself. Math.exp and Math.log may differ in the last
 * bit between machines; nine digits, rounded up, do not.
 */
const SIGNIFICANT_DIGITS = 9;

/** The event one round of the plan is charged as. */
export function roundEvent(samplingProbability: number, noiseMultiplier: number): PrivacyEvent {
	const event = gaussian(noiseMultiplier);
	return samplingProbability === 1 ? event : poissonSampled(samplingProbability, event);
}

/**
 * Least noise multiplier (rounded up to nine digits) whose `steps` rounds are proven to stay within
 * (epsilon, delta), by their privacy-loss distribution.
 * @throws AlthingError `privacy.bad_target` for an epsilon, delta or step count out of range,
 *   `privacy.unreachable_target` when not even a multiplier of 1e6 is enough
 */
export function calibrateNoiseMultiplier(plan: RoundsPlan): number {
	const { epsilon, delta, samplingProbability, steps } = plan;
	if (!Number.isSafeInteger(steps) || steps < 1) {
		throw new AlthingError(
			"privacy.bad_target",
			`The number of rounds must be an integer from 1 upwards, not ${steps}.`,
		);
	}
	requireTarget(epsilon, delta);
	// Many steps are nearly one Gaussian step with mu^2 = q^2 steps (e^(1/z^2) - 1) (Dong, Roth, Su 2022).
	const mu = 1 / gaussianNoiseMultiplier(epsilon, delta);
	const share = mu / samplingProbability;
	const guess = 1 / Math.sqrt(Math.log1p((share * share) / steps));
	return calibrate({
		epsilon,
		delta,
		guess,
		eventOf: (multiplier) => selfComposed(roundEvent(samplingProbability, multiplier), steps),
	});
}

/**
 * Least noise multiplier between 0.05 and 1e6 (rounded up to nine digits) with which `eventOf` is proven
 * to stay within (epsilon, delta), by its privacy-loss distribution.
 * @throws AlthingError `privacy.bad_target`, `privacy.unreachable_target`, and what the accountant throws
 *   for an event it does not know
 */
export function calibrate({ epsilon, delta, eventOf, guess = 1 }: CalibrationTarget): number {
	requireTarget(epsilon, delta);
	// log(epsilon of a multiplier / target): decreasing in the logarithm of the multiplier, nearly straight.
	const excess =
		(tolerance: number) =>
		(logMultiplier: number): number => {
			const { upper } = pldEpsilon(eventOf(Math.exp(logMultiplier)), delta, { tolerance, upperOnly: true });
			return Math.max(-20, Math.min(20, Math.log(upper / epsilon)));
		};
	const coarse = excess(COARSE_BOUNDS);
	const bracket = bracketNear(coarse, Math.log(guess));
	if (bracket === undefined) {
		throw new AlthingError(
			"privacy.unreachable_target",
			`No noise multiplier up to ${LARGEST_MULTIPLIER} gives epsilon ${epsilon} at delta ${delta}. Allow a larger epsilon or delta, or fewer rounds.`,
			{ epsilon, delta },
		);
	}
	const rough = decreasingRoot(coarse, bracket.low, bracket.high, { absolute: COARSE_WIDTH });
	const slope = (coarse(rough + 0.05) - coarse(rough)) / 0.05;
	const fine = justBelowZero(excess(FINE_BOUNDS), rough, slope < -0.02 ? slope : -1);
	// Bounds on neighbouring grids differ in the fifth digit: what is returned has been checked itself.
	for (let multiplier = roundedUp(Math.exp(fine)); ; multiplier = roundedUp(multiplier * (1 + 1e-5))) {
		if (pldEpsilon(eventOf(multiplier), delta, { tolerance: FINE_BOUNDS, upperOnly: true }).upper <= epsilon)
			return multiplier;
	}
}

const LEAST = Math.log(LEAST_MULTIPLIER);
const LARGEST = Math.log(LARGEST_MULTIPLIER);

/** Where a decreasing function changes sign, in steps that widen from `guess`; undefined if it is positive up to the largest. */
function bracketNear(
	valueAt: (x: number) => number,
	guess: number,
): { readonly low: number; readonly high: number } | undefined {
	let low = Math.min(LARGEST, Math.max(LEAST, guess));
	let high = low;
	let width = 0.1;
	if (valueAt(low) > 0) {
		do {
			if (high >= LARGEST) return undefined;
			low = high;
			high = Math.min(LARGEST, high + width);
			width *= 3;
		} while (valueAt(high) > 0);
		return { low, high };
	}
	do {
		if (low <= LEAST) return { low, high: low };
		high = low;
		low = Math.max(LEAST, low - width);
		width *= 3;
	} while (valueAt(low) <= 0);
	return { low, high };
}

/** By secants from a point nearby: an x between `LEAST` and `LARGEST` whose value is at most 0, and hardly less. */
function justBelowZero(valueAt: (x: number) => number, start: number, firstSlope: number): number {
	let low = Number.NEGATIVE_INFINITY;
	let high = Number.POSITIVE_INFINITY;
	let x = start;
	let slope = firstSlope;
	let last: { x: number; value: number } | undefined;
	for (let i = 0; ; i++) {
		const value = valueAt(x);
		if (value <= 0) {
			if (value >= -ACCEPTED || x <= LEAST) return x;
			high = Math.min(high, x);
		} else low = Math.max(low, x);
		if (high - low < WIDTH || i > 60) return high;
		if (last !== undefined && x !== last.x) {
			const secant = (value - last.value) / (x - last.x);
			if (secant < 0.3 * slope && secant > 3 * slope) slope = secant;
		}
		last = { x, value };
		let next = x - (value + 0.4 * ACCEPTED) / slope;
		if (!(next > low && next < high) || i > 8) {
			next =
				Number.isFinite(low) && Number.isFinite(high)
					? 0.5 * (low + high)
					: x + (value > 0 ? 0.01 : -0.01) * 2 ** i;
		}
		x = Math.max(LEAST, next);
	}
}

/**
 * How many rounds of a plan fit: the largest count whose proven epsilon at `delta` is within `epsilon`.
 * @returns 0 if not even one fits; at most `most` (default 1e9)
 */
export function largestStepCount(plan: {
	readonly noiseMultiplier: number;
	readonly samplingProbability: number;
	readonly epsilon: number;
	readonly delta: number;
	readonly most?: number;
}): number {
	const { noiseMultiplier, samplingProbability, epsilon, delta, most = 1e9 } = plan;
	requireTarget(epsilon, delta);
	const round = roundEvent(samplingProbability, noiseMultiplier);
	const fits = (steps: number): boolean =>
		pldEpsilon(selfComposed(round, steps), delta, { upperOnly: true }).upper <= epsilon;
	if (!fits(1)) return 0;
	let enough = 1;
	let tooMany = 2;
	while (tooMany <= most && fits(tooMany)) {
		enough = tooMany;
		tooMany *= 4;
	}
	tooMany = Math.min(tooMany, most + 1);
	while (tooMany - enough > 1) {
		const middle = Math.floor(
			tooMany - enough > enough ? Math.sqrt(enough * tooMany) : 0.5 * (enough + tooMany),
		);
		if (fits(middle)) enough = middle;
		else tooMany = middle;
	}
	return enough;
}

function requireTarget(epsilon: number, delta: number): void {
	if (!(epsilon > 0 && epsilon < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_target",
			`The target epsilon must be positive and finite, not ${epsilon}.`,
		);
	}
	if (!(delta > 0 && delta < 1)) {
		throw new AlthingError(
			"privacy.bad_target",
			`The target delta must be strictly between 0 and 1, not ${delta}.`,
		);
	}
}

function roundedUp(value: number): number {
	const unit = 10 ** (Math.floor(Math.log10(value)) - SIGNIFICANT_DIGITS + 1);
	return Number((Math.ceil(value / unit) * unit).toPrecision(SIGNIFICANT_DIGITS));
}
