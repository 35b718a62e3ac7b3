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
