/**
 * A dominating pair on a grid of losses, from above and from below.
 *
 * Above: every cell between two nodes is spread onto its ends so that its P-mass and its Q-mass stay
 * what they are ("connect the dots", Doroshenko et al. 2022). Below: see `contraction.ts`. Both are
 * orders of the function x -> E_Q (P/Q - x)+, which composition keeps.
 */
import { contracted } from "./contraction.ts";
import { sampledLoss, unsampledLoss } from "./gaussian.ts";
import type { LossPair, Tails } from "./lossPair.ts";

/** `remove`: P has the record, Q lacks it. `add`: the two exchanged, every loss negated. */
export type Direction = "remove" | "add";

/** A pair with the probability that a record takes part; 1 where nothing is sampled. */
export interface SampledPair {
	readonly pair: LossPair;
	readonly samplingProbability: number;
}

/** Losses offset + index * spacing; the nodes are some of them: all near the centre, ever fewer far from it. */
export interface Grid {
	readonly spacing: number;
	readonly offset: number;
	/** Nodes at full density on either side of the centre, and per doubling of the distance beyond. */
	readonly density: number;
	/** The loss around which the nodes are dense. */
	readonly centre: number;
}

/** P-mass on nodes; what it sums to with `infinity` may be under 1 in a lower bound. */
export interface GridDistribution {
	/** Rising integers. */
	readonly index: Float64Array;
	readonly mass: Float64Array;
	/** P-mass at infinite loss. */
	readonly infinity: number;
}

export interface DiscretisedPair {
	readonly upper: GridDistribution;
	readonly lower: GridDistribution;
}

/** e^650 and its inverse are doubles with room to multiply: losses beyond go to infinity. */
const LARGEST_LOSS = 650;
/** Below it tails lose digits to underflow; a lower bound does without. */
const LEAST_TAIL = 1e-285;
/** An atom this close to a node, in units of the spacing, is on it. */
const ON_NODE = 1e-9;

/**
 * @param logTail log of the P-mass that may be cut off at each end (it goes to infinity above, nowhere below)
 */
export function discretised(
	{ pair, samplingProbability: q }: SampledPair,
	direction: Direction,
	grid: Grid,
	logTail: number,
): DiscretisedPair {
	// Everything is laid out in the direction `remove`; `add` is its mirror image.
	const sign = direction === "remove" ? 1 : -1;
	const h = grid.spacing;
	const offset = sign * grid.offset;
	const { lowest, highest } = lossRange(pair, q, logTail);
	const index = nodes(grid, sign, Math.floor((lowest - offset) / h), Math.ceil((highest - offset) / h));
	const count = index.length;
	const loss = index.map((i) => offset + i * h);
	const node = new MassPair(count);
	const cellLow = new MassPair(count);
	const cellHigh = new MassPair(count);
	const ends = { pBelow: 0, qBelow: 0, pAbove: 0, qAbove: 0 };
	/** Cells a lower bound leaves out. */
	const uncertain = new Uint8Array(count);

	if (pair.continuous !== undefined) {
		const { tails } = pair.continuous;
		let previous: Tails = { pBelow: 0, pAbove: 0, qBelow: 0, qAbove: 0 };
		let current: Tails = { pBelow: 0, pAbove: 0, qBelow: 0, qAbove: 0 };
		let baseLow = unsampledLoss(q, loss[0]!);
		tails(baseLow, previous);
		ends.pBelow = (1 - q) * previous.qBelow + q * previous.pBelow;
		ends.qBelow = previous.qBelow;
		for (let k = 0; k + 1 < count; k++) {
			const low = loss[k]!;
			const high = loss[k + 1]!;
			const baseHigh = unsampledLoss(q, high);
			if (baseHigh === Number.NEGATIVE_INFINITY) continue;
			tails(baseHigh, current);
			// Of two differences the one of smaller numbers has more digits.
			const p =
				current.pBelow < previous.pAbove
					? current.pBelow - previous.pBelow
					: previous.pAbove - current.pAbove;
			const r =
				current.qBelow < previous.qAbove
					? current.qBelow - previous.qBelow
					: previous.qAbove - current.qAbove;
			if (p > 0 || r > 0) {
				if (p < LEAST_TAIL || r < LEAST_TAIL) uncertain[k] = 1;
				// Both masses stay when p = yLow qLow + yHigh qHigh, r = qLow + qHigh, y = e^(unsampled loss).
				let pHigh: number;
				let qHigh: number;
				let pLow: number;
				let qLow: number;
				if (baseLow > Number.NEGATIVE_INFINITY) {
					const split = (p - Math.exp(baseLow) * r) / -Math.expm1(baseLow - baseHigh);
					const up = Math.min(p, Math.max(0, split));
					qHigh = up * Math.exp(-baseHigh);
					qLow = (p - up) * Math.exp(-baseLow);
					pHigh = q === 1 ? up : up * Math.exp(high - baseHigh);
					pLow = q === 1 ? p - up : (p - up) * Math.exp(low - baseLow);
				} else {
					const yLow = (Math.expm1(low) + q) / q;
					const yHigh = Math.exp(baseHigh);
					qHigh = Math.min(r, (p - yLow * r) / (yHigh - yLow));
					qLow = r - qHigh;
					pHigh = Math.exp(high) * qHigh;
					pLow = Math.exp(low) * qLow;
				}
				cellHigh.add(k, pHigh, qHigh);
				cellLow.add(k, pLow, qLow);
			}
			baseLow = baseHigh;
			[previous, current] = [current, previous];
		}
		ends.pAbove = (1 - q) * previous.qAbove + q * previous.pAbove;
		ends.qAbove = previous.qAbove;
	}
	if (pair.atoms !== undefined) {
		const { loss: atomLoss, p: atomP, q: atomQ } = pair.atoms;
		let k = 0;
		for (let i = 0; i < atomLoss.length; i++) {
			const q0 = atomQ[i]!;
			const p0 = q === 1 ? atomP[i]! : (1 - q) * q0 + q * atomP[i]!;
			if (p0 < LEAST_TAIL && q0 < LEAST_TAIL) continue;
			const l = sampledLoss(q, atomLoss[i]!);
			const position = (l - offset) / h;
			if (position < index[0]! - ON_NODE) {
				ends.pBelow += p0;
				ends.qBelow += q0;
				continue;
			}
			if (position > index[count - 1]! + ON_NODE) {
				ends.pAbove += p0;
				ends.qAbove += q0;
				continue;
			}
			while (k + 1 < count && position > index[k + 1]! + ON_NODE) k++;
			if (Math.abs(position - index[k]!) <= ON_NODE) node.add(k, p0, q0);
			else if (Math.abs(position - index[k + 1]!) <= ON_NODE) node.add(k + 1, p0, q0);
			else {
				const width = loss[k + 1]! - loss[k]!;
				const high = Math.expm1(loss[k]! - l) / Math.expm1(-width);
				const pHigh = p0 * high;
				const pLow = p0 - pHigh;
				cellHigh.add(k, pHigh, q0 * high * Math.exp(l - loss[k + 1]!));
				cellLow.add(k, pLow, q0 * (1 - high) * Math.exp(l - loss[k]!));
			}
		}
	}

	// From here on in the direction asked for: rising losses, P-masses.
	const forward = sign === 1;
	const pick = (pairs: MassPair, last: number): Float64Array =>
		forward ? pairs.p.slice(0, last) : pairs.q.slice(0, last).reverse();
	const directedIndex = forward ? index : index.map((i) => -i).reverse();
	const atNode = pick(node, count);
	const toLow = forward ? pick(cellLow, count - 1) : pick(cellHigh, count - 1);
	const toHigh = forward ? pick(cellHigh, count - 1) : pick(cellLow, count - 1);
	const doubtful = forward ? uncertain.slice(0, count - 1) : uncertain.slice(0, count - 1).reverse();
	const below = forward ? ends.pBelow : ends.qAbove;
	const above = forward ? ends.pAbove : ends.qBelow;
	const otherAbove = forward ? ends.qAbove : ends.pBelow;

	const upperMass = Float64Array.from(atNode);
	for (let k = 0; k + 1 < count; k++) {
		upperMass[k] = upperMass[k]! + toLow[k]!;
		upperMass[k + 1] = upperMass[k + 1]! + toHigh[k]!;
	}
	upperMass[0] = upperMass[0]! + below;
	// Beyond the last node P-mass `above` and Q-mass `otherAbove`: Q e^top stays, the rest has no loss to stand for it.
	const top = sign * (forward ? loss[count - 1]! : loss[0]!);
	const kept = Math.min(above, Math.exp(top) * otherAbove);
	upperMass[count - 1] = upperMass[count - 1]! + kept;
	for (let k = 0; k + 1 < count; k++) {
		if (doubtful[k] === 1) toLow[k] = toHigh[k] = 0;
	}
	return {
		upper: { index: directedIndex, mass: upperMass, infinity: above - kept },
		lower: {
			index: directedIndex,
			mass: contracted({ gap: gaps(directedIndex, h), atNode, toLow, toHigh }),
			infinity: 0,
		},
	};
}

class MassPair {
	readonly p: Float64Array;
	readonly q: Float64Array;
	constructor(count: number) {
		this.p = new Float64Array(count);
		this.q = new Float64Array(count);
	}
	add(at: number, p: number, q: number): void {
		this.p[at] = this.p[at]! + p;
		this.q[at] = this.q[at]! + q;
	}
}

function gaps(index: Float64Array, spacing: number): Float64Array {
	const widths = new Float64Array(index.length - 1);
	for (let k = 0; k < widths.length; k++) widths[k] = (index[k + 1]! - index[k]!) * spacing;
	return widths;
}

/** Losses between which everything lies but e^logTail at either end, in the direction `remove`. */
function lossRange(
	pair: LossPair,
	q: number,
	logTail: number,
): { readonly lowest: number; readonly highest: number } {
	let lowest = Number.POSITIVE_INFINITY;
	let highest = Number.NEGATIVE_INFINITY;
	if (pair.continuous !== undefined) ({ lowest, highest } = pair.continuous.range(logTail));
	if (pair.atoms !== undefined) {
		const { loss, p, q: other } = pair.atoms;
		const tail = Math.exp(logTail) / loss.length;
		let first = 0;
		let last = loss.length - 1;
		while (first < last && p[first]! + other[first]! < tail) first++;
		while (last > first && p[last]! + other[last]! < tail) last--;
		lowest = Math.min(lowest, loss[first]!);
		highest = Math.max(highest, loss[last]!);
	}
	return {
		lowest: sampledLoss(q, Math.max(lowest, -LARGEST_LOSS)),
		highest: sampledLoss(q, Math.min(highest, LARGEST_LOSS)),
	};
}

/** Below so many indices every one is a node. */
const ALL_NODES = 4096;

/** Rising indices that cover [first, last], dense about the centre, then at distances that double. */
function nodes(grid: Grid, sign: number, first: number, last: number): Float64Array {
	if (last <= first) return Float64Array.of(first, first + 1);
	if (last - first <= ALL_NODES) return Float64Array.from({ length: last - first + 1 }, (_, i) => first + i);
	const centre = Math.min(
		last,
		Math.max(first, Math.round((sign * grid.centre - sign * grid.offset) / grid.spacing)),
	);
	const right = [centre];
	for (let at = centre, step = 1; at < last; ) {
		while (at - centre >= 2 * step * grid.density) step *= 2;
		at += step;
		right.push(at);
	}
	const left: number[] = [];
	for (let at = centre, step = 1; at > first; ) {
		while (centre - at >= 2 * step * grid.density) step *= 2;
		at -= step;
		left.push(at);
	}
	return Float64Array.from([...left.reverse(), ...right]);
}
