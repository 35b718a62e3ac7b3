import { exampleValues } from "../gradientCost.ts";
import type { Model } from "../model.ts";

/**
 * Sizes that batches are padded to. The plan's bound on summation errors rests on chunks of at most
 * 512 rows.
 */
const SIZES = [32, 64, 128, 256, 512] as const;
/** Of large models a chunk holds fewer rows, down to one. */
const SMALLER = [16, 8, 4, 2, 1] as const;
/** Bytes that the values of a chunk's step may take. */
const MEMORY_BYTES = 48 * 2 ** 20;

/**
 * The batch sizes to compile a model's graphs for, ascending; longer batches run in chunks of the
 * last. Chosen so that activations, errors and per-example gradients of a chunk fit a fixed memory.
 */
export function chunkSizes(model: Model): readonly number[] {
	const rows = MEMORY_BYTES / (4 * exampleValues(model));
	const fitting = SIZES.filter((size) => size <= rows);
	return fitting.length > 0 ? fitting : [SMALLER.find((size) => size <= rows) ?? 1];
}
