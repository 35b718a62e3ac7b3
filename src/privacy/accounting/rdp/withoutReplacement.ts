/**
 * Gaussian noise on a batch of fixed size, drawn uniformly without replacement.
 *
 * Only under replacing one record: under adding or removing one, the batch size over the number
 * of records changes with the data, and no such bound holds. It is also far weaker than Poisson
 * sampling's (Lebeda, Regehr, Kamath, Steinke 2024), which must not be charged for it.
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { Adjacency } from "../adjacency.ts";
import { log1pExp, logAdd, logExpm1 } from "./mechanisms.ts";
import { interpolated, logFactorialsTo } from "./poissonSampling.ts";

/** Above it only the first bound of each term: the second costs a quadrature a term. */
const LARGEST_CENTRED_ORDER = 256;

/** One release of a sum over a fixed-size batch. */
export interface FixedBatch {
	/** Batch size over number of records, in (0, 1]. */
	readonly samplingFraction: number;
	/** Standard deviation over the L2 change when one record of the batch is replaced, > 0. */
	readonly noiseMultiplier: number;
}

/**
 * RDP at each of `orders` (ascending, > 1). Wang, Balle, Kasiviswanathan 2019, Thm. 27: with
 * B(l) = E_Q[(P/Q - 1)^l], the moment of order a is at most
 *
 *     1 + C(a,2) g^2 min(4 (e^(r(2)) - 1), 2 e^(r(2))) + sum_(l >= 3) C(a,l) g^l min(4 sqrt(B(2 floor(l/2)) B(2 ceil(l/2))), 2 e^((l-1) r(l))).
 *
 * @param adjacency must be "replaceOne"
 * @throws AlthingError `privacy.unsupported_event` for adding or removing a record, `privacy.bad_event` for parameters out of range
 */
export function withoutReplacementRdp(
	batch: FixedBatch,
	adjacency: Adjacency,
	orders: readonly number[],
): Float64Array {
	const { samplingFraction, noiseMultiplier } = batch;
	if (adjacency !== "replaceOne") {
		throw new AlthingError(
			"privacy.unsupported_event",
			"A batch of fixed size is bounded only against replacing one record. Sample by Poisson, or ask for replaceOne.",
			{ adjacency },
		);
	}
	if (!(samplingFraction > 0 && samplingFraction <= 1 && noiseMultiplier > 0)) {
		throw new AlthingError(
			"privacy.bad_event",
			`A fixed batch needs a fraction in (0, 1] and a positive noise multiplier, not ${samplingFraction} and ${noiseMultiplier}.`,
		);
	}
	const logMoment = (l: number): number => (l * (l - 1)) / (2 * noiseMultiplier * noiseMultiplier);
	if (samplingFraction === 1) return Float64Array.from(orders, (order) => order / (2 * noiseMultiplier ** 2));
	const largest = Math.ceil(orders.at(-1) ?? 2);
	const logFactorials = logFactorialsTo(largest);
	const logCentred = new Map<number, number>();
	const centred = (l: number): number => {
		let value = logCentred.get(l);
		if (value === undefined) {
			value = l === 2 ? logExpm1(logMoment(2)) : centredGaussianMoment(l, noiseMultiplier);
			logCentred.set(l, value);
		}
		return value;
	};
	const ofTerm = (l: number, order: number): number => {
		const plain = Math.LN2 + logMoment(l);
		if (l > 2 && order > LARGEST_CENTRED_ORDER) return plain;
		return Math.min(
			plain,
			Math.log(4) + (centred(2 * Math.floor(l / 2)) + centred(2 * Math.ceil(l / 2))) / 2,
		);
	};
	const atInteger = (order: number): number => {
		let logExcess = Number.NEGATIVE_INFINITY;
		for (let l = 2; l <= order; l++) {
			const logChoose = logFactorials[order]! - logFactorials[l]! - logFactorials[order - l]!;
			logExcess = logAdd(logExcess, logChoose + l * Math.log(samplingFraction) + ofTerm(l, order));
		}
		return log1pExp(logExcess);
	};
	return Float64Array.from(orders, (order) => interpolated(atInteger, order) / (order - 1));
}

/**
 * log E_Q[(P/Q - 1)^l] for even l, Q = N(0, s^2), P = N(1, s^2): the l-th forward difference of the
 * moments, which cancels to nothing as a sum and is an integral of a nonnegative function.
 */
function centredGaussianMoment(l: number, s: number): number {
	const step = Math.min(0.25, 2 / Math.sqrt(l));
	const from = -12 - Math.sqrt(2 * l);
	const count = Math.ceil((l / s + 12 + Math.sqrt(2 * l) - from) / step);
	const logValues = new Float64Array(count + 1);
	let largest = Number.NEGATIVE_INFINITY;
	for (let i = 0; i <= count; i++) {
		const z = from + i * step;
		const t = z / s - 1 / (2 * s * s);
		// log |e^t - 1|
		const logDistance = t > 0 ? logExpm1(t) : Math.log(-Math.expm1(t));
		const value = l * logDistance - (z * z) / 2;
		logValues[i] = value;
		if (value > largest) largest = value;
	}
	let sum = 0;
	for (const value of logValues) sum += Math.exp(value - largest);
	return largest + Math.log((sum * step) / Math.sqrt(2 * Math.PI));
}
