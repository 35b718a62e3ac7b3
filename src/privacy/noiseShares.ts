/** How much noise each site adds so that the released sum carries enough, whoever drops out or colludes. */
import { AlthingError } from "../../crypto/error.ts";
import { leastSensitivity } from "./fixedPoint.ts";
import { latticeSlack, ROUNDING_SIGMA, sigmaFor } from "./integerNoise.ts";

export interface NoiseShareRequest {
	/** Noise multiplier z the accountant charges with, > 0. */
	readonly noiseMultiplier: number;
	/** L2 sensitivity in integer units (EncodingPlan.sensitivity), > 0. */
	readonly sensitivity: number;
	/** Fewest survivors the round may release a sum with. */
	readonly minimumSurvivors: number;
	/** Most survivors whose noise must not be counted on: colluding, or having added none. */
	readonly corrupted: number;
	/** Most contributors to one sum. */
	readonly maximumContributors: number;
}

export interface NoiseSharePlan {
	/** Standard deviation of each site's discrete Gaussian share per coordinate, integer units. */
	readonly sigmaLocal: number;
	/** What the sum carries at least, so that it may be charged with z (integerNoise.ts). */
	readonly sigmaTarget: number;
	readonly minimumHonestSurvivors: number;
}

/** Below this the sum of discrete Gaussians is not close enough to a discrete Gaussian to argue by. */
const LEAST_SIGMA_LOCAL = 4;

/**
 * Upper bound on sigma of the sum of all shares over the sensitivity, whatever the encoding turns
 * out to be: it depends on the counts and the length alone, so the encoding can be planned first.
 * With n contributors and h honest survivors the sum carries sqrt(n / h) sqrt((z S)^2 + r^2), and
 * S >= leastSensitivity(length).
 * @throws AlthingError `privacy.bad_noise_plan`, `privacy.no_honest_noise`
 */
export function largestNoiseMultiplier(
	request: Omit<NoiseShareRequest, "sensitivity"> & { readonly length: number },
): number {
	const { noiseMultiplier, minimumSurvivors, corrupted, maximumContributors, length } = request;
	requireHonestNoise(request);
	return (
		Math.sqrt(noiseMultiplier ** 2 + (ROUNDING_SIGMA / leastSensitivity(length)) ** 2) *
		Math.sqrt(maximumContributors / (minimumSurvivors - corrupted)) *
		(1 + 2 ** -40)
	);
}

function requireHonestNoise(request: Omit<NoiseShareRequest, "sensitivity">): void {
	const { noiseMultiplier, minimumSurvivors, corrupted, maximumContributors } = request;
	for (const [name, count] of Object.entries({ minimumSurvivors, corrupted, maximumContributors })) {
		if (!Number.isSafeInteger(count) || count < 0) {
			throw new AlthingError("privacy.bad_noise_plan", `${name} must be a whole number, not ${count}.`);
		}
	}
	if (!(noiseMultiplier > 0 && noiseMultiplier < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_noise_plan",
			`The noise multiplier must be positive and finite, not ${noiseMultiplier}.`,
		);
	}
	if (minimumSurvivors - corrupted < 1) {
		throw new AlthingError(
			"privacy.no_honest_noise",
			`With ${minimumSurvivors} survivors of which ${corrupted} may be corrupted nobody's noise can be counted on. Raise the least number of survivors or lower the assumed corruption.`,
			{ minimumSurvivors, corrupted },
		);
	}
	if (maximumContributors < minimumSurvivors) {
		throw new AlthingError(
			"privacy.bad_noise_plan",
			`At most ${maximumContributors} contributors cannot be fewer than the ${minimumSurvivors} that must survive.`,
		);
	}
}

/**
 * sigmaLocal = sqrt((z S)^2 + r^2) / sqrt(minimumSurvivors - corrupted): independent shares'
 * variances add, so the honest survivors, at least that many, carry what integerNoise.ts charges
 * as a Gaussian of multiplier z in every sum that may be released. More survivors carry more noise
 * than charged for.
 * @throws AlthingError `privacy.no_honest_noise` when corrupted >= minimumSurvivors,
 *   `privacy.noise_too_fine` when sigmaLocal < 4 integer units, `privacy.bad_noise_plan`
 *   for anything out of range
 */
export function planNoiseShares(request: NoiseShareRequest): NoiseSharePlan {
	requireHonestNoise(request);
	const { noiseMultiplier, sensitivity, minimumSurvivors, corrupted } = request;
	const minimumHonestSurvivors = minimumSurvivors - corrupted;
	const sigmaTarget = sigmaFor({ noiseMultiplier, sensitivity });
	// The last factor covers floating-point rounding, upwards.
	const sigmaLocal = (sigmaTarget / Math.sqrt(minimumHonestSurvivors)) * (1 + 2 ** -50);
	if (sigmaLocal < LEAST_SIGMA_LOCAL) {
		throw new AlthingError(
			"privacy.noise_too_fine",
			`Each site's noise would have a standard deviation of ${sigmaLocal.toFixed(3)} integer units; sums of shares are proven close to a discrete Gaussian from ${LEAST_SIGMA_LOCAL} upwards. Use a finer encoding (larger modulus) or more noise.`,
			{ sigmaLocal },
		);
	}
	return { sigmaLocal, sigmaTarget, minimumHonestSurvivors };
}

/**
 * What one released sum costs in delta beyond the accountant's, because the noise is not
 * exactly one discrete Gaussian.
 *
 * (1) A sum of n discrete Gaussians of sigmaLocal has a density within exp(+-tau) of the
 * discrete Gaussian of sigmaLocal sqrt(n) per coordinate, tau = 10 sum_{k=1}^{n-1}
 * exp(-2 pi^2 sigmaLocal^2 k/(k+1)) (Kairouz, Liu, Steinke 2021, Thm. 5), so the vectors of
 * length d are within total variation expm1(d tau). (2) That discrete Gaussian is charged as a
 * continuous one, at `latticeSlack`. (3) Each sampled share is within `samplerDistance` of its
 * exact law per coordinate, n d of them. With eta the sum of the three, an (epsilon, delta)-DP
 * ideal mechanism becomes (epsilon, delta + (1 + e^epsilon) eta)-DP.
 * @param epsilon the largest epsilon the account can reach (its limit)
 */
export function slackDelta(slack: {
	readonly sigmaLocal: number;
	readonly length: number;
	readonly maximumContributors: number;
	readonly samplerDistance: number;
	readonly epsilon: number;
}): number {
	const { sigmaLocal, length, maximumContributors, samplerDistance, epsilon } = slack;
	let tau = 0;
	for (let k = 1; k < maximumContributors; k++) {
		tau += 10 * Math.exp((-2 * Math.PI * Math.PI * sigmaLocal * sigmaLocal * k) / (k + 1));
	}
	const distance =
		Math.expm1(length * tau) + latticeSlack({ length }) + length * maximumContributors * samplerDistance;
	return (1 + Math.exp(epsilon)) * distance;
}
