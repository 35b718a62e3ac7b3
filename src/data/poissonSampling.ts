/**
 * The batch of a private round: every record enters independently with probability q.
 *
 * This, and nothing else, is what the accountant's poissonSampled event describes. Shuffled
 * or fixed-size batches get no such amplification (Chua et al. 2024). The batch is secret:
 * neither its members nor its size may leave the site un-noised, and an empty batch still
 * releases noise.
 */
import { randomFillSync } from "node:crypto";
import { AlthingError } from "../../crypto/error.ts";

const BLOCK_RECORDS = 4096;

/**
 * Indices in [0, rows), ascending, each present independently with probability
 * floor(q 2^53) / 2^53: exact to 2^-53 and never above q.
 * @param samplingProbability q in (0, 1]
 * @param fillWords uniform words; the system CSPRNG unless a test passes a named seeded source
 * @throws AlthingError `data.bad_sampling`
 */
export function poissonSample(
	rows: number,
	samplingProbability: number,
	fillWords: (target: Uint32Array) => void = randomFillSync,
): Int32Array {
	if (!Number.isSafeInteger(rows) || rows < 0 || !(samplingProbability > 0 && samplingProbability <= 1)) {
		throw new AlthingError(
			"data.bad_sampling",
			`Poisson sampling needs a whole number of records and a probability in (0, 1], not ${rows} and ${samplingProbability}.`,
		);
	}
	const threshold = Math.floor(samplingProbability * 2 ** 53);
	const words = new Uint32Array(2 * BLOCK_RECORDS);
	const chosen: number[] = [];
	for (let start = 0; start < rows; start += BLOCK_RECORDS) {
		const count = Math.min(BLOCK_RECORDS, rows - start);
		fillWords(words.subarray(0, 2 * count));
		for (let i = 0; i < count; i++) {
			const uniform = (words[2 * i]! >>> 11) * 2 ** 32 + words[2 * i + 1]!;
			if (uniform < threshold) chosen.push(start + i);
		}
	}
	words.fill(0);
	return Int32Array.from(chosen);
}
