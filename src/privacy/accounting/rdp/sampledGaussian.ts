/**
 * Moments of the Poisson-subsampled Gaussian at any real order, by quadrature.
 *
 * Where the series of Mironov, Talwar and Zhang (2019, sec. 3.3) alternates in sign and stalls,
 * the integral is harmless: with u = q (e^((2x-1)/(2 s^2)) - 1), E_Q[u] = 0, so the moment less one is
 * E_Q[(1 + u)^a - 1 - a u], whose integrand is never negative and is analytic in a strip
 * |Im x| < pi s^2. The trapezoidal rule converges there like e^(-2 pi (strip) / step).
 */
import { sampledLoss } from "../pld/gaussian.ts";
import { log1pExp, logBregman } from "./mechanisms.ts";

/** Standard deviations of Q, and of Q shifted to where the integrand peaks, that are left out: under e^-72. */
const TAIL = 12;

/**
 * log E_Q[((1-q) + q P/Q)^a] with Q = N(0, s^2), P = N(1, s^2).
 * @param samplingProbability q in (0, 1)
 * @param noiseMultiplier s > 0
 * @param order a, real and > 1
 */
export function sampledGaussianMoment(
	samplingProbability: number,
	noiseMultiplier: number,
	order: number,
): number {
	const s = noiseMultiplier;
	// In units of s the strip has half width pi s: the rule's error is under e^-39 of the result, either way.
	const step = Math.min(0.4, s / 2);
	const from = -TAIL;
	const count = Math.ceil((order / s + 2 * TAIL) / step);
	let largest = Number.NEGATIVE_INFINITY;
	const logValues = new Float64Array(count + 1);
	for (let i = 0; i <= count; i++) {
		const z = from + i * step;
		const value = logBregman(sampledLoss(samplingProbability, z / s - 1 / (2 * s * s)), order) - (z * z) / 2;
		logValues[i] = value;
		if (value > largest) largest = value;
	}
	// A sampling probability whose square is below the smallest double.
	if (largest === Number.NEGATIVE_INFINITY) return 0;
	let sum = 0;
	for (const value of logValues) sum += Math.exp(value - largest);
	return log1pExp(largest + Math.log((sum * step) / Math.sqrt(2 * Math.PI)));
}
