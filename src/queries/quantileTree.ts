/**
 * Counts of a public grid at several resolutions: a tree with four children a node, from which
 * any cumulative count is a sum of few noisy nodes instead of many noisy cells (Hay et al. 2010).
 *
 * Level l = 1 .. levels has 4^l nodes of equal width; the vector holds level 1 first, nodes in
 * order. A record adds 1 to one node of every level.
 */

const BRANCHING = 4;

/** Nodes of all levels. */
export function treeLength(levels: number): number {
	return (BRANCHING ** (levels + 1) - BRANCHING) / (BRANCHING - 1);
}

/** Index of the first node of a level. */
export function levelStart(level: number): number {
	return treeLength(level - 1);
}

/** Index of the node of a level above a cell of the finest level. */
export function nodeAbove(cell: number, level: number, levels: number): number {
	return levelStart(level) + Math.floor(cell / BRANCHING ** (levels - level));
}

/**
 * The least-squares counts of the finest level's cells given noisy counts of all nodes, all with
 * the same variance (Hay, Rastogi, Miklau, Suciu 2010, Thm. 3, for trees without a measured root).
 */
export function consistentCells(noisy: Float64Array, levels: number): Float64Array {
	const averaged = noisy.slice();
	for (let level = levels - 1; level >= 1; level--) {
		// A node of this level stands on subtrees of height h counted in levels, itself included.
		const height = levels - level + 1;
		const all = BRANCHING ** height;
		const below = BRANCHING ** (height - 1);
		for (let node = 0; node < BRANCHING ** level; node++) {
			const at = levelStart(level) + node;
			const children = childSum(averaged, level, node);
			averaged[at] = ((all - below) * noisy[at]! + (below - 1) * children) / (all - 1);
		}
	}
	for (let level = 2; level <= levels; level++) {
		for (let parent = 0; parent < BRANCHING ** (level - 1); parent++) {
			const excess =
				(averaged[levelStart(level - 1) + parent]! - childSum(averaged, level - 1, parent)) / BRANCHING;
			const first = levelStart(level) + BRANCHING * parent;
			for (let child = first; child < first + BRANCHING; child++) averaged[child]! += excess;
		}
	}
	return averaged.slice(levelStart(levels));
}

function childSum(values: Float64Array, level: number, node: number): number {
	const first = levelStart(level + 1) + BRANCHING * node;
	let sum = 0;
	for (let child = first; child < first + BRANCHING; child++) sum += values[child]!;
	return sum;
}

/**
 * Standard deviation of sum_i weights[i] cells[i] of {@link consistentCells} per unit of a node's
 * noise. Least squares has the covariance (H^T H)^-1 and the estimator (H^T H)^-1 H^T; H^T maps
 * weights written on the finest level alone to themselves, so the estimator applied to that
 * vector is (H^T H)^-1 weights.
 */
export function deviationOf(weights: Float64Array, levels: number): number {
	const onFinest = new Float64Array(treeLength(levels));
	onFinest.set(weights, levelStart(levels));
	const solved = consistentCells(onFinest, levels);
	let variance = 0;
	for (const [i, weight] of weights.entries()) variance += weight * solved[i]!;
	return Math.sqrt(variance);
}
