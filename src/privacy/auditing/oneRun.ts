/**
 * A lower bound on epsilon from one run of the mechanism (Steinke, Nasr, Jagielski 2023,
 * "Privacy auditing with one training run", arXiv 2305.08846, Theorem 3.1 and its delta term).
 *
 * m canaries are put into the training data independently with probability 1/2; the auditor
 * guesses for some of them whether they were. Under (epsilon, delta)-DP no guesser, however
 * clever, is right more often than the bound below.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { logBinomialMass, logBinomialUpperTail } from "./binomial.ts";
import { requireSignificance } from "./clopperPearson.ts";

export interface Guesses {
	/** m: canaries whose membership was a fair coin. */
	readonly canaries: number;
	/** r: how many of them were guessed, at most m. */
	readonly guesses: number;
	/** v: guesses that were right. */
	readonly correct: number;
}

/**
 * Probability, at most, of that many right guesses or more if the run is (epsilon, delta)-DP:
 * P[Bin(r, p) >= v] + 2 m delta max_i (P[Bin >= v - i] - P[Bin >= v]) / i, p = 1 / (1 + e^-epsilon).
 * @param epsilon >= 0
 * @param delta in [0, 1)
 * @throws AlthingError `audit.bad_argument`
 */
export function oneRunPValue(guesses: Guesses, epsilon: number, delta: number): number {
	requireGuesses(guesses, delta);
	const { canaries, guesses: total, correct } = guesses;
	const beta = Math.exp(logBinomialUpperTail(correct, total, epsilon));
	if (delta === 0 || correct === 0) return beta;
	// The masses below v, added downwards: their running mean falls for good once a mass is below it,
	// because the masses rise to the mode and fall from there.
	let sum = 0;
	let largest = 0;
	let logMass = logBinomialMass(correct - 1, total, epsilon);
	for (let i = 1; i <= correct; i++) {
		const mass = Math.exp(logMass);
		if (mass < largest) break;
		sum += mass;
		largest = Math.max(largest, sum / i);
		const k = correct - i;
		logMass += Math.log(k / (total - k + 1)) - epsilon;
	}
	return Math.min(1, beta + 2 * canaries * delta * largest);
}

/**
 * The largest epsilon (to 1e-9, rounded down) at which the run is not (epsilon, delta)-DP, with
 * confidence 1 - significance; 0 when nothing can be said. The guesses' number must not have
 * been chosen by their outcome.
 * @throws AlthingError `audit.bad_argument`
 */
export function oneRunEpsilonLower(guesses: Guesses, delta: number, significance: number): number {
	requireSignificance(significance);
	return largestRefuted((epsilon) => oneRunPValue(guesses, epsilon, delta) < significance);
}

/** The largest epsilon found refuted, by doubling and bisection; a refuted epsilon refutes every smaller one. */
export function largestRefuted(refuted: (epsilon: number) => boolean): number {
	if (!refuted(0)) return 0;
	let low = 0;
	let high = 1;
	while (refuted(high)) {
		low = high;
		high *= 2;
		if (high > 1024) return low;
	}
	while (high - low > 1e-9 * Math.max(1, low)) {
		const middle = (low + high) / 2;
		if (refuted(middle)) low = middle;
		else high = middle;
	}
	return low;
}

/** @throws AlthingError `audit.bad_argument` */
export function requireGuesses({ canaries, guesses, correct }: Guesses, delta: number): void {
	const counts = [canaries, guesses, correct].every((count) => Number.isSafeInteger(count) && count >= 0);
	if (counts && guesses <= canaries && correct <= guesses && delta >= 0 && delta < 1) return;
	throw new AlthingError(
		"audit.bad_argument",
		`${correct} right out of ${guesses} guesses about ${canaries} canaries at delta ${delta} are no result of an audit.`,
		{ canaries, guesses, correct, delta },
	);
}
