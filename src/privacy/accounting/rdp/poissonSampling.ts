/**
 * Renyi divergence under secret Poisson sampling, adding or removing one record.
 *
 * With P, Q the output laws with and without the record, sampling it with probability q turns P
 * into (1-q) Q + q P. (The other records' sampling is a mixture over the same batches on both
 * sides; the divergence is jointly quasi-convex.)
 *
 * Removing: E_Q[((1-q) + q P/Q)^a] = sum_l C(a, l) (1-q)^(a-l) q^l E_Q[(P/Q)^l] at integer a, and
 * E_Q[(P/Q)^l] <= e^((l-1) r(l)) for any mechanism.
 * Adding, Q against (1-q) Q + q P: no larger if some measure-preserving map exchanges P and Q
 * (Mironov, Talwar, Zhang 2019, Thm. 5). So it is for noise symmetric about 0 (x -> shift - x,
 * on the integers too) and for mechanisms dominated by a pair that can be exchanged
 * (Zhu, Dong, Wang 2022, Thm. 11 carries domination through the sampling).
 * Otherwise the general theorem: a factor 3 on the terms l >= 3 (Zhu, Wang 2019, Thm. 5).
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { MechanismEvent } from "../events.ts";
import { log1pExp, logExpm1, mechanismRdp } from "./mechanisms.ts";
import { sampledGaussianMoment } from "./sampledGaussian.ts";

/** With less noise the integral takes long, and epsilon is in the hundreds anyway: the interpolated bound does. */
const LEAST_INTEGRATED_MULTIPLIER = 0.1;

/** log of the moments of the unsampled mechanism: l -> (l - 1) r(l), integer l >= 2. */
export type LogMoment = (order: number) => number;

/** What multiplies the terms l >= 3: 1 with a proof of symmetry, 3 for any mechanism. */
export type TermFactor = 1 | 3;

/**
 * RDP of `event` on a Poisson sample, at each of `orders` (ascending, > 1); never above the
 * unsampled one.
 * @param samplingProbability in (0, 1]
 * @throws AlthingError `privacy.unsupported_event` for randomized response, which has no batch
 */
export function poissonSampledRdp(
	event: MechanismEvent,
	samplingProbability: number,
	orders: readonly number[],
): Float64Array {
	if (event.kind === "randomizedResponse") {
		throw new AlthingError(
			"privacy.unsupported_event",
			"Randomized response answers for one record; there is no batch to sample it into. Charge it unsampled.",
		);
	}
	const unsampled = Float64Array.from(orders, (order) => mechanismRdp(event, order));
	if (samplingProbability === 1) return unsampled;
	const noiseMultiplier = gaussianMultiplier(event);
	const atInteger = integerOrderBound(
		samplingProbability,
		noiseMultiplier === undefined
			? (l) => (l - 1) * mechanismRdp(event, l)
			: (l) => (l * (l - 1)) / (2 * noiseMultiplier * noiseMultiplier),
		event.kind === "zeroConcentrated" || event.kind === "boundedRange" ? 3 : 1,
		Math.ceil(orders.at(-1) ?? 2),
	);
	const isIntegrated = event.kind === "gaussian" && event.noiseMultiplier >= LEAST_INTEGRATED_MULTIPLIER;
	return Float64Array.from(orders, (order, i) => {
		const logMoment =
			isIntegrated && !Number.isInteger(order)
				? sampledGaussianMoment(samplingProbability, event.noiseMultiplier, order)
				: interpolated(atInteger, order);
		return Math.min(unsampled[i]!, logMoment / (order - 1));
	});
}

/** Multiplier of the Gaussian that has the same moments at integer orders, if there is one. */
function gaussianMultiplier(event: MechanismEvent): number | undefined {
	if (event.kind === "gaussian") return event.noiseMultiplier;
	// E_Q[(P/Q)^l] of a lattice Gaussian shifted by an integer: l times the shift stays on the lattice.
	return event.kind === "discreteGaussian" ? event.sigma / event.sensitivity : undefined;
}

/**
 * The log-moment is convex in the order and 0 at order 1, so a bound at the two integers around
 * bounds it between them (Wang, Balle, Kasiviswanathan 2019, Cor. 10).
 */
export function interpolated(atInteger: LogMoment, order: number): number {
	const below = Math.floor(order);
	if (below === order) return atInteger(order);
	const share = order - below;
	return (below === 1 ? 0 : (1 - share) * atInteger(below)) + share * atInteger(below + 1);
}

/**
 * log of the bound on the sampled moment, at integer orders from 2 to `largestOrder`.
 *
 * As sum_l C(a, l) (1-q)^(a-l) q^l = 1, the bound less 1 is the sum over l >= 2 of
 * C(a, l) (1-q)^(a-l) q^l (factor_l e^(m_l) - 1): nonnegative terms, so relative precision even
 * where it is 1e-15. (Terms 0 and 1 have moment 1 exactly.)
 */
export function integerOrderBound(
	samplingProbability: number,
	logMoment: LogMoment,
	factor: TermFactor,
	largestOrder: number,
): LogMoment {
	const logQ = Math.log(samplingProbability);
	const logNotQ = Math.log1p(-samplingProbability);
	const logFactorials = logFactorialsTo(largestOrder);
	// Everything of a term that does not depend on the order.
	const ofTerm = new Float64Array(largestOrder + 1);
	for (let l = 2; l <= largestOrder; l++) {
		const moment = logMoment(l);
		const weighted = l >= 3 && factor === 3 ? moment + Math.log(3 - Math.exp(-moment)) : logExpm1(moment);
		ofTerm[l] = weighted + l * (logQ - logNotQ) - logFactorials[l]!;
	}
	return (order) => {
		let largest = Number.NEGATIVE_INFINITY;
		for (let l = 2; l <= order; l++) {
			const logTerm = ofTerm[l]! - logFactorials[order - l]!;
			if (logTerm > largest) largest = logTerm;
		}
		if (largest === Number.NEGATIVE_INFINITY) return 0;
		let sum = 0;
		for (let l = 2; l <= order; l++) sum += Math.exp(ofTerm[l]! - logFactorials[order - l]! - largest);
		return log1pExp(largest + Math.log(sum) + logFactorials[order]! + order * logNotQ);
	};
}

/** log n! for n = 0 .. largest; summed with compensation, so that each is right to its last digits. */
export function logFactorialsTo(largest: number): Float64Array {
	const values = new Float64Array(largest + 1);
	let sum = 0;
	let lost = 0;
	for (let n = 2; n <= largest; n++) {
		const term = Math.log(n) - lost;
		const next = sum + term;
		lost = next - sum - term;
		sum = next;
		values[n] = sum;
	}
	return values;
}
