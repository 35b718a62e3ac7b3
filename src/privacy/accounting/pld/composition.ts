/**
 * Privacy-loss distributions of compositions: which pairs an event is made of, the choice of the grid, and
 * bounds that are refined until they are close.
 */
import { type Answer, type BoundedPart, boundsOnGrid, type Question } from "./composedLoss.ts";
import {
	type Direction,
	type DiscretisedPair,
	discretised,
	type Grid,
	lossRange,
	type SampledPair,
} from "./discretise.ts";
import { sampledLoss } from "./gaussian.ts";

export interface PldBounds {
	/** Proven: the mechanism's worst case has no less. */
	readonly lower: number;
	/** Proven: the mechanism has no more. */
	readonly upper: number;
}

/** A pair and how often it is used. */
export interface CountedPair extends SampledPair {
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
/** Of delta, per end and all copies together: what cutting off a step's tails may cost. */
const LOG_CUT = Math.log(1e-6);

/**
 * Bounds of both directions together: the larger of each.
 * @param tolerance how close they are brought, relatively; a larger one is faster and as safe
 */
export function composedBounds(
	pairs: readonly CountedPair[],
	question: Question,
	tolerance = TOLERANCE,
): PldBounds {
	const symmetric = pairs.every(
		({ pair, samplingProbability }) => pair.symmetric && samplingProbability === 1,
	);
	const removed = directionBounds(pairs, "remove", question, tolerance, 0);
	if (symmetric) return removed;
	// The other direction is refined only as far as it could be the larger one.
	const added = directionBounds(pairs, "add", question, 4 * tolerance, removed.upper, tolerance);
	return { lower: Math.max(removed.lower, added.lower), upper: Math.max(removed.upper, added.upper) };
}

/**
 * @param firstTolerance what the first grid aims at
 * @param irrelevant an upper bound below it needs no refinement
 */
function directionBounds(
	pairs: readonly CountedPair[],
	direction: Direction,
	question: Question,
	firstTolerance: number,
	irrelevant: number,
	tolerance = firstTolerance,
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
		best = { lower: Math.max(best.lower, answer.lower), upper: Math.min(best.upper, answer.upper) };
		const gap = best.upper - best.lower;
		if (best.upper <= irrelevant || !(gap > tolerance * best.upper)) break;
		const wish = Math.sqrt((0.7 * tolerance * best.upper) / gap);
		const factor = Math.max(Number.isFinite(wish) ? wish : 0, 1 / 64, answer.size / MOST_POINTS);
		if (factor > 0.95) break;
		spacing *= factor;
	}
	return best;
}

function onGrid(
	pairs: readonly CountedPair[],
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
	const parts = pairs.map((part, i): BoundedPart => {
		const offset = gridOffset(part, direction, spacing);
		const grid: Grid = { spacing, offset, density, centre: centres[i]! };
		const { upper, lower } = discretised(part, direction, grid, logTail);
		return { upper, lower, offset, count: part.count };
	});
	return boundsOnGrid(parts, spacing, question, mostPoints);
}

/** Spacing at most `wanted` such that the atoms of the pair with most to lose lie on the grid. */
function latticeSpacing(pairs: readonly CountedPair[], wanted: number): number {
	for (const { pair, samplingProbability: q } of pairs) {
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
	pairs: readonly CountedPair[],
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

function lossMoments(
	{ pair, samplingProbability: q }: SampledPair,
	direction: Direction,
): { mean: number; variance: number } {
	const sign = direction === "remove" ? 1 : -1;
	let mass = 0;
	let first = 0;
	let second = 0;
	const add = (p0: number, q0: number, loss: number): void => {
		const weight = sign === 1 ? (1 - q) * q0 + q * p0 : q0;
		if (!(weight > 0)) return;
		mass += weight;
		first += weight * sign * loss;
		second += weight * loss * loss;
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
	const mean = first / mass;
	return { mean, variance: Math.max(second / mass - mean * mean, 1e-300) };
}
