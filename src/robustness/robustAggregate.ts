/** A job's rule applied to its participants' vectors: public arithmetic that every node repeats bit for bit. */
import { AlthingError } from "../../crypto/error.ts";
import { requireBreakdown } from "./breakdown.ts";
import { centeredClipping, normClippedMean } from "./clipping.ts";
import { coordinateMedian, trimmedMean } from "./coordinates.ts";
import { geometricMedian } from "./geometricMedian.ts";
import { gramMatrix } from "./gram.ts";
import { bulyan, krum } from "./krum.ts";
import { mixBuckets, mixNearestNeighbours } from "./mixing.ts";
import type { ClearChoice } from "./robustnessChoice.ts";
import { selectBySpectrum } from "./spectralSelection.ts";
import { trustScoredMean } from "./trustScore.ts";
import { mean, requireVectors, type Vectors } from "./vectors.ts";

export type RuleChoice = Pick<ClearChoice, "rule" | "attackers" | "mixing" | "bucketSize" | "radius">;

export interface RuleInput {
	/** One for each participant, in the order of their ids. */
	readonly vectors: Vectors;
	/** 32 bytes that nobody could choose when the vectors were made: the buckets' order. */
	readonly seed: Uint8Array;
	/** Centred clipping starts here: the aggregate of the last round, zeros in the first. */
	readonly reference: Float64Array;
	/** Trust score: the update that the root data give. */
	readonly root?: Float64Array | undefined;
}

export interface RobustAggregate {
	readonly aggregate: Float64Array;
	/** Sorted indices of the vectors that count for nothing in it. */
	readonly excluded: readonly number[];
}

/** Vectors in a bucket where the job does not say. */
export const DEFAULT_BUCKET_SIZE = 2;

/**
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`,
 *   `robustness.bad_argument` for a trust score without a root update
 */
export function robustAggregate(choice: RuleChoice, input: RuleInput): RobustAggregate {
	switch (choice.mixing) {
		case "none":
			return applyRule(choice, input);
		case "nearest_neighbours": {
			const mixed = mixNearestNeighbours(input.vectors, choice.attackers);
			// What is left out is a mixture, not a participant.
			return { aggregate: applyRule(choice, { ...input, vectors: mixed }).aggregate, excluded: [] };
		}
		case "bucketing": {
			const size = choice.bucketSize ?? DEFAULT_BUCKET_SIZE;
			const { means, buckets } = mixBuckets(input.vectors, size, input.seed);
			const { aggregate, excluded } = applyRule(choice, { ...input, vectors: means });
			return { aggregate, excluded: excluded.flatMap((bucket) => buckets[bucket]!).sort((a, b) => a - b) };
		}
	}
}

/**
 * That the rule stands so many attackers among so few vectors, after mixing.
 * @throws AlthingError `robustness.too_many_attackers`
 */
export function requireChoiceFits(choice: RuleChoice, vectors: number): void {
	const { rule, mixing, attackers, bucketSize = DEFAULT_BUCKET_SIZE } = choice;
	if (mixing === "nearest_neighbours") requireBreakdown("nearest_neighbours", vectors, attackers);
	requireBreakdown(rule, mixing === "bucketing" ? Math.ceil(vectors / bucketSize) : vectors, attackers);
}

function applyRule({ rule, attackers, radius }: RuleChoice, input: RuleInput): RobustAggregate {
	const { vectors, reference, root } = input;
	requireVectors(vectors);
	const selecting = (selected: readonly number[], aggregate = mean(vectors, selected)) => ({
		aggregate,
		excluded: [...vectors.keys()].filter((index) => !selected.includes(index)),
	});
	const bounding = (aggregate: Float64Array) => ({ aggregate, excluded: [] });
	switch (rule) {
		case "coordinate_median":
			return bounding(coordinateMedian(vectors, attackers));
		case "trimmed_mean":
			return bounding(trimmedMean(vectors, attackers));
		case "geometric_median":
			return bounding(geometricMedian(vectors, attackers));
		case "centered_clipping":
			return bounding(centeredClipping(vectors, attackers, reference, radius));
		case "norm_clipping":
			return bounding(normClippedMean(vectors, attackers, radius));
		case "krum":
			return selecting(krum(vectors, attackers, 1).selected);
		case "multi_krum":
			return selecting(krum(vectors, attackers, vectors.length - attackers).selected);
		case "bulyan": {
			const { aggregate, selected } = bulyan(vectors, attackers);
			return selecting(selected, aggregate);
		}
		case "spectral":
			return selecting(selectBySpectrum(gramMatrix(vectors), attackers));
		case "trust_score": {
			if (root === undefined) {
				throw new AlthingError("robustness.bad_argument", "A trust score needs the root data's update.");
			}
			const { aggregate, trust } = trustScoredMean(vectors, root);
			return { aggregate, excluded: [...trust.keys()].filter((index) => trust[index] === 0) };
		}
	}
}
