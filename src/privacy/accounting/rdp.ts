/**
 * Renyi differential privacy at integer orders: the bound the ledger charges with.
 *
 * Only integer orders, because they are what is proven for integer noise: for integer k
 * the shift kD of a lattice Gaussian stays on the lattice, so the moments of the
 * Poisson-subsampled discrete Gaussian equal those of the continuous one
 * (src/privacy/README.md has the argument).
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { Adjacency } from "./adjacency.ts";
import type { PrivacyEvent } from "./events.ts";

/** The orders alpha at which every curve is evaluated: dense where epsilon is large, sparse where it is tiny. */
export const RDP_ORDERS: readonly number[] = [
	...Array.from({ length: 255 }, (_, i) => i + 2),
	...[288, 320, 384, 448, 512, 640, 768, 896, 1024, 1536, 2048, 3072, 4096],
];

/** Renyi divergence bound per entry of {@link RDP_ORDERS}, both directions of add/remove. */
export type RdpCurve = Float64Array;

/** Covers the rounding of the sums below (relative error under 1e-11), always upwards. */
const ROUNDING = 1 + 1e-10;

/**
 * The RDP curve of an event; composition adds, per order (Mironov 2017, Prop. 1).
 * @throws AlthingError `privacy.unsupported_event` for sampling of anything but a Gaussian
 */
export function rdpOf(event: PrivacyEvent, adjacency: Adjacency = "addRemove"): RdpCurve {
	if (adjacency !== "addRemove") {
		throw new AlthingError(
			"privacy.unsupported_event",
			`No Renyi bound is known here under "${adjacency}".`,
			{ adjacency },
		);
	}
	switch (event.kind) {
		case "gaussian":
			return Float64Array.from(RDP_ORDERS, (order) => gaussianRdp(event.noiseMultiplier, order) * ROUNDING);
		case "poissonSampled": {
			const inner = event.event;
			if (inner.kind !== "gaussian") {
				throw new AlthingError(
					"privacy.unsupported_event",
					`Amplification by Poisson sampling is proven here for a single Gaussian mechanism, not for "${inner.kind}". Sample each mechanism by itself.`,
				);
			}
			return subsampledCurve(event.samplingProbability, inner.noiseMultiplier);
		}
		case "selfComposed":
			return rdpOf(event.event).map((value) => value * event.count);
		case "composed": {
			const total = new Float64Array(RDP_ORDERS.length);
			for (const part of event.events) {
				const curve = rdpOf(part);
				for (let i = 0; i < total.length; i++) total[i]! += curve[i]!;
			}
			return total;
		}
		default:
			throw new AlthingError(
				"privacy.unsupported_event",
				`No Renyi bound is known here for "${event.kind}".`,
				{ kind: event.kind },
			);
	}
}

/** RDP of order alpha of Gaussian noise z per unit of sensitivity: alpha / (2 z^2). */
function gaussianRdp(noiseMultiplier: number, order: number): number {
	return order / (2 * noiseMultiplier * noiseMultiplier);
}

/**
 * RDP of the Poisson-subsampled Gaussian at one integer order (Mironov, Talwar, Zhang 2019,
 * sec. 3.3): log A / (alpha - 1) with
 * A = sum_i C(alpha, i) (1-q)^(alpha-i) q^i exp((i^2 - i) / (2 z^2)).
 *
 * The terms i = 0, 1 have exponent 0, so A - 1 = sum_{i >= 2} C q^i (1-q)^(alpha-i) expm1(...):
 * all positive, no cancellation, relative precision even where A - 1 is 1e-15.
 * @param samplingProbability q in (0, 1]
 * @param order an integer >= 2
 */
export function subsampledGaussianRdp(
	samplingProbability: number,
	noiseMultiplier: number,
	order: number,
): number {
	if (!Number.isSafeInteger(order) || order < 2) {
		throw new AlthingError("privacy.bad_order", `RDP orders are integers from 2 upwards, not ${order}.`);
	}
	if (samplingProbability === 1) return gaussianRdp(noiseMultiplier, order);
	const logQ = Math.log(samplingProbability);
	const logNotQ = Math.log1p(-samplingProbability);
	const logTerms = new Float64Array(order + 1);
	let largest = Number.NEGATIVE_INFINITY;
	let logChoose = Math.log(order);
	for (let i = 2; i <= order; i++) {
		logChoose += Math.log((order - i + 1) / i);
		const exponent = (i * (i - 1)) / (2 * noiseMultiplier * noiseMultiplier);
		// log(expm1(x)) without overflow for large x.
		const logExpm1 =
			exponent > 30 ? exponent + Math.log1p(-Math.exp(-exponent)) : Math.log(Math.expm1(exponent));
		const logTerm = logChoose + i * logQ + (order - i) * logNotQ + logExpm1;
		logTerms[i] = logTerm;
		if (logTerm > largest) largest = logTerm;
	}
	let scaledSum = 0;
	for (let i = 2; i <= order; i++) scaledSum += Math.exp(logTerms[i]! - largest);
	const logExcess = largest + Math.log(scaledSum);
	const logA =
		logExcess > 30 ? logExcess + Math.log1p(Math.exp(-logExcess)) : Math.log1p(Math.exp(logExcess));
	return logA / (order - 1);
}

const curveCache = new Map<string, RdpCurve>();
const CURVE_CACHE_SIZE = 256;

function subsampledCurve(samplingProbability: number, noiseMultiplier: number): RdpCurve {
	const key = `${samplingProbability}|${noiseMultiplier}`;
	let curve = curveCache.get(key);
	if (curve === undefined) {
		curve = Float64Array.from(RDP_ORDERS, (order) =>
			// Sampling never hurts: the unsampled bound caps what rounding could add.
			Math.min(
				subsampledGaussianRdp(samplingProbability, noiseMultiplier, order) * ROUNDING,
				gaussianRdp(noiseMultiplier, order) * ROUNDING,
			),
		);
		if (curveCache.size >= CURVE_CACHE_SIZE) curveCache.delete(curveCache.keys().next().value!);
		curveCache.set(key, curve);
	}
	return curve.slice();
}

/** Epsilon at a delta, and the order that gave it. */
export interface EpsilonBound {
	readonly epsilon: number;
	readonly order: number;
}

/**
 * Smallest epsilon over the orders such that the curve implies (epsilon, delta)-DP:
 * r + log1p(-1/a) - log(delta a)/(a-1) (Canonne, Kamath, Steinke 2020, Prop. 12).
 * @param delta in (0, 1)
 * @throws AlthingError `privacy.bad_delta` outside the range
 */
export function epsilonFromRdp(curve: RdpCurve, delta: number): EpsilonBound {
	requireDelta(delta);
	let best: EpsilonBound = { epsilon: Number.POSITIVE_INFINITY, order: RDP_ORDERS[0]! };
	for (const [i, order] of RDP_ORDERS.entries()) {
		const epsilon = epsilonAtOrder(curve[i]!, order, delta);
		if (epsilon < best.epsilon) best = { epsilon, order };
	}
	return best;
}

function epsilonAtOrder(rdp: number, order: number, delta: number): number {
	// KL <= RDP of any order > 1, and TV <= sqrt(1 - exp(-KL)) (Bretagnolle-Huber): (0, delta)-DP already.
	if (delta * delta > -Math.expm1(-rdp)) return 0;
	return Math.max(0, rdp + Math.log1p(-1 / order) - Math.log(delta * order) / (order - 1));
}

/** Delta at an epsilon, and the order that gave it. */
export interface DeltaBound {
	readonly delta: number;
	readonly order: number;
}

/**
 * Smallest delta over the orders such that the curve implies (epsilon, delta)-DP: the
 * inverse of {@link epsilonFromRdp}.
 * @param epsilon >= 0
 * @throws AlthingError `privacy.bad_epsilon` outside the range
 */
export function deltaFromRdp(curve: RdpCurve, epsilon: number): DeltaBound {
	if (!(epsilon >= 0)) {
		throw new AlthingError("privacy.bad_epsilon", `Epsilon must be at least 0, not ${epsilon}.`, { epsilon });
	}
	let best: DeltaBound = { delta: 1, order: RDP_ORDERS[0]! };
	for (const [i, order] of RDP_ORDERS.entries()) {
		const rdp = curve[i]!;
		const converted = Math.exp((order - 1) * (rdp - epsilon + Math.log1p(-1 / order)) - Math.log(order));
		const delta = Math.min(converted, Math.sqrt(-Math.expm1(-rdp)));
		if (delta < best.delta) best = { delta, order };
	}
	return best;
}

/** {@link epsilonFromRdp} of an event's curve. */
export function epsilonOf(event: PrivacyEvent, delta: number): number {
	return epsilonFromRdp(rdpOf(event), delta).epsilon;
}

/** @throws AlthingError `privacy.bad_delta` unless delta is in (0, 1) */
export function requireDelta(delta: number): void {
	if (!(delta > 0 && delta < 1)) {
		throw new AlthingError("privacy.bad_delta", `Delta must be strictly between 0 and 1, not ${delta}.`, {
			delta,
		});
	}
}
