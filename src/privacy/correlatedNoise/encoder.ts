/** A site's side of correlated noise: its past clipped sums, combined into what a round releases. */
import { AlthingError } from "../../../crypto/error.ts";
import { type CorrelationStrategy, cycleOf, firstOfNode } from "./strategy.ts";

/** A sum over the batches of the rounds from `first` to `last` that this site took part in. */
interface PastSum {
	readonly first: number;
	readonly last: number;
	readonly sum: Float64Array;
}

export interface CombinedSum {
	readonly values: Float64Array;
	/** The cycles whose participations are in it, ascending: what the site must have charged before it leaves. */
	readonly cycles: readonly number[];
}

/**
 * Holds what a site still needs of its own un-noised sums, in memory alone. A site that was away, or
 * was restarted, combines what it has: fewer terms, never more, so the sensitivity holds.
 */
export class CorrelatedEncoder {
	readonly #strategy: CorrelationStrategy;
	#past: PastSum[] = [];
	#round = -1;

	constructor(strategy: CorrelationStrategy) {
		this.#strategy = strategy;
	}

	/**
	 * @param sum x_t, the clipped sum of this round's batch; kept, so not to be written to afterwards
	 * @throws AlthingError `privacy.misuse` for a round before, or the same as, an earlier one: a
	 *   second release of a round is not covered by the one participation it is charged as
	 */
	combine(round: number, sum: Float64Array): CombinedSum {
		if (round <= this.#round) {
			throw new AlthingError(
				"privacy.misuse",
				`Round ${round} was combined already, or is past: round ${this.#round} was the last one.`,
			);
		}
		this.#round = round;
		return this.#strategy.kind === "tree" ? this.#node(round, sum) : this.#row(round, sum);
	}

	/** The node that ends here: this round and the smaller nodes it swallows. */
	#node(round: number, sum: Float64Array): CombinedSum {
		const first = firstOfNode(this.#strategy, round);
		const cycle = cycleOf(this.#strategy, round);
		const values = sum.slice();
		for (const past of this.#past) if (past.first >= first) add(values, past.sum, 1);
		this.#past = this.#past.filter(
			(past) => past.first < first && cycleOf(this.#strategy, past.first) === cycle,
		);
		this.#past.push({ first, last: round, sum: values });
		return { values: values.slice(), cycles: [cycle] };
	}

	#row(round: number, sum: Float64Array): CombinedSum {
		const { coefficients } = this.#strategy;
		this.#past = this.#past.filter(({ last }) => round - last < coefficients.length);
		this.#past.push({ first: round, last: round, sum });
		const values = new Float64Array(sum.length);
		for (const past of this.#past) add(values, past.sum, coefficients[round - past.last]!);
		return { values, cycles: [...new Set(this.#past.map(({ last }) => cycleOf(this.#strategy, last)))] };
	}
}

function add(target: Float64Array, values: Float64Array, factor: number): void {
	for (let i = 0; i < target.length; i++) target[i]! += factor * values[i]!;
}
