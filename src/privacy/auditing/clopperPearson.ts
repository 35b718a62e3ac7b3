/** Exact confidence bounds on a probability from a count (Clopper, Pearson 1934). */
import { AlthingError } from "../../../crypto/error.ts";
import { logBinomialLowerTail } from "./binomial.ts";

/**
 * The upper bound p: k or fewer successes out of n have probability `significance` at p, so the
 * true probability exceeds it with probability at most `significance`.
 * @param k successes, an integer in [0, n]
 * @param n trials, an integer >= 1
 * @param significance in (0, 1)
 * @throws AlthingError `audit.bad_argument` for a value out of range
 */
export function clopperPearsonUpper(k: number, n: number, significance: number): number {
	if (!Number.isSafeInteger(n) || n < 1 || !Number.isSafeInteger(k) || k < 0 || k > n) {
		throw new AlthingError("audit.bad_argument", `${k} successes out of ${n} trials are no count.`);
	}
	requireSignificance(significance);
	if (k === n) return 1;
	const logSignificance = Math.log(significance);
	// The tail falls as the odds rise; +-750 are probabilities next to the ends of the doubles.
	let inside = -750;
	let outside = 750;
	for (let i = 0; i < 80; i++) {
		const middle = (inside + outside) / 2;
		if (logBinomialLowerTail(k, n, middle) > logSignificance) inside = middle;
		else outside = middle;
	}
	return 1 / (1 + Math.exp(-outside));
}

/** The lower bound: the true probability is below it with probability at most `significance`. @see clopperPearsonUpper */
export function clopperPearsonLower(k: number, n: number, significance: number): number {
	return 1 - clopperPearsonUpper(n - k, n, significance);
}

/** @throws AlthingError `audit.bad_argument` unless 0 < significance < 1 */
export function requireSignificance(significance: number): void {
	if (significance > 0 && significance < 1) return;
	throw new AlthingError(
		"audit.bad_argument",
		`The significance must be strictly between 0 and 1, not ${significance}.`,
	);
}
