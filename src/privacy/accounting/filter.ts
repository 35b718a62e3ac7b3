/**
 * When to stop, if every mechanism's parameters may be chosen from the outputs before it.
 *
 * The order that gives the best epsilon of a composition may not be picked afterwards: which
 * one is best depends on the parameters, and these on the outputs. So the filter bets on
 * all orders at once, with weights w_i fixed beforehand.
 *
 * Theorem. Let R_t(a) be the sum of the RDP curves of the first t mechanisms, each chosen
 * from the outputs before it, and let every mechanism t be run only if R_t satisfies
 *
 *     (1 - e^(epsilon - L))+ <= delta sum_i w_i e^((a_i - 1) (L - R_t(a_i)))   for every real L   (*)
 *
 * with weights w_i >= 0 of sum 1. Then all the outputs together are (epsilon, delta)-DP.
 *
 * Proof. Take neighbours, P and Q the laws of the outputs under them, L_t the log-likelihood
 * ratio of the first t outputs under P. W_t = sum_i w_i e^((a_i - 1) (L_t - R_t(a_i))) has W_0 = 1,
 * and given the past the t-th output multiplies its i-th term by a variable of mean at most 1:
 * that is what an RDP bound says, E_P[e^((a-1) l)] = E_Q[(P/Q)^a] <= e^((a-1) r(a)), and the
 * parameters, thus r, are fixed by the past. So W is a nonnegative supermartingale and
 * E_P[W_T] <= 1 wherever the run stops. By (*), E_P[(1 - e^(epsilon - L_T))+] <= delta E_P[W_T] <= delta,
 * and the left side is the hockey-stick divergence of P from Q. The curves hold for Q from P too. []
 *
 * One order with weight 1 is the filter of Feldman and Zrnic (2021); the method of
 * mixtures is that of Whitehouse, Ramdas, Rogers and Wu (2023).
 */
import { AlthingError } from "../../../crypto/error.ts";
import { RDP_ORDERS, type RdpCurve, requireDelta } from "./rdp.ts";

export interface FilterLimits {
	/** > 0. */
	readonly epsilonLimit: number;
	/** In (0, 1), with what is charged to delta beside the curves. */
	readonly deltaLimit: number;
}

/** Part of delta kept for what is charged beside the curves: it has to be fixed beforehand, too. */
const SLACK_SHARE = 2 ** -10;

/** Shape of the weights over log(order - 1): standard deviations below and above the center, density elsewhere. */
const WIDTH_BELOW = 0.5;
const WIDTH_ABOVE = 0.1;
const WEIGHT_ANYWHERE = 0.002;

/** Refinements of the bound; each one is valid, the last ones change nothing visible. */
const REFINEMENTS = 6;

/** The same for the linear bound, whose shares start further off. */
const LINEAR_REFINEMENTS = 30;

/** The stopping rule of one account. Holds no state but its limits. */
export class RdpFilter {
	readonly epsilonLimit: number;
	/** What all deltas beside the curves may sum up to. */
	readonly slackLimit: number;
	/** w_i over {@link RDP_ORDERS}, of sum 1. */
	readonly weights: Float64Array;
	readonly #logInverseDelta: number;
	readonly #logWeights: Float64Array;

	/** @throws AlthingError `privacy.bad_target`, `privacy.bad_delta` for limits out of range */
	constructor({ epsilonLimit, deltaLimit }: FilterLimits) {
		if (!(epsilonLimit > 0 && epsilonLimit < Number.POSITIVE_INFINITY)) {
			throw new AlthingError(
				"privacy.bad_target",
				`The limit on epsilon must be positive and finite, not ${epsilonLimit}.`,
			);
		}
		requireDelta(deltaLimit);
		this.epsilonLimit = epsilonLimit;
		this.slackLimit = deltaLimit * SLACK_SHARE;
		this.#logInverseDelta = -Math.log(deltaLimit * (1 - SLACK_SHARE));
		this.weights = weightsFor(epsilonLimit, this.#logInverseDelta);
		this.#logWeights = this.weights.map(Math.log);
	}

	/**
	 * Whether `addition` may still be run after `spent`: both curves over all that was and will
	 * be charged to the account, never refunded for what was released.
	 * @param slackDelta all that is charged to delta beside the curves, the addition's included
	 */
	fits(spent: RdpCurve, addition: RdpCurve, slackDelta = 0): boolean {
		if (!(slackDelta <= this.slackLimit)) return false;
		const total = spent.map((value, i) => value + addition[i]!);
		return this.epsilonOf(total) <= this.epsilonLimit;
	}

	/** The least limit on epsilon under which this filter would have let `spent` pass. */
	epsilonOf(spent: RdpCurve): number {
		if (spent.every((value) => value === 0)) return 0;
		// For any shares p_i of sum 1 the weighted mean inequality bounds the sum in (*) from below by
		// prod_i (c_i / p_i)^(p_i) e^(b x), b = sum_i p_i (a_i - 1), x = L - epsilon: one term, whose
		// worst x is log(1 + 1/b). The best single order is where to start.
		let mean = Number.NaN;
		let epsilon = Number.POSITIVE_INFINITY;
		for (let i = 0; i < RDP_ORDERS.length; i++) {
			const b = RDP_ORDERS[i]! - 1;
			const candidate = spent[i]! + (this.#logInverseDelta + logWorst(b) - this.#logWeights[i]!) / b;
			if (candidate < epsilon) {
				epsilon = candidate;
				mean = b;
			}
		}
		const exponents = new Float64Array(RDP_ORDERS.length);
		for (let round = 0; round < REFINEMENTS && epsilon < Number.POSITIVE_INFINITY; round++) {
			const x = Math.log1p(1 / mean);
			let largest = Number.NEGATIVE_INFINITY;
			for (let i = 0; i < exponents.length; i++) {
				const exponent = this.#logWeights[i]! + (RDP_ORDERS[i]! - 1) * (epsilon - spent[i]! + x);
				exponents[i] = exponent;
				if (exponent > largest) largest = exponent;
			}
			let sum = 0;
			let weighted = 0;
			let information = 0;
			for (let i = 0; i < exponents.length; i++) {
				const b = RDP_ORDERS[i]! - 1;
				const share = Math.exp(exponents[i]! - largest);
				if (share === 0) continue;
				sum += share;
				weighted += share * b;
				information += share * (exponents[i]! - largest - this.#logWeights[i]! + b * spent[i]!);
			}
			mean = weighted / sum;
			const refined = (this.#logInverseDelta + logWorst(mean) + information / sum - Math.log(sum)) / mean;
			if (!(refined < epsilon)) break;
			epsilon = refined;
		}
		return Math.max(0, epsilon);
	}

	/**
	 * A bound that adds up: {@link epsilonOf} of any curve is at most constant + sum_i slopes_i curve_i,
	 * and hardly less near the one given. With fixed shares p_i the weighted mean inequality above
	 * is linear in the curve.
	 * @param near not all zero
	 */
	linearBound(near: RdpCurve): { readonly constant: number; readonly slopes: Float64Array } {
		const epsilon = this.epsilonOf(near);
		let mean = this.weights.reduce((sum, weight, i) => sum + weight * (RDP_ORDERS[i]! - 1), 0);
		let shares = this.weights;
		for (let round = 0; round < LINEAR_REFINEMENTS; round++) {
			const x = Math.log1p(1 / mean);
			const exponents = this.#logWeights.map(
				(logWeight, i) => logWeight + (RDP_ORDERS[i]! - 1) * (epsilon - near[i]! + x),
			);
			const largest = exponents.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
			const terms = exponents.map((exponent) => Math.exp(exponent - largest));
			const sum = terms.reduce((total, term) => total + term, 0);
			shares = terms.map((term) => term / sum);
			mean = shares.reduce((total, share, i) => total + share * (RDP_ORDERS[i]! - 1), 0);
		}
		const information = shares.reduce(
			(total, share, i) => (share === 0 ? total : total + share * (Math.log(share) - this.#logWeights[i]!)),
			0,
		);
		return {
			constant: (this.#logInverseDelta + logWorst(mean) + information) / mean,
			slopes: shares.map((share, i) => (share * (RDP_ORDERS[i]! - 1)) / mean),
		};
	}
}

/** log of the largest (1 - e^-x) e^(-b x) over x > 0: b^b / (1 + b)^(1 + b). */
function logWorst(b: number): number {
	return -b * Math.log1p(1 / b) - Math.log1p(b);
}

/**
 * Weights w_i over {@link RDP_ORDERS}: most on the order b + 1 that is best for Gaussian noise
 * which exhausts the limits, and on those somewhat below, where subsampled noise has its best
 * order; a little on all others. Any weights are valid; these cost 3 % of epsilon in the median
 * over common training runs.
 */
function weightsFor(epsilon: number, logInverseDelta: number): Float64Array {
	let center = 1;
	let largestRho = Number.NEGATIVE_INFINITY;
	for (const order of RDP_ORDERS) {
		const b = order - 1;
		const rho = (epsilon - (logInverseDelta + logWorst(b)) / b) / order;
		if (rho > largestRho) {
			largestRho = rho;
			center = b;
		}
	}
	const weights = Float64Array.from(RDP_ORDERS, (order, i) => {
		const b = order - 1;
		const spacing = Math.log(((RDP_ORDERS[i + 1] ?? order * 1.25) - 1) / b);
		const distance = Math.log(b / center) / (b < center ? WIDTH_BELOW : WIDTH_ABOVE);
		return spacing * (Math.exp((-distance * distance) / 2) + WEIGHT_ANYWHERE);
	});
	const total = weights.reduce((sum, weight) => sum + weight, 0);
	return weights.map((weight) => weight / total);
}
