/** How many attackers each rule stands among how many vectors. */
import { AlthingError } from "../../crypto/error.ts";

/** Least number of vectors for f attackers, with its source. */
const LEAST_VECTORS = {
	/** Yin et al. 2018: a majority of every coordinate is honest. */
	coordinate_median: (f: number) => 2 * f + 1,
	/** Yin et al. 2018: f are cut at each end, and something is left. */
	trimmed_mean: (f: number) => 2 * f + 1,
	/** Blanchard et al. 2017: n > 2 f + 2. */
	krum: (f: number) => 2 * f + 3,
	multi_krum: (f: number) => 2 * f + 3,
	/** El Mhamdi et al. 2018. */
	bulyan: (f: number) => 4 * f + 3,
	/** Pillutla et al. 2022: breaks down at one half. */
	geometric_median: (f: number) => 2 * f + 1,
	/** Karimireddy et al. 2021: by default the radius is a median, which a majority must be honest for. */
	centered_clipping: (f: number) => 2 * f + 1,
	norm_clipping: (f: number) => 2 * f + 1,
	/** Shejwalkar, Houmansadr 2021: two passes that drop 3 f / 4 each, and a majority is left. */
	spectral: (f: number) => 3 * f + 2,
	/** Cao et al. 2021: the root data judge each vector by itself. */
	trust_score: () => 1,
	/** Allouah et al. 2023: most of every vector's n - f nearest are honest. */
	nearest_neighbours: (f: number) => 2 * f + 1,
} as const;

export type BoundedRule = keyof typeof LEAST_VECTORS;

/** Fewest vectors that `rule` may be applied to when `attackers` of them are wrong. */
export function leastVectors(rule: BoundedRule, attackers: number): number {
	return LEAST_VECTORS[rule](attackers);
}

/** @throws AlthingError `robustness.too_many_attackers`, or `robustness.bad_argument` for attackers that are no count */
export function requireBreakdown(rule: BoundedRule, vectors: number, attackers: number): void {
	if (!Number.isSafeInteger(attackers) || attackers < 0) {
		throw new AlthingError(
			"robustness.bad_argument",
			`The number of attackers is a whole number from 0, not ${attackers}.`,
		);
	}
	const least = leastVectors(rule, attackers);
	if (vectors >= least) return;
	throw new AlthingError(
		"robustness.too_many_attackers",
		`${rule} stands ${attackers} attackers among ${least} vectors or more, and there are ${vectors}: more participants, fewer robustness.attackers, or another rule.`,
		{ rule, vectors, attackers, least },
	);
}
