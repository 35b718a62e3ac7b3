/**
 * The random number of trials of private tuning (Papernot, Steinke 2022, Defs. 1 and 2), sampled
 * exactly: not knowing how many trials there were is what hides which of them a record decided.
 *
 * Truncated negative binomial of shape eta and parameter gamma: P[K = k] proportional to
 * (1 - gamma)^k prod_{l=1}^{k-1} (l + eta) / (l + 1) on k >= 1. For eta <= 1 every factor of the
 * product is at most 1, so K is a geometric number, accepted if one coin for each factor says so: all
 * of it coins of rational probability. eta = 1 is the geometric law, eta = 0 the logarithmic one.
 *
 * Running time depends on the number drawn, as the trials' does by far: their duration is the
 * site's secret.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { RepeatAndSelectEvent } from "../accounting/events.ts";
import { truncatedNegativeBinomialGamma } from "../accounting/rdp/repeatAndSelect.ts";
import { poisson } from "../samplers/poisson.ts";
import type { RandomWords } from "../samplers/randomWords.ts";
import { exactFraction, type Rational } from "../samplers/rational.ts";

export type TrialLaw = Pick<RepeatAndSelectEvent, "meanTrials" | "shape">;

/**
 * A sampler of the number of trials; 0 is possible with the Poisson law alone.
 * @throws AlthingError `privacy.bad_event` for a law that does not exist, or of a shape above 1
 */
export function trialCount({ meanTrials, shape }: TrialLaw): (words: RandomWords) => number {
	if (shape === "poisson") return poisson(meanTrials);
	if (shape > 1) {
		throw new AlthingError(
			"privacy.bad_event",
			`Numbers of trials are drawn here for shapes up to 1, not ${shape}: larger ones cost more privacy for the same mean.`,
		);
	}
	// A little more than the accountant's gamma: its bounds cover every larger one.
	const gamma = Math.min(1, truncatedNegativeBinomialGamma(shape, meanTrials) * (1 + 1e-12));
	const stop = exactFraction(gamma);
	const eta = exactFraction(Math.abs(shape));
	const signed = shape < 0 ? -eta.numerator : eta.numerator;
	return (words) => {
		for (;;) {
			let count = 1;
			while (!coin(stop, words)) count += 1;
			if (survives(count, { numerator: signed, denominator: eta.denominator }, words)) return count;
		}
	};
}

/** One coin of probability (l + eta) / (l + 1) for each l from 1 to count - 1. */
function survives(count: number, eta: Rational, words: RandomWords): boolean {
	for (let l = 1n; l < BigInt(count); l++) {
		const numerator = l * eta.denominator + eta.numerator;
		const denominator = (l + 1n) * eta.denominator;
		if (!coin({ numerator, denominator }, words)) return false;
	}
	return true;
}

function coin({ numerator, denominator }: Rational, words: RandomWords): boolean {
	return words.below(denominator) < numerator;
}
