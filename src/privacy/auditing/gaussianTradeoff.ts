/** The normal distribution as far as audits need it, and Gaussian differential privacy (Dong, Roth, Su 2022). */
import { AlthingError } from "../../../crypto/error.ts";

const SQRT_TAU = Math.sqrt(2 * Math.PI);

/** log P[Z > x], Z standard normal, with relative accuracy of the tail near 1e-14. */
export function logNormalUpperTail(x: number): number {
	if (x < 0) return Math.log1p(-Math.exp(logNormalUpperTail(-x)));
	if (x < 3) {
		// P[0 < Z < x] = phi(x) (x + x^3/3 + x^5/15 + ...): all terms positive.
		let term = x;
		let sum = x;
		for (let k = 3; term > 1e-17 * sum; k += 2) {
			term *= (x * x) / k;
			sum += term;
		}
		return Math.log(0.5 - (sum * Math.exp((-x * x) / 2)) / SQRT_TAU);
	}
	// Mills' ratio by Laplace's continued fraction x + 1/(x + 2/(x + 3/...)), from the back.
	let fraction = x;
	for (let k = 120; k >= 1; k--) fraction = x + k / fraction;
	return (-x * x) / 2 - Math.log(fraction * SQRT_TAU);
}

export function normalCdf(x: number): number {
	return Math.exp(logNormalUpperTail(-x));
}

/** The x with P[Z <= x] = p; -Infinity and Infinity at 0 and 1. */
export function normalQuantile(p: number): number {
	if (p <= 0) return Number.NEGATIVE_INFINITY;
	if (p >= 1) return Number.POSITIVE_INFINITY;
	if (p > 0.5) return -normalQuantile(1 - p);
	if (p === 0.5) return 0;
	// Newton on log P[Z > y] = log p for y = -x > 0: convex there, so it converges from the start below.
	const target = Math.log(p);
	let y = Math.sqrt(Math.max(0, -2 * target - Math.log(Math.max(1, -4 * Math.PI * target))));
	for (let i = 0; i < 100; i++) {
		const tail = logNormalUpperTail(y);
		// The derivative of the log tail is -phi(y) / tail.
		const slope = Math.exp((-y * y) / 2 - tail) / SQRT_TAU;
		const step = (tail - target) / slope;
		y += step;
		if (Math.abs(step) <= 1e-15 * Math.max(1, y)) break;
	}
	return -y;
}

/** delta of mu-Gaussian differential privacy at epsilon (Balle, Wang 2018). @param mu > 0 */
export function gaussianDelta(mu: number, epsilon: number): number {
	const first = logNormalUpperTail(epsilon / mu - mu / 2);
	const second = epsilon + logNormalUpperTail(epsilon / mu + mu / 2);
	return second >= first ? 0 : Math.exp(first) * -Math.expm1(second - first);
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
	let low = 0;
	let high = 1;
	while (gaussianDelta(high, epsilon) < delta) {
		low = high;
		high *= 2;
	}
	for (let i = 0; i < 100 && high - low > 1e-15 * high; i++) {
		const middle = (low + high) / 2;
		if (gaussianDelta(middle, epsilon) < delta) low = middle;
		else high = middle;
	}
	return low;
}
