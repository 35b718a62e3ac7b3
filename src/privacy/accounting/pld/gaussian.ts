/**
 * Closed forms of the Gaussian mechanism and of one Poisson-subsampled Gaussian step: exact, so no
 * discretisation is ever spent on them. Noise multiplier: standard deviation over L2 sensitivity.
 */
import { logNormalTail } from "./normal.ts";
import { decreasingRoot } from "./root.ts";

/**
 * log of the least delta of Gaussian noise at `epsilon` >= 0 (Balle, Wang 2018, Thm. 8):
 * delta = Phi(1/(2z) - epsilon z) - e^epsilon Phi(-1/(2z) - epsilon z), in logarithms, so that 1e-300
 * and less keep their digits.
 */
export function gaussianLogDelta(noiseMultiplier: number, epsilon: number): number {
	const half = 0.5 / noiseMultiplier;
	const shift = epsilon * noiseMultiplier;
	const first = logNormalTail(shift - half);
	const second = epsilon + logNormalTail(shift + half);
	if (second >= first) return Number.NEGATIVE_INFINITY;
	return first + log1mExp(second - first);
}

/** Least epsilon >= 0 of Gaussian noise at `delta` in (0, 1). Relative accuracy 1e-12. */
export function gaussianEpsilon(noiseMultiplier: number, delta: number): number {
	const logDelta = Math.log(delta);
	if (gaussianLogDelta(noiseMultiplier, 0) <= logDelta) return 0;
	// zCDP: epsilon <= rho + 2 sqrt(rho log(1/delta)) with rho = 1/(2 z^2) (Bun, Steinke 2016).
	const rho = 0.5 / (noiseMultiplier * noiseMultiplier);
	const most = rho + 2 * Math.sqrt(-rho * logDelta);
	return decreasingRoot(
		(epsilon) => gaussianLogDelta(noiseMultiplier, epsilon) - logDelta,
		0,
		most * (1 + 1e-9),
	);
}

/** Least noise multiplier with (epsilon, delta)-DP, epsilon >= 0, delta in (0, 1). Relative accuracy 1e-12. */
export function gaussianNoiseMultiplier(epsilon: number, delta: number): number {
	const logDelta = Math.log(delta);
	const excess = (logMultiplier: number): number =>
		gaussianLogDelta(Math.exp(logMultiplier), epsilon) - logDelta;
	let low = 0;
	let high = 0;
	while (excess(high) > 0) high += 2;
	while (excess(low) <= 0) low -= 2;
	return Math.exp(decreasingRoot(excess, low, high));
}

/**
 * log delta of one Poisson-subsampled Gaussian step. At epsilon >= 0 the direction in which the record
 * is removed dominates (Zhu, Dong, Wang 2022, Thm. 11): delta = q deltaGaussian(log(1 + (e^epsilon - 1)/q)).
 */
export function sampledGaussianLogDelta(
	samplingProbability: number,
	noiseMultiplier: number,
	epsilon: number,
): number {
	return (
		Math.log(samplingProbability) +
		gaussianLogDelta(noiseMultiplier, unsampledLoss(samplingProbability, epsilon))
	);
}

/** Least epsilon of one Poisson-subsampled Gaussian step: the inverse of {@link sampledGaussianLogDelta}. */
export function sampledGaussianEpsilon(
	samplingProbability: number,
	noiseMultiplier: number,
	delta: number,
): number {
	if (delta >= samplingProbability) return 0;
	return sampledLoss(samplingProbability, gaussianEpsilon(noiseMultiplier, delta / samplingProbability));
}

/** log(1 - q + q e^loss), without overflow or cancellation: the loss of a sampled record whose unsampled loss is `loss`. */
export function sampledLoss(samplingProbability: number, loss: number): number {
	if (samplingProbability === 1) return loss;
	return loss > 30
		? loss + Math.log(samplingProbability + (1 - samplingProbability) * Math.exp(-loss))
		: Math.log1p(samplingProbability * Math.expm1(loss));
}

/** The inverse of {@link sampledLoss}; -Infinity from log(1 - q) downwards, where no loss leads. */
export function unsampledLoss(samplingProbability: number, loss: number): number {
	if (samplingProbability === 1) return loss;
	if (loss > 30) {
		return loss - Math.log(samplingProbability) + Math.log1p(-(1 - samplingProbability) * Math.exp(-loss));
	}
	const ratio = Math.expm1(loss) / samplingProbability;
	return ratio <= -1 ? Number.NEGATIVE_INFINITY : Math.log1p(ratio);
}

/** log(1 - e^x) for x < 0. */
function log1mExp(x: number): number {
	return x > -Math.LN2 ? Math.log(-Math.expm1(x)) : Math.log1p(-Math.exp(x));
}
