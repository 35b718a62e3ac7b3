/**
 * What an accountant claims of an event, as a trade-off curve: how rarely a test of membership
 * can be wrong about outsiders if it is right about members this often.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { deltaBounds, epsilonBounds } from "../accounting/accountant.ts";
import type { PrivacyEvent } from "../accounting/events.ts";
import type { LeastFalsePositiveRate } from "./oneRunTradeoff.ts";

/** The curve is made of so many claims (epsilon, delta): more of them make it tighter, none makes it wrong. */
const CLAIMS = 33;
/** Claims reach up to the epsilon at this delta: beyond it lie rates no audit can measure. */
const LEAST_DELTA = 1e-7;

/** One (epsilon, delta) that a mechanism satisfies. */
export interface PrivacyClaim {
	readonly epsilon: number;
	readonly delta: number;
}

/**
 * The curve that claims imply together: with every (epsilon, delta), TPR <= e^epsilon FPR + delta
 * and 1 - FPR <= e^epsilon (1 - TPR) + delta (Wasserman, Zhou 2010; Kairouz, Oh, Viswanath 2015).
 * @throws AlthingError `audit.bad_argument`
 */
export function curveOfClaims(claims: readonly PrivacyClaim[]): LeastFalsePositiveRate {
	// Not a number would compare as "no violation".
	if (!claims.every(({ epsilon, delta }) => epsilon >= 0 && delta >= 0 && delta <= 1)) {
		throw new AlthingError(
			"audit.bad_argument",
			"A claim is an epsilon of at least 0 and a delta in [0, 1].",
		);
	}
	return (truePositiveRate) => {
		let least = 0;
		for (const { epsilon, delta } of claims) {
			least = Math.max(
				least,
				(truePositiveRate - delta) * Math.exp(-epsilon),
				1 - delta - (1 - truePositiveRate) * Math.exp(epsilon),
			);
		}
		return least;
	};
}

/**
 * The accountant's claims about an event at a range of epsilons.
 * @throws AlthingError `privacy.unsupported_event`
 */
export function claimsOf(event: PrivacyEvent): PrivacyClaim[] {
	const largest = epsilonBounds(event, LEAST_DELTA).upper;
	return Array.from({ length: CLAIMS }, (_, i) => {
		// Quadratic spacing: the middle of the curve, where rates are measured, is made of small epsilons.
		const epsilon = largest * (i / (CLAIMS - 1)) ** 2;
		return { epsilon, delta: Math.min(1, deltaBounds(event, epsilon).upper) };
	});
}
