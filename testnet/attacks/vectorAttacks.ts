/**
 * What attackers send in place of an honest update: the published attacks on robust aggregation. For
 * the testnet and the bench alone; nothing in node/ imports this.
 *
 * The attackers collude and know every honest vector of the round, which is more than any real
 * participant of secure aggregation sees.
 */
import { gramMatrix } from "../../src/robustness/gram.ts";
import {
	addScaled,
	dot,
	mean,
	medianOf,
	norm,
	squaredDistance,
	type Vectors,
} from "../../src/robustness/vectors.ts";

export interface AttackView {
	/** The honest participants' vectors of this round. */
	readonly honest: Vectors;
	/** What the attackers would send if they followed the protocol, on their own records. */
	readonly own: Vectors;
	/** The same in each attacker's stead on records with wrong labels, where the attack makes them. */
	readonly poisoned: Vectors;
	/** How many vectors to make. */
	readonly attackers: number;
	/** Of the federation, attackers included: what a backdoor is boosted by. */
	readonly participants: number;
	/** What the attackers keep from round to round. */
	readonly memory: { victim?: number };
	/** Numbers in [0, 1). */
	readonly random: () => number;
	/** The aggregate of the round before; zeros in the first. */
	readonly previous: Float64Array;
}

/** One vector for each attacker. */
export type VectorAttack = (view: AttackView) => Float64Array[];

/** How far ALIE goes in standard deviations: within what 20 honest ones of 25 spread themselves. */
const ALIE_DEVIATIONS = 1.5;
/** What Baruch et al. work out for 5 attackers of 25: the quantile 12/20 of the normal distribution. */
const SMALL_ALIE_DEVIATIONS = 0.253;
const SIGN_FLIP_FACTOR = 4;
const POWER_STEPS = 50;

/** By name. Sources: Baruch 2019 (alie), Xie 2020 (inner_product), Shejwalkar 2021 (min_max), Karimireddy 2022 (mimic). */
export const vectorAttacks = {
	/** Trains on wrong labels, and follows the protocol otherwise. */
	label_flip: ({ poisoned }) => [...poisoned],
	/** -4 times the honest mean. */
	sign_flip: (view) => each(view, () => scaledBy(mean(view.honest), -SIGN_FLIP_FACTOR)),
	/** Each attacker's own update, negated. */
	bit_flip: ({ own }) => own.map((vector) => scaledBy(vector, -1)),
	/** As the experiments of Karimireddy et al. 2022 have both: by attackers that keep no momentum, where all others do. */
	bit_flip_bare: ({ own }) => own.map((vector) => scaledBy(vector, -1)),
	label_flip_bare: ({ poisoned }) => [...poisoned],
	/** The honest mean plus normal noise of ten times its length. */
	gaussian: (view) => {
		const center = mean(view.honest);
		const deviation = (10 * norm(center)) / Math.sqrt(center.length);
		return each(view, () => center.map((value) => value + deviation * normal(view.random)));
	},
	/** Mean minus 1.5 standard deviations in every coordinate: "a little is enough". */
	alie: (view) => {
		const deviations = standardDeviations(view.honest);
		return each(view, () => minus(mean(view.honest), deviations, ALIE_DEVIATIONS));
	},
	/** The same with 0.25 standard deviations, as its paper has it for 5 attackers of 25. */
	alie_small: (view) => {
		const deviations = standardDeviations(view.honest);
		return each(view, () => minus(mean(view.honest), deviations, SMALL_ALIE_DEVIATIONS));
	},
	/** -0.5 times the honest mean: small, and against it. */
	inner_product: (view) => each(view, () => scaledBy(mean(view.honest), -0.5)),
	/** -0.1 times the honest mean. */
	inner_product_small: (view) => each(view, () => scaledBy(mean(view.honest), -0.1)),
	/** As far from the mean as no farther from anybody than two honest vectors are from each other. */
	min_max: (view) => {
		const center = mean(view.honest);
		const deviations = standardDeviations(view.honest);
		const factor = largestWithin(view.honest, center, deviations);
		return each(view, () => minus(center, deviations, factor));
	},
	/** Copies of one honest participant, the same in every round: whose update reaches farthest along what tells them apart most. */
	mimic: (view) => {
		view.memory.victim ??= farthestAlongLeadingDirection(view.honest);
		const victim = view.honest[view.memory.victim]!;
		return each(view, () => victim.slice());
	},
	/** Our own, harder one: copies of whoever differs most in this round, so that the model chases one after the other. */
	mimic_farthest: (view) => {
		const center = mean(view.honest);
		const distances = view.honest.map((vector) => squaredDistance(vector, center));
		const victim = view.honest[distances.indexOf(Math.max(...distances))]!;
		return each(view, () => victim.slice());
	},
	/** Model replacement (Bagdasaryan et al. 2020): the first attacker's backdoored update, boosted by the number of participants. */
	backdoor: ({ poisoned, own, participants }) =>
		poisoned.map((vector, i) => (i === 0 ? scaledBy(vector, participants) : own[i]!)),
	/** Uniform values of a hundred times the largest honest coordinate: what wrong masks leave of a vector. */
	garbage: (view) => {
		let largest = 0;
		for (const vector of view.honest)
			for (const value of vector) largest = Math.max(largest, Math.abs(value));
		return each(view, () => view.honest[0]!.map(() => 100 * largest * (2 * view.random() - 1)));
	},
	/** No training: the last aggregate again, with a little noise to look busy. */
	free_rider: (view) => {
		const deviation = (0.1 * norm(view.previous)) / Math.sqrt(view.previous.length);
		return each(view, () => view.previous.map((value) => value + deviation * normal(view.random)));
	},
	/** One attacker under many names: the same label-flipped update from all of them, at three times its length. */
	sybil: (view) => each(view, () => scaledBy(mean(view.poisoned), 3)),
	/**
	 * Knows of reputation by direction: agrees with the last aggregate as much as the median honest
	 * participant, and goes all the rest of the way against the spread of the others.
	 */
	aligned_drift: (view) => {
		const { honest, previous } = view;
		const length = norm(previous);
		const unit = length > 0 ? scaledBy(previous, 1 / length) : previous;
		const along = medianOf(honest.map((vector) => dot(vector, unit)));
		const bound = medianOf(honest.map(norm));
		const spread = standardDeviations(honest);
		addScaled(spread, unit, -dot(spread, unit));
		const rest = Math.sqrt(Math.max(0, bound * bound - along * along)) / norm(spread);
		return each(view, () => minus(scaledBy(unit, along), spread, rest));
	},
	/** Follows the protocol. */
	none: ({ own }) => [...own],
} as const satisfies Record<string, VectorAttack>;

export type AttackName = keyof typeof vectorAttacks;

function each({ attackers }: AttackView, vector: () => Float64Array): Float64Array[] {
	return Array.from({ length: attackers }, vector);
}

function scaledBy(vector: Float64Array, factor: number): Float64Array {
	return vector.map((value) => factor * value);
}

function minus(vector: Float64Array, other: Float64Array, factor: number): Float64Array {
	const result = vector.slice();
	addScaled(result, other, -factor);
	return result;
}

function standardDeviations(vectors: Vectors): Float64Array {
	const center = mean(vectors);
	return center.map((value, i) => {
		let squares = 0;
		for (const vector of vectors) squares += (vector[i]! - value) ** 2;
		return Math.sqrt(squares / vectors.length);
	});
}

/** Index of the vector with the largest part along the first principal component, by power iteration on inner products. */
function farthestAlongLeadingDirection(vectors: Vectors): number {
	const center = mean(vectors);
	const { size, values } = gramMatrix(vectors.map((vector) => minus(vector, center, 1)));
	let parts = Float64Array.from({ length: size }, (_, i) => 1 + i);
	for (let step = 0; step < POWER_STEPS; step++) {
		const length = norm(parts) || 1;
		parts = parts.map((_, i) => dot(values.subarray(i * size, (i + 1) * size), parts) / length);
	}
	const sizes = Array.from(parts, Math.abs);
	return sizes.indexOf(Math.max(...sizes));
}

/** The largest factor, by the quadratic of each honest vector: |center - factor p - x| <= the honest diameter. */
function largestWithin(honest: Vectors, center: Float64Array, perturbation: Float64Array): number {
	let diameter = 0;
	for (const one of honest)
		for (const other of honest) diameter = Math.max(diameter, squaredDistance(one, other));
	const a = dot(perturbation, perturbation);
	let factor = Number.POSITIVE_INFINITY;
	for (const vector of honest) {
		const offset = center.map((value, i) => value - vector[i]!);
		const b = dot(offset, perturbation);
		const c = dot(offset, offset) - diameter;
		factor = Math.min(factor, (b + Math.sqrt(Math.max(0, b * b - a * c))) / a);
	}
	return Number.isFinite(factor) ? factor : 0;
}

/** Box-Muller. */
function normal(random: () => number): number {
	return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
