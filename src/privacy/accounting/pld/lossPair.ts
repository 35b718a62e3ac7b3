/**
 * Dominating pairs (P, Q) of unsampled mechanisms, seen through their privacy loss log(P/Q): what is
 * needed to discretise them, and to derive the pairs of Poisson-sampled ones. README.md says which
 * theorem makes each pair dominate.
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { MechanismEvent } from "../events.ts";
import { normalQuantileOfLogTail, normalTail } from "./normal.ts";

/** Masses of the continuous part on both sides of a loss, each accurate relative to itself. */
export interface Tails {
	pBelow: number;
	pAbove: number;
	qBelow: number;
	qAbove: number;
}

/** Outcomes with a mass of their own, by rising loss; p = e^loss q. */
interface Atoms {
	readonly loss: Float64Array;
	readonly p: Float64Array;
	readonly q: Float64Array;
}

export interface LossPair {
	/** P and Q change places when the loss changes sign: one direction says all. */
	readonly symmetric: boolean;
	readonly atoms: Atoms | undefined;
	/** The continuous part; undefined for a discrete mechanism. */
	readonly continuous:
		| {
				/** Writes the tails at a loss (any real number or -Infinity). */
				tails(loss: number, into: Tails): void;
				/** Losses between which all of the continuous part lies but a mass e^logTail on either side. */
				range(logTail: number): { readonly lowest: number; readonly highest: number };
		  }
		| undefined;
	/** Spacing of the lattice the atoms lie on, where there is one. */
	readonly spacing: number | undefined;
}

/** Gaussian noise of standard deviation `multiplier`, mean 1 against mean 0. */
export function gaussianPair(multiplier: number): LossPair {
	const variance = multiplier * multiplier;
	return {
		symmetric: true,
		atoms: undefined,
		spacing: undefined,
		continuous: {
			tails(loss, into) {
				// L(x) = (x - 1/2) / z^2.
				const underQ = loss * multiplier + 0.5 / multiplier;
				const underP = loss * multiplier - 0.5 / multiplier;
				into.pBelow = normalTail(-underP);
				into.pAbove = normalTail(underP);
				into.qBelow = normalTail(-underQ);
				into.qAbove = normalTail(underQ);
			},
			range(logTail) {
				const z = normalQuantileOfLogTail(logTail);
				return { lowest: -z / multiplier - 0.5 / variance, highest: z / multiplier + 0.5 / variance };
			},
		},
	};
}

/**
 * A Poisson-sampled record exchanged for another: (1-q) N(0, z^2) + q N(1, z^2) against (1-q) N(0, z^2) +
 * q N(-1, z^2), in units of the sensitivity to one record. Sampling is part of the pair.
 */
export function replacedSampledGaussianPair(samplingProbability: number, multiplier: number): LossPair {
	const q = samplingProbability;
	const variance = multiplier * multiplier;
	const c = q * Math.exp(-0.5 / variance);
	/** Where the loss takes a value: c u^2 + (1-q)(1 - e^loss) u - c e^loss = 0 with u = e^(x / z^2). */
	const outcomeOf = (loss: number): number => {
		if (loss < 0) return -outcomeOf(-loss);
		// Divided by e^loss, so that nothing overflows.
		const middle = -(1 - q) * Math.expm1(-loss);
		const root = Math.sqrt(middle * middle + 4 * c * c * Math.exp(-loss));
		return variance * (loss + Math.log((middle + root) / (2 * c)));
	};
	return {
		symmetric: true,
		atoms: undefined,
		spacing: undefined,
		continuous: {
			tails(loss, into) {
				const x = outcomeOf(loss) / multiplier;
				const shift = 1 / multiplier;
				into.pBelow = (1 - q) * normalTail(-x) + q * normalTail(shift - x);
				into.pAbove = (1 - q) * normalTail(x) + q * normalTail(x - shift);
				into.qBelow = (1 - q) * normalTail(-x) + q * normalTail(-x - shift);
				into.qAbove = (1 - q) * normalTail(x) + q * normalTail(x + shift);
			},
			range(logTail) {
				const x = normalQuantileOfLogTail(logTail) * multiplier + 1;
				const one = Math.log1p(q * Math.expm1((x - 0.5) / variance));
				const other = Math.log1p(q * Math.expm1((-x - 0.5) / variance));
				return { lowest: other - one, highest: one - other };
			},
		},
	};
}

/** Laplace noise of scale b, mean 0 against mean 1: atoms at +-1/b, a continuous part between. */
function laplacePair(scale: number): LossPair {
	const epsilon = 1 / scale;
	const rest = 0.5 * Math.exp(-epsilon);
	return {
		symmetric: true,
		atoms: twoAtoms(-epsilon, rest, 0.5, epsilon, 0.5, rest),
		spacing: 2 * epsilon,
		continuous: {
			tails(loss, into) {
				// At x in (0, 1): L = (1 - 2x) / b. u = x/b and v = (1 - x)/b, both in [0, 1/b].
				const u = Math.min(epsilon, Math.max(0, 0.5 * (epsilon - loss)));
				const v = epsilon - u;
				into.pAbove = -0.5 * Math.expm1(-u);
				into.pBelow = -0.5 * Math.exp(-u) * Math.expm1(-v);
				into.qBelow = -0.5 * Math.expm1(-v);
				into.qAbove = -0.5 * Math.exp(-v) * Math.expm1(-u);
			},
			range: () => ({ lowest: -epsilon, highest: epsilon }),
		},
	};
}

/** Two outcomes (Kairouz, Oh, Viswanath 2015): dominates every (epsilon, 0)-DP mechanism. */
function purePair(epsilon: number): LossPair {
	const high = 1 / (1 + Math.exp(-epsilon));
	const low = Math.exp(-epsilon) * high;
	return discrete(twoAtoms(-epsilon, low, high, epsilon, high, low), 2 * epsilon);
}

/** k-ary randomized response between two different answers; all other outcomes have loss 0. */
function randomizedResponsePair(categories: number, noiseProbability: number): LossPair {
	const lie = noiseProbability / categories;
	const truth = 1 - noiseProbability + lie;
	const epsilon = Math.log1p(((1 - noiseProbability) * categories) / noiseProbability);
	if (epsilon === 0) {
		return discrete({ loss: Float64Array.of(0), p: Float64Array.of(1), q: Float64Array.of(1) }, 1);
	}
	const others = (categories - 2) * lie;
	return discrete(
		{
			loss: Float64Array.of(-epsilon, 0, epsilon),
			p: Float64Array.of(lie, others, truth),
			q: Float64Array.of(truth, others, lie),
		},
		epsilon,
	);
}

/** Beyond so many outcomes a discrete pair is refused; Renyi accounting knows those mechanisms, too. */
const MOST_ATOMS = 4_000_000;

/**
 * N_Z(0, sigma^2) against N_Z(sensitivity, sigma^2): loss sensitivity (sensitivity - 2x) / (2 sigma^2).
 * @throws AlthingError `privacy.unsupported_event` for a sigma beyond about 40,000
 */
function discreteGaussianPair(sigma: number, sensitivity: number): LossPair {
	// log of the mass beyond r sigma is below -r^2/2: 38 sigma reach under the smallest double.
	const reach = Math.ceil(38 * sigma) + 2 * sensitivity;
	requireAtoms(2 * reach + sensitivity, "discreteGaussian");
	const logWeight = (x: number): number => -(x * x) / (2 * sigma * sigma);
	let norm = 0;
	for (let x = reach; x > 0; x--) norm += 2 * Math.exp(logWeight(x));
	const logNorm = Math.log(norm + 1);
	const spacing = sensitivity / (sigma * sigma);
	const count = 2 * reach + sensitivity + 1;
	const loss = new Float64Array(count);
	const p = new Float64Array(count);
	const q = new Float64Array(count);
	for (let i = 0; i < count; i++) {
		// Rising loss is falling x; symmetric about sensitivity / 2.
		const x = reach + sensitivity - i;
		p[i] = Math.exp(logWeight(x) - logNorm);
		q[i] = Math.exp(logWeight(x - sensitivity) - logNorm);
		loss[i] = (i - (count - 1) / 2) * spacing;
	}
	return discrete({ loss, p, q }, spacing);
}

/**
 * Noise P(k) proportional to e^(-|k| / scale), shifted by the sensitivity.
 * @throws AlthingError `privacy.unsupported_event` for a scale beyond about 2,800
 */
function discreteLaplacePair(scale: number, sensitivity: number): LossPair {
	// Outcomes left of 0 and right of the sensitivity have one loss each: geometric sums, two atoms.
	const epsilon = sensitivity / scale;
	requireAtoms(sensitivity + 1, "discreteLaplace");
	const ratio = Math.exp(-1 / scale);
	const norm = -Math.expm1(-1 / scale) / (1 + ratio);
	const count = sensitivity + 1;
	const loss = new Float64Array(count);
	const p = new Float64Array(count);
	const q = new Float64Array(count);
	for (let i = 0; i < count; i++) {
		// x = sensitivity - i under P = noise at 0, Q = noise at the sensitivity: loss (sensitivity - 2x) / scale.
		const x = sensitivity - i;
		loss[i] = (2 * i - sensitivity) / scale;
		const end = i === 0 || i === count - 1 ? 1 / -Math.expm1(-1 / scale) : 1;
		p[i] = norm * Math.exp(-x / scale) * end;
		q[i] = norm * Math.exp(-(sensitivity - x) / scale) * end;
	}
	loss[count - 1] = epsilon;
	return discrete({ loss, p, q }, 2 / scale);
}

function requireAtoms(count: number, kind: string): void {
	if (count <= MOST_ATOMS) return;
	throw new AlthingError(
		"privacy.unsupported_event",
		`The privacy-loss distribution of "${kind}" with these parameters has ${count} outcomes, more than ${MOST_ATOMS}. Use Renyi accounting.`,
		{ kind },
	);
}

function twoAtoms(l0: number, p0: number, q0: number, l1: number, p1: number, q1: number): Atoms {
	return { loss: Float64Array.of(l0, l1), p: Float64Array.of(p0, p1), q: Float64Array.of(q0, q1) };
}

function discrete(atoms: Atoms, spacing: number): LossPair {
	return { symmetric: true, atoms, continuous: undefined, spacing };
}

/** The event's unsampled dominating pair under adding or removing a record, or undefined where none is proven. */
export function lossPairOf(event: MechanismEvent): LossPair | undefined {
	switch (event.kind) {
		case "gaussian":
			return gaussianPair(event.noiseMultiplier);
		case "laplace":
			return laplacePair(event.scale);
		case "permuteAndFlip":
			return laplacePair(1 / event.epsilon);
		case "pureDp":
		case "boundedRange":
			return purePair(event.epsilon);
		case "randomizedResponse":
			return randomizedResponsePair(event.categories, event.noiseProbability);
		case "discreteGaussian":
			return discreteGaussianPair(event.sigma, event.sensitivity);
		case "discreteLaplace":
			return discreteLaplacePair(event.scale, event.sensitivity);
		default:
			return undefined;
	}
}
