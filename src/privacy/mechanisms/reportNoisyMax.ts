/**
 * Report-noisy-max: the index of the largest score after each got discrete Laplace noise of its own
 * (Dwork, Roth 2014, claim 3.9, for whole numbers).
 *
 * Unit: one record added or removed. Sensitivity D: as stated by the caller. Noise of scale
 * 2 D / epsilon, or D / epsilon for monotone scores. Cost: epsilon.
 *
 * Proof for whole numbers, ties to the lowest index. Fix the noise of all others: i is reported iff
 * its noise is at least a whole number t (the tie rule is part of t). For a neighbour t moves by at
 * most 2 D (D when all scores move to one side), and P[Z >= t + k] >= exp(-k / scale) P[Z >= t].
 *
 * Timing: that of the samples, not of the scores.
 */
import { discreteLaplace } from "../samplers/discreteLaplace.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { gapsOf, requireEpsilon, requireSensitivity, type SelectionRequest } from "./scores.ts";

export interface ReportNoisyMax extends Mechanism {
	/** @returns the index reported @throws AlthingError `privacy.bad_scores` */
	select(scores: ArrayLike<number>): number;
}

/** @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_sensitivity`, `privacy.bad_scale` */
export function reportNoisyMax(
	{ epsilon, sensitivity, monotone }: SelectionRequest,
	words: RandomWords = new RandomWords(),
): ReportNoisyMax {
	requireEpsilon(epsilon);
	requireSensitivity(sensitivity);
	// Rounded up, so that the cost is no more than epsilon.
	const noise = discreteLaplace((((monotone ? 1 : 2) * sensitivity) / epsilon) * (1 + 2 ** -51));
	return {
		name: "report noisy max",
		unit: "one record added or removed",
		sensitivity,
		event: { kind: "pureDp", epsilon },
		select: (scores) => {
			let best = 0;
			let largest = Number.NEGATIVE_INFINITY;
			for (const [index, gap] of gapsOf(scores).entries()) {
				const noisy = noise(words) - gap;
				if (noisy > largest) {
					largest = noisy;
					best = index;
				}
			}
			return best;
		},
	};
}
