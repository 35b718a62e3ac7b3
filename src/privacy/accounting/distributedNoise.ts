/**
 * Published accounting of noise added in shares to integers, under secure aggregation: the
 * distributed discrete Gaussian (Kairouz, Liu, Steinke 2021) and the distributed Skellam mechanism
 * (Agarwal, Kairouz, Liu 2021), with the general bound for sampling (Zhu, Wang 2019).
 *
 * Rounds of a job are not charged this way: `integerNoise.ts` proves a tighter charge for the same shares.
 * These are the figures of the papers, to compare with and to size an encoding by.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { mechanismRdp } from "./rdp/mechanisms.ts";
import { integerOrderBound } from "./rdp/poissonSampling.ts";
import { epsilonFromRdp } from "./rdp.ts";

/** The integer orders of the papers' accountant; sampled bounds exist at integers only. */
const DISTRIBUTED_ORDERS: readonly number[] = [...Array.from({ length: 127 }, (_, i) => i + 2), 256];

/** A vector of real coordinates, clipped, scaled by 1 / granularity and rounded to integers at random. */
export interface RoundedVector {
	/** Coordinates, after any padding: an integer >= 1. */
	readonly length: number;
	/** L2 norm before rounding, real units, > 0. */
	readonly clippingNorm: number;
	/** Real units per integer unit, > 0. */
	readonly granularity: number;
	/** Rounding is repeated until the norm bound holds, which each time it does with probability 1 - beta at least; in [0, 1), 0: never repeated. */
	readonly beta: number;
}

/** How often, and on what part of the clients or records, it is released. */
export interface Releases {
	/** Of Poisson sampling, in (0, 1]. */
	readonly samplingProbability: number;
	/** An integer >= 1. */
	readonly steps: number;
}

/**
 * Bound on the L2 norm after rounding, in the units of `norm`'s integers
 * (Kairouz, Liu, Steinke 2021, Thm. 1): min(x + sqrt d, sqrt(x^2 + d/4 + sqrt(2 log(1/beta)) (x + sqrt(d)/2))).
 * @param norm x > 0, before rounding, in integer units
 * @param length d, an integer >= 1
 * @param beta in [0, 1)
 */
export function roundedL2Norm(norm: number, length: number, beta: number): number {
	if (!(norm > 0 && Number.isSafeInteger(length) && length >= 1 && beta >= 0 && beta < 1)) {
		throw new AlthingError(
			"privacy.bad_event",
			`A rounded vector needs a positive norm, a length from 1 upwards and beta in [0, 1), not ${norm}, ${length} and ${beta}.`,
		);
	}
	const always = norm + Math.sqrt(length);
	if (beta === 0) return always;
	const repeated = norm * norm + length / 4 + Math.sqrt(-2 * Math.log(beta)) * (norm + Math.sqrt(length) / 2);
	return Math.min(always, Math.sqrt(repeated));
}

/** Norms of the rounded vector, in integer units; |v|_1 <= |v|_2^2 for integers. */
function roundedNorms(vector: RoundedVector): { l1: number; l2: number } {
	const l2 = roundedL2Norm(vector.clippingNorm / vector.granularity, vector.length, vector.beta);
	return { l1: l2 * Math.min(Math.sqrt(vector.length), l2), l2 };
}

/**
 * Epsilon of the sum of `clients` shares N_Z(0, sigma^2) on rounded vectors, by RDP
 * (Kairouz, Liu, Steinke 2021, Prop. 14; tau: Thm. 5's distance of the sum to one discrete Gaussian).
 * @param localStandardDeviation sigma of one share, real units
 */
export function distributedDiscreteGaussianEpsilon(
	vector: RoundedVector,
	shares: { readonly clients: number; readonly localStandardDeviation: number },
	releases: Releases,
	delta: number,
): number {
	const { clients } = shares;
	const { length } = vector;
	const sigma = shares.localStandardDeviation / vector.granularity;
	let tau = 0;
	for (let k = 1; k < clients; k++) tau += 10 * Math.exp((-2 * Math.PI ** 2 * sigma ** 2 * k) / (k + 1));
	const norms = roundedNorms(vector);
	const l1 = norms.l1 / (Math.sqrt(clients) * sigma);
	const l2 = norms.l2 / (Math.sqrt(clients) * sigma);
	const perOrder = Math.min(l2 * l2 + 2 * l1 * tau + tau * tau * length, (l2 + Math.sqrt(length) * tau) ** 2);
	const rdp = (order: number): number =>
		Math.min((order / 2) * l2 * l2 + tau * length, (order / 2) * perOrder);
	return sampledEpsilon(rdp, releases, delta);
}

/**
 * Epsilon of Skellam noise on rounded vectors, by RDP (Agarwal, Kairouz, Liu 2021, Thm. 3.5).
 * Skellam noise is closed under sums: only the total counts.
 * @param centralStandardDeviation of all shares together, real units
 */
export function distributedSkellamEpsilon(
	vector: RoundedVector,
	centralStandardDeviation: number,
	releases: Releases,
	delta: number,
): number {
	const { l1, l2 } = roundedNorms(vector);
	const variance = (centralStandardDeviation / vector.granularity) ** 2;
	const event = { kind: "skellam", variance, l1Sensitivity: l1, l2Sensitivity: l2 } as const;
	return sampledEpsilon((order) => mechanismRdp(event, order), releases, delta);
}

function sampledEpsilon(rdp: (order: number) => number, releases: Releases, delta: number): number {
	const { samplingProbability, steps } = releases;
	const sampled =
		samplingProbability === 1
			? undefined
			: integerOrderBound(samplingProbability, (l) => (l - 1) * rdp(l), 3, DISTRIBUTED_ORDERS.at(-1)!);
	const curve = Float64Array.from(DISTRIBUTED_ORDERS, (order) => {
		const amplified = sampled === undefined ? Number.POSITIVE_INFINITY : sampled(order) / (order - 1);
		return steps * Math.min(rdp(order), amplified);
	});
	return epsilonFromRdp(curve, delta, DISTRIBUTED_ORDERS).epsilon;
}

/** What is asked of an encoding of `bits` bits a coordinate. */
export interface EncodingTarget extends Releases {
	readonly epsilon: number;
	readonly delta: number;
	readonly bits: number;
	readonly clients: number;
	readonly length: number;
	readonly clippingNorm: number;
	readonly beta: number;
	/** Standard deviations of the noisy sum that fit into the ring on either side, > 0. */
	readonly windowDeviations: number;
}

/** Real units per integer unit, and the standard deviation of a share in real units. */
export interface DiscreteGaussianEncoding {
	readonly granularity: number;
	readonly localStandardDeviation: number;
}

/**
 * Finest granularity whose noisy sum, a rotated one of n clients, still fits into the ring:
 * 2^bits = 2 k sqrt(c^2 n^2 / d + (granularity^2 / 4 + sigma^2) n) / granularity, sigma being what the target
 * needs at that granularity (Kairouz, Liu, Steinke 2021, sec. 4.2 and 4.4).
 * @throws AlthingError `privacy.unreachable_target` when no granularity fits
 */
export function discreteGaussianEncoding(target: EncodingTarget): DiscreteGaussianEncoding {
	const { bits, clients, length, clippingNorm, windowDeviations } = target;
	const room = (granularity: number): number => {
		const sigma = leastLocalDeviation(target, granularity);
		const variance = (clippingNorm * clients) ** 2 / length + (granularity ** 2 / 4 + sigma ** 2) * clients;
		return Math.log((2 ** bits * granularity) / (2 * windowDeviations * Math.sqrt(variance)));
	};
	// Below this granularity not even the signal fits.
	let low = (2 * windowDeviations * clippingNorm * clients) / (Math.sqrt(length) * 2 ** bits);
	let high = 2 * low;
	while (room(high) < 0) {
		low = high;
		high *= 2;
		if (high > 1e6 * clippingNorm) {
			throw new AlthingError(
				"privacy.unreachable_target",
				`${bits} bits a coordinate are too few for ${clients} clients. Use more bits or fewer clients.`,
				{ bits, clients },
			);
		}
	}
	while (high > low * (1 + 1e-9)) {
		const middle = Math.sqrt(low * high);
		if (room(middle) < 0) low = middle;
		else high = middle;
	}
	return { granularity: high, localStandardDeviation: leastLocalDeviation(target, high) };
}

/** Least standard deviation of a share that meets the target at a granularity, from the safe side. */
function leastLocalDeviation(target: EncodingTarget, granularity: number): number {
	const meets = (localStandardDeviation: number): boolean =>
		distributedDiscreteGaussianEpsilon(
			{ ...target, granularity },
			{ clients: target.clients, localStandardDeviation },
			target,
			target.delta,
		) <= target.epsilon;
	let high = target.clippingNorm;
	while (!meets(high)) high *= 2;
	let low = high / 2;
	while (meets(low)) {
		high = low;
		low /= 2;
	}
	while (high > low * (1 + 1e-10)) {
		const middle = Math.sqrt(low * high);
		if (meets(middle)) high = middle;
		else low = middle;
	}
	return high;
}
