/**
 * A quantile by the exponential mechanism over a public grid, interval form (Smith 2011): between
 * two neighbouring values of the records all grid cells have the same score, so a run of cells is
 * selected with its length as multiplicity and then a cell of the run uniformly.
 *
 * Unit: one record added or removed. Score of a cell: minus the distance of p n from the ranks that
 * the cell's records have, [records below, records not above], in units of 1/10000 rank. Cells that
 * hold many equal records are found, which a score between records would miss. Adding a record moves
 * p n by p and the ranks by 0 or 1, so the distance by at most max(p, 1 - p), not always to the same
 * side. Cost: epsilon-bounded range.
 *
 * Timing: sorting, and one step of `selection.ts` for each run of cells, so it depends on the number
 * of records and of distinct values: run off the request path.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { RandomWords } from "../samplers/randomWords.ts";
import { exponentialMechanism } from "./exponential.ts";
import type { Mechanism } from "./mechanism.ts";

export interface QuantileRequest {
	readonly epsilon: number;
	/** p in (0, 1), taken to the nearest multiple of 1/10000. */
	readonly fraction: number;
	/** Public; values beyond are clamped. */
	readonly bounds: readonly [least: number, largest: number];
}

export interface PrivateQuantile extends Mechanism {
	/** With 95 % probability the released value's rank is off by no more than this many records. */
	readonly rankError95: number;
	/** @returns the centre of a grid cell */
	select(values: Float64Array): number;
}

/** Cells of the grid: a value is exact to 2^-20 of the bounds' width. */
const CELLS = 2 ** 20;
/** Ranks are counted in steps of one over this. */
const RANK_STEPS = 10_000;

/** @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_bounds`, `privacy.bad_fraction` */
export function privateQuantile(
	{ epsilon, fraction, bounds: [least, largest] }: QuantileRequest,
	words: RandomWords = new RandomWords(),
): PrivateQuantile {
	const width = largest - least;
	if (!(width > 0 && width < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_bounds",
			`The bounds must be finite and in order, not [${least}, ${largest}].`,
		);
	}
	if (!(fraction > 0 && fraction < 1)) {
		throw new AlthingError(
			"privacy.bad_fraction",
			`The fraction must be strictly between 0 and 1, not ${fraction}.`,
		);
	}
	const steps = Math.max(1, Math.min(RANK_STEPS - 1, Math.round(fraction * RANK_STEPS)));
	const sensitivity = Math.max(steps, RANK_STEPS - steps);
	const mechanism = exponentialMechanism({ epsilon, sensitivity, monotone: false }, words);
	return {
		name: "private quantile",
		unit: mechanism.unit,
		sensitivity: sensitivity / RANK_STEPS,
		event: mechanism.event,
		// McSherry, Talwar 2007, Thm. 6: P[score < best - t] <= CELLS exp(-eta t), eta = epsilon / (2 sensitivity).
		rankError95: ((2 * sensitivity) / RANK_STEPS / epsilon) * Math.log(CELLS / 0.05),
		select: (values) => {
			const cells = Float64Array.from(values, (value) => cellOf((value - least) / width)).sort();
			const runs = runsOf(cells, steps);
			const run = mechanism.select(runs.scores, runs.lengths);
			const cell = runs.starts[run]! + words.belowNumber(runs.lengths[run]!);
			return least + (width * (cell + 0.5)) / CELLS;
		},
	};
}

function cellOf(share: number): number {
	// Not a number, which no reader lets through, counts as the least value.
	return share > 0 ? Math.min(CELLS - 1, Math.floor(share * CELLS)) : 0;
}

/** Runs of cells with the same ranks, from the sorted cells of the records. */
function runsOf(cells: Float64Array, fractionSteps: number) {
	const wanted = fractionSteps * cells.length;
	const starts: number[] = [];
	const lengths: number[] = [];
	const scores: number[] = [];
	const push = (start: number, end: number, below: number, notAbove: number): void => {
		if (end <= start) return;
		starts.push(start);
		lengths.push(end - start);
		scores.push(-Math.max(0, below * RANK_STEPS - wanted, wanted - notAbove * RANK_STEPS));
	};
	let next = 0;
	let start = 0;
	while (next < cells.length) {
		const cell = cells[next]!;
		const first = next;
		while (next < cells.length && cells[next] === cell) next++;
		push(start, cell, first, first);
		push(cell, cell + 1, first, next);
		start = cell + 1;
	}
	push(start, CELLS, cells.length, cells.length);
	return { starts, lengths: Float64Array.from(lengths), scores };
}
