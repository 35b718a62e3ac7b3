/**
 * Renyi divergence of single mechanisms, under adding or removing one record.
 *
 * What is computed is the excess E_Q[(P/Q)^a] - 1, as a sum of terms of one sign wherever a
 * closed form allows: the moment itself is 1 + 1e-15 for weak mechanisms, and the logarithm of
 * that has no digits left.
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { DiscreteLaplaceEvent, MechanismEvent, PrivacyEvent, SkellamEvent } from "../events.ts";

/** Largest sensitivity for which the discrete Laplace moment is summed loss by loss. */
const LARGEST_SUMMED_SENSITIVITY = 256;

/**
 * RDP of order `order` of one mechanism, both directions.
 * @param order real, > 1 (for Skellam noise the next integer is used, where its theorem is stated)
 * @throws AlthingError `privacy.bad_order` for an order out of range
 */
export function mechanismRdp(event: MechanismEvent, order: number): number {
	if (!(order > 1 && order < Number.POSITIVE_INFINITY)) {
		throw new AlthingError("privacy.bad_order", `RDP orders are finite numbers above 1, not ${order}.`);
	}
	switch (event.kind) {
		case "gaussian":
			return order / (2 * event.noiseMultiplier * event.noiseMultiplier);
		case "laplace":
			return laplaceRdp(1 / event.scale, order);
		case "permuteAndFlip":
			return laplaceRdp(event.epsilon, order);
		case "discreteGaussian":
			// Canonne, Kamath, Steinke 2020, Thm. 4: (S^2 / (2 sigma^2))-zCDP.
			return (order * event.sensitivity * event.sensitivity) / (2 * event.sigma * event.sigma);
		case "discreteLaplace":
			return discreteLaplaceRdp(event, order);
		case "skellam":
			return skellamRdp(event, order);
		case "randomizedResponse": {
			const { categories: k, noiseProbability: p } = event;
			return twoPointRdp(Math.log1p((k * (1 - p)) / p), k, order);
		}
		case "pureDp":
			return twoPointRdp(event.epsilon, 2, order);
		case "boundedRange":
			return boundedRangeRdp(event.epsilon, order);
		case "zeroConcentrated":
			return event.rho * order;
		default:
			throw new AlthingError(
				"privacy.unsupported_event",
				`"${(event as PrivacyEvent).kind}" is not a single mechanism with a known Renyi bound. Sample or compose each mechanism by itself.`,
			);
	}
}

/** log(1 + e^x) without overflow. */
export function log1pExp(x: number): number {
	return x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x));
}

/** log(e^x - 1) for x > 0, without overflow. */
export function logExpm1(x: number): number {
	return x > 30 ? x + Math.log1p(-Math.exp(-x)) : Math.log(Math.expm1(x));
}

/** e^x - 1 - x, never negative, with relative precision for small x. */
function expm1MinusX(x: number): number {
	if (Math.abs(x) > 0.5) return Math.expm1(x) - x;
	let term = (x * x) / 2;
	let sum = 0;
	for (let k = 3; Math.abs(term) > 1e-18 * sum; k++) {
		sum += term;
		term *= x / k;
	}
	return sum;
}

/**
 * Laplace noise: (epsilon, 0)-DP exactly. Mironov 2017, Prop. 6, rearranged: the moment less one is
 * (a f((a-1) epsilon) + (a-1) f(-a epsilon)) / (2a-1), f(x) = e^x - 1 - x.
 */
function laplaceRdp(epsilon: number, order: number): number {
	const down = order - 1;
	if (down * epsilon > 30) {
		const inner =
			Math.log(order / (2 * order - 1)) + Math.log1p((down / order) * Math.exp(-(2 * order - 1) * epsilon));
		return epsilon + inner / down;
	}
	const excess =
		(order * expm1MinusX(down * epsilon) + down * expm1MinusX(-order * epsilon)) / (2 * order - 1);
	return Math.log1p(excess) / down;
}

/**
 * Two outcomes exchanged, k - 2 others untouched; with k = 2 the worst (epsilon, 0)-DP pair
 * (Kairouz, Oh, Viswanath 2015). Moment less one: (e^(a epsilon) - 1) (1 - e^(-(a-1) epsilon)) / (e^epsilon + k - 1).
 */
function twoPointRdp(epsilon: number, categories: number, order: number): number {
	if (epsilon === 0) return 0;
	const logTotal = epsilon + Math.log1p((categories - 1) * Math.exp(-epsilon));
	const logExcess = logExpm1(order * epsilon) + Math.log(-Math.expm1(-(order - 1) * epsilon)) - logTotal;
	return log1pExp(logExcess) / (order - 1);
}

/**
 * Range of the privacy loss at most epsilon: the divergence of order 1 is at most
 * x - 1 - log x, x = epsilon / (e^epsilon - 1), and grows by at most
 * epsilon^2 / 8 per order (Hoeffding's lemma; Cesar, Rogers 2021). Never above epsilon.
 */
function boundedRangeRdp(epsilon: number, order: number): number {
	const perOrder = (epsilon * epsilon) / 8;
	// Below 1e-3 what it is less than epsilon^2 / 8 is under 1e-7 of it, and lost in rounding.
	let first = perOrder;
	if (epsilon >= 1e-3) {
		const less = expm1MinusX(epsilon) / Math.expm1(epsilon);
		first = less < 1 ? -less - Math.log1p(-less) : epsilon;
	}
	return Math.min(epsilon, first + (order - 1) * perOrder);
}

/**
 * Agarwal, Kairouz, Liu 2021, Thm. 3.5, stated for integer orders; the divergence does not
 * decrease with the order, so the next integer bounds those between.
 */
function skellamRdp(event: SkellamEvent, order: number): number {
	const a = Math.ceil(order);
	const { variance, l1Sensitivity: l1, l2Sensitivity: l2 } = event;
	const gaussianPart = (a * l2 * l2) / (2 * variance);
	const correction = Math.min(
		((2 * a - 1) * l2 * l2 + 6 * l1) / (4 * variance * variance),
		(3 * l1) / (2 * variance),
	);
	return gaussianPart + correction;
}

/**
 * The moment of N and N + S, N with P(k) proportional to e^(-|k|/t), summed over the losses
 * -S/t, (2x - S)/t for 0 < x < S, S/t. As E_Q[P/Q - 1] = 0, the excess is
 * E_Q[e^(a L) - 1 - a (e^L - 1)], no term of which is negative. For a large S, which
 * takes noise far larger still, the bound of any (S/t)-DP mechanism: the same to first order in S/t.
 */
function discreteLaplaceRdp(event: DiscreteLaplaceEvent, order: number): number {
	const { scale, sensitivity } = event;
	const pure = sensitivity / scale;
	if (sensitivity > LARGEST_SUMMED_SENSITIVITY) return twoPointRdp(pure, 2, order);
	const p = Math.exp(-1 / scale);
	const logEnd = -Math.log1p(p);
	const logInside = Math.log(-Math.expm1(-1 / scale)) + logEnd;
	let logExcess = logTerm(logEnd, -pure, order);
	logExcess = logAdd(logExcess, logTerm(logEnd - pure, pure, order));
	for (let x = 1; x < sensitivity; x++) {
		logExcess = logAdd(logExcess, logTerm(logInside - x / scale, (2 * x - sensitivity) / scale, order));
	}
	return log1pExp(logExcess) / (order - 1);
}

/** log of mass x (e^(a L) - 1 - a (e^L - 1)); -Infinity for L = 0. */
function logTerm(logMass: number, loss: number, order: number): number {
	return logMass + logBregman(loss, order);
}

/**
 * log(e^(a L) - 1 - a (e^L - 1)) for a > 1, -Infinity at L = 0: convex in e^L with a double zero at L = 0.
 */
export function logBregman(loss: number, order: number): number {
	const u = Math.expm1(loss);
	if (Math.abs(order * loss) < 0.5 && Math.abs(u) < 0.5) {
		// sum over k >= 2 of binomial(a, k) u^k
		let term = (order * (order - 1) * u * u) / 2;
		let sum = 0;
		for (let k = 3; Math.abs(term) > 1e-18 * sum; k++) {
			sum += term;
			term *= ((order - k + 1) * u) / k;
		}
		return Math.log(sum);
	}
	const power = order * loss;
	if (power > 30) {
		return power + Math.log1p((order - 1) * Math.exp(-power) - order * Math.exp(loss - power));
	}
	return Math.log(Math.expm1(power) - order * u);
}

/** log(e^x + e^y). */
export function logAdd(x: number, y: number): number {
	const larger = Math.max(x, y);
	if (larger === Number.NEGATIVE_INFINITY) return larger;
	return larger + Math.log1p(Math.exp(-Math.abs(x - y)));
}
