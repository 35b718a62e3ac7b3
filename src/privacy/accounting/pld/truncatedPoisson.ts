/**
 * Poisson sampling into batches of bounded size: larger batches are cut to `largestBatch` records at random.
 *
 * With probability 1 - p the other records alone do not fill the batch, and a step is an ordinary
 * Poisson-sampled one. Otherwise the record, in with probability q', pushes another one out: a step of
 * replaced records (Ganesh et al. 2025, arXiv:2508.15089). Whether the batch is full may be known.
 */
import { AlthingError } from "../../../../crypto/error.ts";
import { composedBounds, type PldBounds, type Step } from "./composition.ts";
import { gaussianPair, replacedSampledGaussianPair } from "./lossPair.ts";

export interface TruncatedPoissonSteps {
	/** Records of the data set, >= 1. */
	readonly records: number;
	/** In (0, 1). */
	readonly samplingProbability: number;
	/** Integer >= 1. */
	readonly largestBatch: number;
	/** Over the clipping norm. */
	readonly noiseMultiplier: number;
	readonly steps: number;
}

/**
 * Bounds on epsilon at `delta` of DP-SGD with truncated batches, a record added or removed.
 * @throws AlthingError `privacy.bad_event` for numbers out of range
 */
export function truncatedPoissonEpsilon(run: TruncatedPoissonSteps, delta: number): PldBounds {
	const { records, samplingProbability: q, largestBatch, noiseMultiplier, steps } = run;
	const whole = [records, largestBatch, steps].every((value) => Number.isSafeInteger(value) && value >= 1);
	if (!whole || !(q > 0 && q < 1) || !(noiseMultiplier > 0) || !(delta > 0 && delta < 1)) {
		throw new AlthingError(
			"privacy.bad_event",
			"Truncated Poisson sampling needs whole numbers of records, steps and of records in a batch, a sampling probability and a delta strictly between 0 and 1, and noise.",
		);
	}
	const full = binomialTail(records - 1, q, largestBatch);
	const cut = full === 0 ? 0 : (binomialTail(records, q, largestBatch + 1) / full) * (largestBatch / records);
	const components: Step["components"][number][] = [
		{ pair: gaussianPair(noiseMultiplier), samplingProbability: q, weight: 1 - full },
	];
	if (full > 0) {
		const pair = replacedSampledGaussianPair(cut, noiseMultiplier / 2);
		components.push({ pair, samplingProbability: 1, weight: full });
	}
	return composedBounds([{ components, count: steps }], { delta });
}

/** P(Bin(n, p) >= k): summed from the smallest term up, each from its neighbour. */
function binomialTail(n: number, p: number, k: number): number {
	if (k > n) return 0;
	const logOdds = Math.log(p) - Math.log1p(-p);
	let logTerm = n * Math.log1p(-p);
	for (let j = 0; j < k; j++) logTerm += Math.log((n - j) / (j + 1)) + logOdds;
	const terms: number[] = [];
	for (let j = k; j <= n; j++) {
		const term = Math.exp(logTerm);
		terms.push(term);
		if (j > n * p && term < 1e-18 * terms[0]!) break;
		logTerm += Math.log((n - j) / (j + 1)) + logOdds;
	}
	return Math.min(
		1,
		terms.reduceRight((sum, term) => sum + term, 0),
	);
}
