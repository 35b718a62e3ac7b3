/**
 * Privacy-loss distributions of compositions: which pairs an event is made of, the choice of the grid, and
 * bounds that are refined until they are close.
 */
import { type Answer, type BoundedPart, boundsOnGrid, type Question } from "./composedLoss.ts";
import {
	type Direction,
	discretised,
	type Grid,
	type GridDistribution,
	type SampledPair,
} from "./discretise.ts";
import { sampledLoss } from "./gaussian.ts";

export interface PldBounds {
	/** Proven: the mechanism's worst case has no less. */
	readonly lower: number;
	/** Proven: the mechanism has no more. */
	readonly upper: number;
}

/** One step of a mechanism: which pair is at work may be a public coin's choice, each with its weight. */
export interface Step {
	readonly components: readonly (SampledPair & { readonly weight: number })[];
	/** How often the step is taken. */
	readonly count: number;
}

/** First grid: this share of the standard deviation of a step's loss. The error is a share of h^2 / variance. */
const FIRST_SPACING = 0.03;
const NODE_DENSITY = 200;
/** Upper and lower bound are brought this close, relatively: the truth is three times nearer to the upper. */
const TOLERANCE = 4e-4;
/** Standard deviations the window of a nearly normal composition spans, with a margin. */
const NORMAL_SPAN = 30;
/** Where a few rare losses decide, a standard deviation says little: the first grid is one of so many points. */
const FIRST_POINTS = 1 << 13;
const MOST_POINTS = 1 << 20;
const MOST_REFINEMENTS = 6;
/** From this grid on a lower bound of 0 is left as it is, if the upper one moves no more than this, relatively. */
const HOPELESS_ROUND = 3;
const SETTLED = 1e-6;
/** Of delta, per end and all copies together: what cutting off a step's tails may cost. */
const LOG_CUT = Math.log(1e-6);

export interface Precision {
	/** How close the bounds are brought, relatively: default 4e-4. Larger is faster and as safe. */
	readonly tolerance?: number;
	/**
	 * Only the upper bound is wanted: where the lower one fails (few, rare, large losses) it is enough that the
	 * upper one hardly moves from grid to grid.
	 */
	readonly upperOnly?: boolean;
}

/** Bounds of both directions together: the larger of each. */
export function composedBounds(
	pairs: readonly Step[],
	question: Question,
	{ tolerance = TOLERANCE, upperOnly = false }: Precision = {},
): PldBounds {
	const symmetric = pairs.every(({ components }) =>
		components.every(({ pair, samplingProbability }) => pair.symmetric && samplingProbability === 1),
	);
	const removed = directionBounds(pairs, "remove", question, tolerance, 0, tolerance, upperOnly);
	if (symmetric) return removed;
	// The other direction is refined only as far as it could be the larger one.
	const added = directionBounds(pairs, "add", question, 4 * tolerance, removed.upper, tolerance, upperOnly);
	return { lower: Math.max(removed.lower, added.lower), upper: Math.max(removed.upper, added.upper) };
}

/**
 * @param firstTolerance what the first grid aims at
 * @param irrelevant an upper bound below it needs no refinement
 */
function directionBounds(
	pairs: readonly Step[],
	direction: Direction,
	question: Question,
	firstTolerance: number,
	irrelevant: number,
	tolerance: number,
	upperOnly: boolean,
): PldBounds {
	const scale = firstSpacing(pairs, direction);
	// The gap grows with the square of the spacing.
	let spacing = scale.spacing * Math.sqrt(firstTolerance / TOLERANCE);
	const copies = pairs.reduce((sum, { count }) => sum + count, 0);
	const normalPoints = Math.min(
		MOST_POINTS,
		(NORMAL_SPAN * scale.spacing * Math.sqrt(copies)) / FIRST_SPACING / spacing,
	);
	let best: PldBounds = { lower: 0, upper: "delta" in question ? Number.POSITIVE_INFINITY : 1 };
	for (let round = 0; round < MOST_REFINEMENTS; round++) {
		const density = NODE_DENSITY * Math.max(1, scale.spacing / spacing);
		const points = round === 0 ? Math.max(FIRST_POINTS, normalPoints) : MOST_POINTS;
		const answer = onGrid(pairs, direction, spacing, density, scale.centres, question, points);
		if ("tooLarge" in answer) {
			spacing *= answer.tooLarge / (round === 0 ? FIRST_POINTS : points);
			continue;
		}
		const before = best.upper;
		best = { lower: Math.max(best.lower, answer.lower), upper: Math.min(best.upper, answer.upper) };
		const gap = best.upper - best.lower;
		if (best.upper <= irrelevant || !(gap > tolerance * best.upper)) break;
		if (upperOnly && best.lower === 0) {
			// Of the change between a grid and the next one of half its spacing a third is left.
			if (round > 0 && before - best.upper <= tolerance * best.upper) break;
			if (2 * answer.size > MOST_POINTS) break;
			spacing *= 0.5;
			continue;
		}
		// The end of bounded losses: there is hardly anything left to gain.
		if (round >= HOPELESS_ROUND && best.lower === 0 && before - best.upper <= SETTLED * best.upper) break;
		// Without a lower bound the gap says nothing of the distance.
		const wish = Math.sqrt((0.7 * tolerance * best.upper) / gap);
		const factor = Math.max(
			Number.isFinite(wish) ? wish : 0,
			best.lower > 0 ? 1 / 64 : 1 / 8,
			answer.size / MOST_POINTS,
		);
		if (factor > 0.95) break;
		spacing *= factor;
	}
	return best;
}

function onGrid(
	pairs: readonly Step[],
	direction: Direction,
	wanted: number,
	density: number,
	centres: readonly number[],
	question: Question,
	mostPoints: number,
): Answer | { readonly tooLarge: number } {
	const spacing = latticeSpacing(pairs, wanted);
	const copies = pairs.reduce((sum, { count }) => sum + count, 0);
	// For a question about epsilon delta is not known before: cut far out, where it hardly costs anything.
	const logDelta = "delta" in question ? Math.log(question.delta) : -70;
	const logTail = logDelta + LOG_CUT - Math.log(copies);
	const parts = pairs.map(({ components, count }, i): BoundedPart => {
		const offset = components.length === 1 ? gridOffset(components[0]!, direction, spacing) : 0;
		const grid: Grid = { spacing, offset, density, centre: centres[i]! };
		const each = components.map((component) => discretised(component, direction, grid, logTail));
		const weights = components.map(({ weight }) => weight);
		return {
			upper: mixed(
				each.map(({ upper }) => upper),
				weights,
			),
			lower: mixed(
				each.map(({ lower }) => lower),
				weights,
			),
			offset,
			count,
		};
	});
	return boundsOnGrid(parts, spacing, question, mostPoints);
}

/** The weighted sum of distributions on one grid; an index may occur more than once. */
function mixed(each: readonly GridDistribution[], weights: readonly number[]): GridDistribution {
	const only = each[0]!;
	if (each.length === 1) return only;
	return {
		index: Float64Array.from(each.flatMap(({ index }) => [...index])),
		mass: Float64Array.from(each.flatMap(({ mass }, i) => Array.from(mass, (value) => weights[i]! * value))),
		infinity: each.reduce((sum, { infinity }, i) => sum + weights[i]! * infinity, 0),
	};
}

/** Spacing at most `wanted` such that the atoms of the pair with most to lose lie on the grid. */
function latticeSpacing(pairs: readonly Step[], wanted: number): number {
	for (const { components } of pairs) {
		const { pair, samplingProbability: q } = components[0]!;
		if (components.length > 1) continue;
		if (pair.spacing === undefined || pair.atoms === undefined) continue;
		const { loss } = pair.atoms;
		// Sampled losses are no lattice, but two of them always are.
		const step = q === 1 ? pair.spacing : sampledLoss(q, loss[loss.length - 1]!) - sampledLoss(q, loss[0]!);
		if (!(step > 0) || step < wanted) continue;
		if (q === 1 && pair.continuous === undefined && pairs.length === 1) return step;
		return step / Math.ceil(step / wanted);
	}
	return wanted;
}

/** Offset that puts a pair's highest atom on the grid. */
function gridOffset(
	{ pair, samplingProbability }: SampledPair,
	direction: Direction,
	spacing: number,
): number {
	if (pair.atoms === undefined) return 0;
	const top = sampledLoss(samplingProbability, pair.atoms.loss[pair.atoms.loss.length - 1]!);
	const directed = direction === "remove" ? top : -top;
	return directed - Math.round(directed / spacing) * spacing;
}

/** Mean and variance of a step's loss, to a per cent: only the choice of the grid depends on them. */
function firstSpacing(
	pairs: readonly Step[],
	direction: Direction,
): { readonly spacing: number; readonly centres: readonly number[] } {
	let variance = 0;
	let copies = 0;
	const centres: number[] = [];
	for (const part of pairs) {
		const moments = lossMoments(part, direction);
		centres.push(moments.mean);
		variance += part.count * moments.variance;
		copies += part.count;
	}
	return { spacing: FIRST_SPACING * Math.sqrt(variance / copies), centres };
}

function lossMoments({ components }: Step, direction: Direction): { mean: number; variance: number } {
	const sign = direction === "remove" ? 1 : -1;
	const sums = { mass: 0, first: 0, second: 0 };
	for (const component of components) addMoments(component, sign, sums);
	const mean = sums.first / sums.mass;
	return { mean, variance: Math.max(sums.second / sums.mass - mean * mean, 1e-300) };
}

function addMoments(
	{ pair, samplingProbability: q, weight: share }: Step["components"][number],
	sign: number,
	sums: { mass: number; first: number; second: number },
): void {
	const add = (p0: number, q0: number, loss: number): void => {
		const weight = share * (sign === 1 ? (1 - q) * q0 + q * p0 : q0);
		if (!(weight > 0)) return;
		sums.mass += weight;
		sums.first += weight * sign * loss;
		sums.second += weight * loss * loss;
	};
	if (pair.continuous !== undefined) {
		const { lowest, highest } = pair.continuous.range(-36);
		const cells = 400;
		const before = { pBelow: 0, pAbove: 0, qBelow: 0, qAbove: 0 };
		const after = { pBelow: 0, pAbove: 0, qBelow: 0, qAbove: 0 };
		pair.continuous.tails(lowest, before);
		for (let k = 1; k <= cells; k++) {
			const loss = lowest + ((highest - lowest) * k) / cells;
			pair.continuous.tails(loss, after);
			const middle = sampledLoss(q, loss - (0.5 * (highest - lowest)) / cells);
			add(before.pAbove - after.pAbove, before.qAbove - after.qAbove, middle);
			Object.assign(before, after);
		}
	}
	if (pair.atoms !== undefined) {
		for (const [k, loss] of pair.atoms.loss.entries())
			add(pair.atoms.p[k]!, pair.atoms.q[k]!, sampledLoss(q, loss));
	}
}
