/**
 * The audit from one run against a whole trade-off curve (Mahloujifar, Melis, Chaudhuri 2024,
 * "Auditing f-differential privacy in one run", arXiv 2410.22235, Algorithm 2): closer to the
 * truth than the bound for (epsilon, delta) alone, because a curve says more than one point of it.
 */
import { requireSignificance } from "./clopperPearson.ts";
import { gaussianMu, normalCdf, normalQuantile } from "./gaussianTradeoff.ts";
import { type Guesses, largestRefuted, requireGuesses } from "./oneRun.ts";

/**
 * A symmetric trade-off curve, as its inverse: the smallest false-positive rate with which a
 * test of membership can have this true-positive rate. Increasing, at most its argument.
 */
export type LeastFalsePositiveRate = (truePositiveRate: number) => number;

/**
 * Whether that many right guesses have a probability below `significance` for every mechanism
 * with this trade-off curve.
 * @throws AlthingError `audit.bad_argument`
 */
export function refutesTradeoff(
	guesses: Guesses,
	leastFalsePositiveRate: LeastFalsePositiveRate,
	significance: number,
): boolean {
	requireGuesses(guesses, 0);
	requireSignificance(significance);
	const { canaries, guesses: total, correct } = guesses;
	if (total === 0) return false;
	// r and h bound, per canary, the mass of right and of wrong guesses among the outcomes with at
	// least i right ones; the recursion runs i down to 0, where both together are total / canaries.
	let right = (significance * correct) / canaries;
	let wrong = (significance * (total - correct)) / canaries;
	for (let i = correct - 1; i >= 0; i--) {
		const atLeast = Math.max(wrong, leastFalsePositiveRate(right));
		// Nothing moves any more: the remaining steps would repeat this one.
		if (atLeast === wrong) break;
		right = Math.min(1, right + (i / (total - i)) * (atLeast - wrong));
		wrong = atLeast;
	}
	return right + wrong > total / canaries;
}

/**
 * The epsilon at `delta` of the largest Gaussian trade-off curve that the run refutes, with
 * confidence 1 - significance; 0 when nothing can be said.
 *
 * It refutes Gaussian curves. As a bound on epsilon of a mechanism it is meaningful where the
 * mechanism's curve is Gaussian or close to it, such as many composed rounds; a violation of
 * another claim is shown by {@link refutesTradeoff} with that claim's own curve.
 * @param delta in (0, 1)
 * @throws AlthingError `audit.bad_argument`
 */
export function oneRunGaussianEpsilonLower(guesses: Guesses, delta: number, significance: number): number {
	return largestRefuted((epsilon) =>
		refutesTradeoff(guesses, gaussianLeastFalsePositiveRate(gaussianMu(epsilon, delta)), significance),
	);
}

/** The curve of N(0, 1) against N(mu, 1). */
export function gaussianLeastFalsePositiveRate(mu: number): LeastFalsePositiveRate {
	return (truePositiveRate) => normalCdf(normalQuantile(truePositiveRate) - mu);
}
