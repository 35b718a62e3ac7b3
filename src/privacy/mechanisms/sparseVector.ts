/**
 * The sparse vector technique: a stream of queries, told for each only whether it lies above a
 * threshold, paying for the first c that do. Standard variant of Lyu, Su, Li 2017 (Algorithm 7
 * without numeric answers): threshold noise drawn once, fresh noise for every query growing with c,
 * and an end after c answers. Leaving out any of the three voids the guarantee (their Figure 1 has
 * four published variants that do).
 *
 * Unit: one record added or removed. Sensitivity D of every query: as stated. Cost: epsilon for the
 * whole stream, split 1 : (2c)^(2/3) between threshold (scale D / epsilon1) and queries (scale
 * 2 c D / epsilon2), or 1 : c^(2/3) and c D / epsilon2 where all queries move to one side. Their proof
 * shifts noises by whole multiples of D only, so it holds for discrete Laplace noise as it stands.
 *
 * Timing: that of the samples, not of the answers.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { discreteLaplace } from "../samplers/discreteLaplace.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import type { Mechanism } from "./mechanism.ts";
import { requireEpsilon, requireSensitivity, type SelectionRequest } from "./scores.ts";

export interface SparseVectorRequest extends SelectionRequest {
	/** c: positive answers after which it ends; a whole number >= 1. */
	readonly positives: number;
	/** Public, a whole number. */
	readonly threshold: number;
}

export class SparseVector implements Mechanism {
	readonly name = "sparse vector";
	readonly unit = "one record added or removed";
	readonly sensitivity: number;
	readonly event: Mechanism["event"];
	readonly #words: RandomWords;
	readonly #noise: (words: RandomWords) => number;
	readonly #threshold: number;
	#positivesLeft: number;

	/** @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_sensitivity`, `privacy.bad_count`, `privacy.bad_scores` */
	constructor(request: SparseVectorRequest, words: RandomWords = new RandomWords()) {
		const { epsilon, sensitivity, monotone, positives, threshold } = request;
		requireEpsilon(epsilon);
		requireSensitivity(sensitivity);
		requireWhole(threshold);
		if (!Number.isSafeInteger(positives) || positives < 1) {
			throw new AlthingError(
				"privacy.bad_count",
				`The number of positive answers must be a whole number from 1 upwards, not ${positives}.`,
				{ positives },
			);
		}
		const factor = (monotone ? 1 : 2) * positives;
		const forThreshold = epsilon / (1 + factor ** (2 / 3));
		// Both scales are rounded up, so that the two parts cost no more than epsilon together.
		const up = 1 + 2 ** -50;
		this.sensitivity = sensitivity;
		this.event = { kind: "pureDp", epsilon };
		this.#words = words;
		this.#noise = discreteLaplace(((factor * sensitivity) / (epsilon - forThreshold)) * up);
		this.#threshold = threshold + discreteLaplace((sensitivity / forThreshold) * up)(words);
		this.#positivesLeft = positives;
	}

	/** False once all positive answers are given: nothing more can be asked. */
	get open(): boolean {
		return this.#positivesLeft > 0;
	}

	/**
	 * Whether a query's value, noised, reaches the noised threshold.
	 * @param value a whole number
	 * @throws AlthingError `privacy.sparse_vector_exhausted` after the last positive answer, `privacy.bad_scores`
	 */
	above(value: number): boolean {
		if (!this.open) {
			throw new AlthingError(
				"privacy.sparse_vector_exhausted",
				"This sparse vector has given all its positive answers. Open a new one, which is charged again.",
			);
		}
		requireWhole(value);
		const answer = value + this.#noise(this.#words) >= this.#threshold;
		if (answer) this.#positivesLeft--;
		return answer;
	}
}

function requireWhole(value: number): void {
	if (Number.isSafeInteger(value) && Math.abs(value) <= 2 ** 51) return;
	throw new AlthingError(
		"privacy.bad_scores",
		"Thresholds and values must be whole numbers of at most 2^51. Round them to a public grid and state the sensitivity on that grid.",
	);
}
