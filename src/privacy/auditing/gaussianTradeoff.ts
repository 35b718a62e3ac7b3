/** Gaussian differential privacy as audits need it: rates and quantiles of the normal law, mu and epsilon (Dong, Roth, Su 2022). */
import { AlthingError } from "../../../crypto/error.ts";
import { gaussianEpsilon, gaussianNoiseMultiplier } from "../accounting/pld/gaussian.ts";
import { logNormalTail, normalTail } from "../accounting/pld/normal.ts";

export function normalCdf(x: number): number {
	return normalTail(-x);
}

const SQRT_TAU = Math.sqrt(2 * Math.PI);

/** The x with P[Z <= x] = p; -Infinity and Infinity at 0 and 1. */
export function normalQuantile(p: number): number {
	if (p <= 0) return Number.NEGATIVE_INFINITY;
	if (p >= 1) return Number.POSITIVE_INFINITY;
	if (p === 0.5) return 0;
	if (p > 0.5) return -normalQuantile(1 - p);
	// Newton's steps on log P[Z > y] = log p, a concave function of y.
	const target = Math.log(p);
	let y = Math.sqrt(Math.max(0, -2 * target - Math.log(Math.max(1, -4 * Math.PI * target))));
	for (let i = 0; i < 100; i++) {
		const tail = logNormalTail(y);
		const step = (tail - target) * SQRT_TAU * Math.exp(tail + (y * y) / 2);
		y += step;
		if (Math.abs(step) <= 1e-14 * Math.max(1, y)) break;
	}
	return -y;
}

/**
 * The mu at which mu-Gaussian differential privacy is just (epsilon, delta)-DP.
 * @throws AlthingError `audit.bad_argument` unless epsilon >= 0 and 0 < delta < 1
 */
export function gaussianMu(epsilon: number, delta: number): number {
	if (!(epsilon >= 0 && epsilon < Number.POSITIVE_INFINITY && delta > 0 && delta < 1)) {
		throw new AlthingError(
			"audit.bad_argument",
			`There is no Gaussian mechanism of epsilon ${epsilon} and delta ${delta}: epsilon is at least 0 and delta strictly between 0 and 1.`,
		);
	}
	return 1 / gaussianNoiseMultiplier(epsilon, delta);
}

/** The epsilon at delta of mu-Gaussian differential privacy; 0 for mu <= 0. */
export function epsilonOfMu(mu: number, delta: number): number {
	return mu > 0 ? gaussianEpsilon(1 / mu, delta) : 0;
}
