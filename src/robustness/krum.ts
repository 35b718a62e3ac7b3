/** Rules by distances to the nearest others: Krum, multi-Krum (Blanchard et al. 2017), Bulyan (El Mhamdi et al. 2018). */
import { requireBreakdown } from "./breakdown.ts";
import { meanAroundMedian } from "./coordinates.ts";
import { type PairMatrix, squaredDistances, submatrix } from "./gram.ts";
import { ascending, mean, requireVectors, type Vectors } from "./vectors.ts";

/** Of every vector the sum of its squared distances to its n - f - 2 nearest others. */
export function krumScores({ size, values }: PairMatrix, attackers: number): Float64Array {
	const nearest = Math.max(1, size - attackers - 2);
	const scores = new Float64Array(size);
	for (let i = 0; i < size; i++) {
		const others = new Float64Array(size - 1);
		for (let j = 0, k = 0; j < size; j++) if (j !== i) others[k++] = values[i * size + j]!;
		others.sort();
		for (let k = 0; k < nearest && k < others.length; k++) scores[i]! += others[k]!;
	}
	return scores;
}

/**
 * The `count` vectors of the least scores, as sorted indices: 1 is Krum, n - f multi-Krum.
 * @param distances squared, of all pairs
 * @throws AlthingError `robustness.too_many_attackers`
 */
export function selectByKrum(distances: PairMatrix, attackers: number, count: number): number[] {
	requireBreakdown("krum", distances.size, attackers);
	return ascending(krumScores(distances, attackers))
		.slice(0, count)
		.sort((a, b) => a - b);
}

/**
 * Krum chooses n - 2 f vectors one after another, each among those that are left; then, coordinate by
 * coordinate, the mean of the n - 4 f values nearest to their median.
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function bulyan(
	vectors: Vectors,
	attackers: number,
): { readonly aggregate: Float64Array; readonly selected: readonly number[] } {
	requireVectors(vectors);
	requireBreakdown("bulyan", vectors.length, attackers);
	const distances = squaredDistances(vectors);
	const count = vectors.length - 2 * attackers;
	const left = [...vectors.keys()];
	const selected: number[] = [];
	while (selected.length < count) {
		const best = ascending(krumScores(submatrix(distances, left), attackers))[0]!;
		selected.push(...left.splice(best, 1));
	}
	selected.sort((a, b) => a - b);
	const chosen = selected.map((index) => vectors[index]!);
	return { aggregate: meanAroundMedian(chosen, count - 2 * attackers), selected };
}

/** Krum for `count` 1, multi-Krum for n - f: the mean of the selected. */
export function krum(
	vectors: Vectors,
	attackers: number,
	count: number,
): { readonly aggregate: Float64Array; readonly selected: readonly number[] } {
	requireVectors(vectors);
	const selected = selectByKrum(squaredDistances(vectors), attackers, count);
	return { aggregate: mean(vectors, selected), selected };
}
