/**
 * One site's share of Skellam noise on a vector of whole numbers (Agarwal, Kairouz, Liu 2021).
 * Sums of independent Skellam variables are Skellam with the sum of their variances, so whatever
 * the number of survivors the released sum has exactly the law that is charged, or more noise;
 * discrete Gaussian shares have that only up to a slack. The price is no amplification by sampling:
 * the general bound for it is loose.
 *
 * Unit: one record added or removed. Sensitivity: of the whole-numbered sum, in L1 and L2. Cost:
 * `skellam` with the variance that the fewest honest survivors carry.
 *
 * Timing: that of the Poisson sampler, which depends on the noise drawn alone.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import { skellam } from "../samplers/skellam.ts";
import type { Mechanism } from "./mechanism.ts";

export interface SkellamShareRequest {
	/** Per coordinate of the released sum, integer units squared, > 0. */
	readonly variance: number;
	/** Fewest survivors of a release that surely added their share, a whole number >= 1. */
	readonly minimumHonestSurvivors: number;
	readonly l1Sensitivity: number;
	readonly l2Sensitivity: number;
}

export interface SkellamShare extends Mechanism {
	/** Of one site's share, per coordinate. */
	readonly shareVariance: number;
	/** The site's whole numbers with its share of the noise. */
	add(values: Int32Array): Float64Array;
}

/** @throws AlthingError `privacy.bad_noise_plan`, `privacy.bad_variance` */
export function skellamShare(
	request: SkellamShareRequest,
	words: RandomWords = new RandomWords(),
): SkellamShare {
	const { variance, minimumHonestSurvivors, l1Sensitivity, l2Sensitivity } = request;
	if (!Number.isSafeInteger(minimumHonestSurvivors) || minimumHonestSurvivors < 1) {
		throw new AlthingError(
			"privacy.bad_noise_plan",
			`The number of honest survivors must be a whole number from 1 upwards, not ${minimumHonestSurvivors}.`,
			{ minimumHonestSurvivors },
		);
	}
	if (!(l2Sensitivity > 0 && l1Sensitivity >= l2Sensitivity && l1Sensitivity < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_noise_plan",
			`The L1 sensitivity (${l1Sensitivity}) must be finite and no less than the L2 sensitivity (${l2Sensitivity}), which must be positive.`,
			{ l1Sensitivity, l2Sensitivity },
		);
	}
	// Rounded up, so that the honest shares add up to the variance charged.
	const shareVariance = (variance / minimumHonestSurvivors) * (1 + 2 ** -51);
	const noise = skellam(shareVariance);
	return {
		name: "Skellam noise in shares",
		unit: "one record added or removed",
		sensitivity: l2Sensitivity,
		event: { kind: "skellam", variance, l1Sensitivity, l2Sensitivity },
		shareVariance,
		add: (values) => Float64Array.from(values, (value) => value + noise(words)),
	};
}
