/** What the arithmetic of sums adds to a record's reach, and the public batch up to which that holds. */

import { ROTATION_ERROR } from "../compression/rotation.ts";
import type { JobSpec } from "./jobSpec.ts";
import { recordRate } from "./privacyChoice.ts";

/** float32: half a unit in the last place, times the rows of one chunk, bounds the relative error of a chunk's sum. */
const SUMMATION_ERROR = 2 * 512 * 2 ** -24;

/**
 * L2 bound on what one record adds to a sum of float32 gradients clipped to `norm`: its presence can
 * also move the rounding of all others in the batch.
 * @param expectedBatch public number of records in the batch on average
 * @param rotated the sums with the record and without it are rotated, each with a rounding error of its own
 */
export function reachOfRecord(norm: number, expectedBatch: number, rotated = false): number {
	const error = SUMMATION_ERROR + (rotated ? 4 * ROTATION_ERROR : 0);
	return norm * (1 + error * largestSample(expectedBatch));
}

/** Records a site's Poisson sample exceeds with probability below {@link SAMPLE_TAIL} (Chernoff), all of them at one site. */
export function largestSample(expected: number): number {
	return expected + 8 * Math.sqrt(expected) + 60;
}

/**
 * Charged to delta as it is, without e^epsilon: the rest of the batch is drawn alike with a record and
 * without it, and what is released where that rest is too large adds its probability at most (joint
 * convexity of the hockey-stick divergence).
 */
export const SAMPLE_TAIL = 1e-13;

/**
 * Whether a site of that many training records samples, on average, no more than the job's public
 * batch: up to there {@link reachOfRecord} holds.
 */
export function fitsPublicBatch({ privacy, training }: JobSpec, trainingRows: number): boolean {
	if (privacy.mechanism === "none" || privacy.unit === "client") return true;
	const batch = privacy.mechanism === "site_gaussian" ? training.localBatch : (training.expectedBatch ?? 0);
	return trainingRows * recordRate(privacy) <= batch;
}
