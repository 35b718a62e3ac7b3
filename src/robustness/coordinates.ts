/** Rules that look at each coordinate by itself (Yin et al. 2018). O(d n log n). */
import { requireBreakdown } from "./breakdown.ts";
import { requireVectors, type Vectors } from "./vectors.ts";

/**
 * The median of every coordinate: within the honest values' range when fewer than half are wrong.
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function coordinateMedian(vectors: Vectors, attackers: number): Float64Array {
	requireBreakdown("coordinate_median", vectors.length, attackers);
	const middle = vectors.length >> 1;
	const odd = vectors.length % 2 === 1;
	return byCoordinate(vectors, (sorted) =>
		odd ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2,
	);
}

/**
 * The mean of every coordinate without its `attackers` smallest and largest values.
 * @throws AlthingError `robustness.too_many_attackers`, `robustness.bad_vectors`
 */
export function trimmedMean(vectors: Vectors, attackers: number): Float64Array {
	requireBreakdown("trimmed_mean", vectors.length, attackers);
	const kept = vectors.length - 2 * attackers;
	return byCoordinate(vectors, (sorted) => {
		let sum = 0;
		for (let i = attackers; i < attackers + kept; i++) sum += sorted[i]!;
		return sum / kept;
	});
}

/**
 * The mean, for every coordinate, of the `kept` values nearest to the median (the second half of
 * Bulyan, El Mhamdi et al. 2018).
 */
export function meanAroundMedian(vectors: Vectors, kept: number): Float64Array {
	const middle = vectors.length >> 1;
	return byCoordinate(vectors, (sorted) => {
		const median = vectors.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
		// The nearest values are neighbours in order: the window moves up while its lower end is farther.
		let first = 0;
		while (first + kept < sorted.length && median - sorted[first]! > sorted[first + kept]! - median) first++;
		let sum = 0;
		for (let i = first; i < first + kept; i++) sum += sorted[i]!;
		return sum / kept;
	});
}

function byCoordinate(vectors: Vectors, rule: (sorted: Float64Array) => number): Float64Array {
	const length = requireVectors(vectors);
	const values = new Float64Array(vectors.length);
	const result = new Float64Array(length);
	for (let i = 0; i < length; i++) {
		for (let j = 0; j < values.length; j++) values[j] = vectors[j]![i]!;
		insertionSort(values);
		result[i] = rule(values);
	}
	return result;
}

/** For a few dozen values faster than a call of the engine's sort for each coordinate. */
function insertionSort(values: Float64Array): void {
	for (let i = 1; i < values.length; i++) {
		const value = values[i]!;
		let j = i - 1;
		while (j >= 0 && values[j]! > value) {
			values[j + 1] = values[j]!;
			j--;
		}
		values[j + 1] = value;
	}
}
