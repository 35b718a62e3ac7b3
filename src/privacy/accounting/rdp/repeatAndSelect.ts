/**
 * The best of a random, secret number of runs (Papernot, Steinke 2022).
 *
 * Only the selected output may be released, and the number of runs K must stay secret.
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { RepeatAndSelectEvent } from "../events.ts";
import { logDeltaAtOrders } from "./conversion.ts";
import { log1pExp, logExpm1 } from "./mechanisms.ts";

/** Law of the number of runs. */
export type Trials = Pick<RepeatAndSelectEvent, "meanTrials" | "shape">;

/**
 * RDP of the selection from the RDP of one run, at the same orders (ascending, > 1).
 *
 * Truncated negative binomial of shape eta and parameter gamma (Thm. 2):
 * r'(a) = r(a) + log E[K] / (a-1) + (1 + eta) min over b of ((1 - 1/b) r(b) - log(gamma) / b).
 * Poisson (Thm. 6), E[K] >= 1: r'(a) = r(a) + E[K] delta(a) + log E[K] / (a-1), where one run is
 * (log(1 + 1/(a-1)), delta(a))-DP. For E[K] < 1 that leaves out the outcome "no run at all", and
 * would be negative: {@link rarelyRun}.
 * RDP does not decrease with the order, so a bound at a higher order holds at every lower one.
 * @throws AlthingError `privacy.bad_event` for a law that does not exist
 */
export function repeatAndSelectRdp(
	curve: Float64Array,
	trials: Trials,
	orders: readonly number[],
): Float64Array {
	const { meanTrials, shape } = trials;
	let perOrder: (rdp: number, order: number) => number;
	if (shape === "poisson") {
		requireMean(meanTrials, 0);
		perOrder = (rdp, order) => {
			const failure = Math.exp(logDeltaAtOrders(curve, Math.log1p(1 / (order - 1)), orders).logDelta);
			return meanTrials < 1
				? rarelyRun(rdp, order, meanTrials, failure)
				: rdp + meanTrials * failure + Math.log(meanTrials) / (order - 1);
		};
	} else {
		const logInverseGamma = logInverseGammaOf(shape, meanTrials);
		let least = Number.POSITIVE_INFINITY;
		for (const [i, order] of orders.entries()) {
			least = Math.min(least, (1 - 1 / order) * curve[i]! + logInverseGamma / order);
		}
		perOrder = (rdp, order) => rdp + (1 + shape) * least + Math.log(meanTrials) / (order - 1);
	}
	const selected = Float64Array.from(orders, (order, i) => perOrder(curve[i]!, order));
	for (let i = selected.length - 2; i >= 0; i--) selected[i] = Math.min(selected[i]!, selected[i + 1]!);
	return selected;
}

/**
 * A Poisson number of runs with m = E[K] < 1, K = 0 included as an outcome of its own. With q, q' the
 * distribution functions of one run's ranked output under both data sets, the moment of order a is
 * e^-m + integral of m e^(m h) dq^a dq'^(1-a), h = a q - (a-1) q' - 1. As x^a >= 1 + a (x - 1), the measure
 * V = dq^a dq'^(1-a) - dh is nonnegative; its total is e^((a-1) r) - 1, m e^(m h) dh integrates to
 * 1 - e^-m, and h <= (a-1) delta(a). So the moment is at most
 *
 *     1 + m e^(m (a-1) delta(a)) (e^((a-1) r) - 1),
 *
 * for any m, and for m >= 1 no more than Thm. 6 says.
 */
function rarelyRun(rdp: number, order: number, meanTrials: number, failure: number): number {
	const logExcess = Math.log(meanTrials) + meanTrials * (order - 1) * failure + logExpm1((order - 1) * rdp);
	return log1pExp(logExcess) / (order - 1);
}

/**
 * What is charged to delta beside the curve when every single run is charged `slackDelta`: any of
 * the K runs may fail, E[K] of them on average.
 */
export function repeatedSlackDelta(meanTrials: number, slackDelta: number): number {
	return meanTrials * slackDelta;
}

/**
 * gamma of the truncated negative binomial of that shape and mean (Papernot, Steinke 2022, Def. 1),
 * from below: a smaller gamma has the larger bound.
 * @param shape eta > -1
 * @param mean > 1, of E[K] = eta (1/gamma - 1) / (1 - gamma^eta), (1/gamma - 1) / log(1/gamma) at eta = 0
 * @throws AlthingError `privacy.bad_event` for a law that does not exist
 */
export function truncatedNegativeBinomialGamma(shape: number, mean: number): number {
	return Math.exp(-logInverseGammaOf(shape, mean));
}

function logInverseGammaOf(shape: number, mean: number): number {
	if (!(shape > -1 && shape < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_event",
			`The shape of a number of runs must be above -1, not ${shape}.`,
		);
	}
	requireMean(mean, 1);
	// In L = log(1/gamma) the mean is increasing from 1 at L = 0 on.
	let low = 0;
	let high = 1;
	while (meanOf(shape, high) < mean) {
		low = high;
		high *= 2;
	}
	while (high - low > 1e-14 * high) {
		const middle = (low + high) / 2;
		if (middle === low || middle === high) break;
		if (meanOf(shape, middle) < mean) low = middle;
		else high = middle;
	}
	return high;
}

/** E[K] at gamma = e^-L, L > 0. */
function meanOf(shape: number, logInverseGamma: number): number {
	const failures = Math.expm1(logInverseGamma);
	if (shape === 0) return failures / logInverseGamma;
	return (shape * failures) / -Math.expm1(-shape * logInverseGamma);
}

function requireMean(mean: number, above: number): void {
	if (!(mean > above && mean < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_event",
			`The mean number of runs must be above ${above}, not ${mean}.`,
		);
	}
}
