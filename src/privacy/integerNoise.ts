/**
 * Integer noise charged as a Gaussian: what the accountants' results for continuous Gaussian noise
 * prove about discrete Gaussian noise on integer vectors of any length.
 *
 * Theorem. Let r > 0, s >= r, t^2 = s^2 - r^2 and
 *
 *     theta = 2 sum_{j >= 1} exp(-2 pi^2 r^2 j^2).
 *
 * For x in Z^d let A(x) = x + N_Z(0, s^2)^d, the mechanism that runs, and let B(x) draw
 * g ~ N(x, t^2 I) and round every coordinate at random to the integer k with probability
 * proportional to exp(-(k - g_i)^2 / (2 r^2)). Then for every x and every y in Z^d
 *
 *     ((1 - theta) / (1 + theta))^d  <=  A(x)(y) / B(x)(y)  <=  (1 + theta)^d.
 *
 * Proof. Write Theta_a(g) = sum_{k in Z} exp(-(k - g)^2 / (2 a^2)). By Poisson summation
 * Theta_a(g) = a sqrt(2 pi) (1 + 2 sum_{j >= 1} exp(-2 pi^2 a^2 j^2) cos(2 pi j g)), so Theta_r(g) is
 * within r sqrt(2 pi) (1 +- theta) for every real g, and Theta_s(0) is in
 * s sqrt(2 pi) [1, 1 + theta] since s >= r. In one coordinate
 *
 *     B(x)(y) = integral N(g; x, t^2) exp(-(y - g)^2 / (2 r^2)) / Theta_r(g) dg.
 *
 * Replacing Theta_r(g) by r sqrt(2 pi) changes the integrand by a factor between 1 - theta and
 * 1 + theta and leaves the convolution of two normal densities, N(y; x, s^2). And
 * A(x)(y) = exp(-(y - x)^2 / (2 s^2)) / Theta_s(0) (x is an integer) is N(y; x, s^2) times a factor
 * in [1 / (1 + theta), 1]. Dividing gives the claim; coordinates are independent. QED.
 *
 * Consequence. B is the continuous Gaussian mechanism with standard deviation t, post-processed
 * without looking at the data. A function of the batch with values in Z^d and L2 sensitivity S,
 * released through B, is therefore dominated by the Gaussian pair with noise multiplier t / S, and
 * through a secret Poisson sample by the subsampled pair, in both directions of adding and removing
 * a record (Zhu, Dong, Wang 2022, which also composes such pairs adaptively); replacing the
 * law of A by that of B, for each sample of the batch alike, costs `latticeSlack` in total
 * variation. So every accountant for the Gaussian event, the privacy-loss distribution included,
 * bounds the integer mechanism when asked with `effectiveNoiseMultiplier`, with
 * (1 + e^epsilon) latticeSlack added to delta. r = 2 makes the slack 3e-34 a coordinate and costs
 * the noise r^2 integer units of variance, of which S^2 z^2 usually has thousands.
 */
import { AlthingError } from "../../crypto/error.ts";

/** r: the width, in integer units, that the proof's rounding takes of the noise. */
export const ROUNDING_SIGMA = 2;

/** Covers the rounding of a square root of a sum of squares. */
const MARGIN = 2 ** -48;

/**
 * The noise multiplier z that integer noise N_Z(0, sigma^2) is charged with, rounded down.
 * @param noise sigma and L2 sensitivity in integer units, sigma > 2, sensitivity > 0
 * @throws AlthingError `privacy.noise_too_fine` for a sigma of at most 2
 */
export function effectiveNoiseMultiplier(noise: {
	readonly sigma: number;
	readonly sensitivity: number;
}): number {
	const { sigma, sensitivity } = noise;
	requirePositive("sensitivity", sensitivity);
	if (!(sigma > ROUNDING_SIGMA && sigma < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.noise_too_fine",
			`Integer noise with sigma ${sigma} cannot be charged as a Gaussian: more than ${ROUNDING_SIGMA} integer units are needed. Use a finer encoding or more noise.`,
			{ sigma },
		);
	}
	// The factored difference of squares has no cancellation beyond that of sigma - r itself.
	return (Math.sqrt((sigma - ROUNDING_SIGMA) * (sigma + ROUNDING_SIGMA)) / sensitivity) * (1 - MARGIN);
}

/**
 * Sigma of the integer noise that may be charged with a multiplier, rounded up: the inverse of
 * {@link effectiveNoiseMultiplier}.
 * @param noise multiplier z > 0 and L2 sensitivity > 0 in integer units
 */
export function sigmaFor(noise: { readonly noiseMultiplier: number; readonly sensitivity: number }): number {
	requirePositive("noise multiplier", noise.noiseMultiplier);
	requirePositive("sensitivity", noise.sensitivity);
	return Math.sqrt((noise.noiseMultiplier * noise.sensitivity) ** 2 + ROUNDING_SIGMA ** 2) * (1 + MARGIN);
}

/**
 * Total variation distance, at most, between a vector with discrete Gaussian noise and the
 * post-processed continuous mechanism it is charged as: 1 - ((1 - theta) / (1 + theta))^d.
 * @param length coordinates d over all releases meant
 */
export function latticeSlack({ length }: { readonly length: number }): number {
	// theta <= 2.5 exp(-2 pi^2 r^2), and -log((1 - theta) / (1 + theta)) <= 2.5 theta for theta < 1/2.
	return -Math.expm1(-6.25 * length * Math.exp(-2 * (Math.PI * ROUNDING_SIGMA) ** 2));
}

function requirePositive(what: string, value: number): void {
	if (value > 0 && value < Number.POSITIVE_INFINITY) return;
	throw new AlthingError("privacy.bad_noise_plan", `The ${what} must be positive and finite, not ${value}.`);
}
