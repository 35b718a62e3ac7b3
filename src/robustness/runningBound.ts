/**
 * The bound of a round from the lengths of the last one's updates, as every node estimates them alike.
 *
 * It has to find its way down from a first bound that nobody could know, while attackers send what is longest:
 * the median counts them, and a bound that stays too wide lets them drive honest updates up, which keeps it wide.
 * Two fifths is below the median of the honest even where a fifth are attackers of the greatest length, and high
 * enough that as many of the least length do not starve the honest (a third did, against small vectors that
 * point the other way). What is above it makes room for growth: where more than three fifths are cut, all that
 * are cut count as long as the bound.
 */
import { ascending } from "./vectors.ts";

const QUANTILE = 0.4;
/** The bound is this much above the quantile. */
const ROOM = 1.25;
/** From round to round the bound changes by this factor at most. */
const LARGEST_CHANGE = 1.5;
/** It does not sink below this part of the largest: the grid is made for the latter. */
const LEAST_PART = 2 ** -10;

/**
 * @param norms of the updates in the last sum, at least one
 * @param bound of the last round
 * @param largest bound there may be
 */
export function nextNormBound(norms: readonly number[], bound: number, largest: number): number {
	const order = ascending(Float64Array.from(norms));
	const below = norms[order[Math.floor(QUANTILE * (norms.length - 1))]!]!;
	const least = Math.max(bound / LARGEST_CHANGE, largest * LEAST_PART);
	return Math.min(Math.max(below * ROOM, least), bound * LARGEST_CHANGE, largest);
}
