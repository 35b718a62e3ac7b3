/** A site's side of correlated noise: its past clipped sums, combined into what a round releases. */
import { toHex } from "../../../crypto/encoding.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { type CorrelationStrategy, cycleOf, firstOfNode } from "./strategy.ts";

/** A sum over the batches of the rounds from `first` to `last` that this site took part in. */
interface PastSum {
	readonly first: number;
	readonly last: number;
	readonly sum: Float64Array;
}

/**
 * What a site still needs of its own un-noised sums. It stays in the site's memory and is never
 * written down: after a restart, or a failure of the thread that held it, a site begins another one.
 * That means fewer terms in its combinations, never more, so the sensitivity holds.
 */
export interface CorrelationHistory {
	/** Unique: what was charged for one history does not pay for another. */
	readonly name: string;
	/** The last round that was combined. */
	readonly round: number;
	readonly past: readonly PastSum[];
}

export interface CombinedSum {
	readonly values: Float64Array;
	/**
	 * Names, by history and cycle, of the participations that are in it. Each is charged once, before
	 * the first vector that shows it leaves.
	 */
	readonly participations: readonly string[];
	readonly history: CorrelationHistory;
}

/**
 * The combination that a round releases, and the history for the next one. A round that is combined
 * a second time, in whatever case, begins a new history: one participation is charged for one
 * release of each round.
 * @param history of this job at this site; undefined where there is none (any more)
 * @param sum x_t, the clipped sum of this round's batch; kept, so not to be written to afterwards
 */
export function combine(
	strategy: CorrelationStrategy,
	history: CorrelationHistory | undefined,
	round: number,
	sum: Float64Array,
): CombinedSum {
	const known = history !== undefined && history.round < round ? history : undefined;
	const name = known?.name ?? toHex(randomBytes(8));
	const { values, past } =
		strategy.kind === "tree"
			? nodeAt(strategy, known?.past ?? [], round, sum)
			: rowAt(strategy, known?.past ?? [], round, sum);
	// A node lies in one cycle, a row's terms are single rounds.
	const cycles = new Set(
		(strategy.kind === "tree" ? past.slice(-1) : past).map(({ last }) => cycleOf(strategy, last)),
	);
	return {
		values,
		participations: [...cycles].map((cycle) => `${name}/${cycle}`),
		history: { name, round, past },
	};
}

interface Combination {
	readonly values: Float64Array;
	readonly past: readonly PastSum[];
}

/** The node that ends here: this round and the smaller nodes it swallows. */
function nodeAt(
	strategy: CorrelationStrategy,
	past: readonly PastSum[],
	round: number,
	sum: Float64Array,
): Combination {
	const first = firstOfNode(strategy, round);
	const values = sum.slice();
	for (const node of past) if (node.first >= first) add(values, node.sum, 1);
	const cycle = cycleOf(strategy, round);
	const kept = past.filter((node) => node.first < first && cycleOf(strategy, node.first) === cycle);
	return { values, past: [...kept, { first, last: round, sum: values }] };
}

function rowAt(
	{ coefficients }: CorrelationStrategy,
	past: readonly PastSum[],
	round: number,
	sum: Float64Array,
): Combination {
	const reached = [
		...past.filter(({ last }) => round - last < coefficients.length),
		{ first: round, last: round, sum },
	];
	const values = new Float64Array(sum.length);
	for (const term of reached) add(values, term.sum, coefficients[round - term.last]!);
	return { values, past: reached };
}

function add(target: Float64Array, values: Float64Array, factor: number): void {
	for (let i = 0; i < target.length; i++) target[i]! += factor * values[i]!;
}
