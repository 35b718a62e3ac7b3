/**
 * Probabilities and moments of the noise laws, in doubles (relative 1e-12): for checking samplers
 * and for stating standard errors, never for drawing noise.
 */

/** A law on the integers that is symmetric around 0. */
export interface SymmetricLaw {
	/** P[X = x] = P[X = -x] for x = 0, 1, ..; what is left out is below 1e-20 of the whole. */
	readonly pmf: Float64Array;
	readonly variance: number;
	/** E[X^4] */
	readonly fourthMoment: number;
}

/** N_Z(0, sigma2). @param sigma2 > 0: the parameter, not the variance, which is a little less for small ones */
export function discreteGaussianMoments(sigma2: number): SymmetricLaw {
	const count = Math.ceil(Math.sqrt(2 * 60 * sigma2)) + 20;
	return lawOf(Float64Array.from({ length: count }, (_, x) => Math.exp(-(x * x) / (2 * sigma2))));
}

/** P[X = x] proportional to exp(-|x| / scale). @param scale > 0 */
export function discreteLaplaceMoments(scale: number): SymmetricLaw {
	const count = Math.ceil(60 * scale) + 20;
	return lawOf(Float64Array.from({ length: count }, (_, x) => Math.exp(-x / scale)));
}

/**
 * The difference of two Poisson variables of mean variance / 2: P[X = x] = exp(-v) I_x(v). The
 * ratios I_(x+1) / I_x come from the downward recurrence, which is stable (Miller).
 * @param variance v > 0
 */
export function skellamMoments(variance: number): SymmetricLaw {
	// Skellam tails are heavier than normal ones: at t they fall like exp(-t asinh(t / v) + ..).
	const count = Math.ceil(12 * Math.sqrt(variance)) + 60;
	const ratios = new Float64Array(count);
	let ratio = 0;
	for (let x = 2 * count; x >= 1; x--) {
		// I_x / I_(x-1) = v / (2 x + v I_(x+1) / I_x).
		ratio = variance / (2 * x + variance * ratio);
		if (x < count) ratios[x] = ratio;
	}
	const weights = new Float64Array(count);
	weights[0] = 1;
	for (let x = 1; x < count; x++) weights[x] = weights[x - 1]! * ratios[x]!;
	return lawOf(weights);
}

/** Normalizes weights of x = 0, 1, .., each but the first counting twice; sums the small ones first. */
function lawOf(weights: Float64Array): SymmetricLaw {
	let total = 0;
	let second = 0;
	let fourth = 0;
	for (let x = weights.length - 1; x >= 1; x--) {
		const weight = 2 * weights[x]!;
		total += weight;
		second += weight * x * x;
		fourth += weight * x ** 4;
	}
	total += weights[0]!;
	return {
		pmf: weights.map((weight) => weight / total),
		variance: second / total,
		fourthMoment: fourth / total,
	};
}
