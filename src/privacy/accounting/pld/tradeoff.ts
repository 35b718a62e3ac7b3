/** What an attacker can do: the most true positives at a rate of false ones, from the privacy-loss distribution. */
import { AlthingError } from "../../../../crypto/error.ts";
import type { PrivacyEvent } from "../events.ts";
import { type PldOptions, pldEpsilon } from "./index.ts";

/** Deltas at which the trade-off curve is bounded by a line each; more lines are a closer bound. */
const DELTAS = Array.from({ length: 150 }, (_, i) => 10 ** (-9 + (9 * i) / 149)).filter((delta) => delta < 1);

/**
 * For each false positive rate a bound on the true positive rate of any test whether a record was there.
 * (epsilon, delta)-DP allows at most delta + e^epsilon fpr, and by exchange of the hypotheses
 * 1 - e^-epsilon (1 - delta - fpr) (Wasserman, Zhou 2010; Kairouz, Oh, Viswanath 2015); the least over many
 * deltas holds.
 * @param falsePositiveRates each in [0, 1]
 * @throws AlthingError `privacy.bad_rate`, and as `pldEpsilon`
 */
export function tradeoffFromPld(
	event: PrivacyEvent,
	falsePositiveRates: readonly number[],
	options: PldOptions = {},
): number[] {
	if (!falsePositiveRates.every((rate) => rate >= 0 && rate <= 1)) {
		throw new AlthingError("privacy.bad_rate", "A false positive rate is a number from 0 to 1.");
	}
	const lines = DELTAS.map((delta) => ({ delta, epsilon: pldEpsilon(event, delta, options).upper }));
	return falsePositiveRates.map((rate) => {
		let most = 1;
		for (const { delta, epsilon } of lines) {
			most = Math.min(most, delta + Math.exp(epsilon) * rate, 1 - Math.exp(-epsilon) * (1 - delta - rate));
		}
		return most;
	});
}
