/** Cumulant generating functions of composed grid distributions, and the Chernoff bounds they give. */
import type { GridDistribution } from "./discretise.ts";

/** `count` independent copies, with losses offset + index * spacing. */
export interface ComposedPart {
	readonly distribution: GridDistribution;
	readonly offset: number;
	readonly count: number;
}

/** log E exp(tilt * loss) of the finite losses, under P. */
export class Cumulants {
	readonly #parts: readonly { loss: Float64Array; logMass: Float64Array; count: number }[];
	readonly #known = new Map<number, number>();

	constructor(parts: readonly ComposedPart[], spacing: number) {
		this.#parts = parts.map(({ distribution: { index, mass }, offset, count }) => {
			const support: number[] = [];
			for (let k = 0; k < mass.length; k++) if (mass[k]! > 0) support.push(k);
			return {
				loss: Float64Array.from(support, (k) => offset + index[k]! * spacing),
				logMass: Float64Array.from(support, (k) => Math.log(mass[k]!)),
				count,
			};
		});
	}

	/** Of one copy of each part: what its tilted masses are divided by. */
	ofPart(part: number, tilt: number): number {
		const { loss, logMass } = this.#parts[part]!;
		let largest = Number.NEGATIVE_INFINITY;
		for (let k = 0; k < loss.length; k++) {
			const term = logMass[k]! + tilt * loss[k]!;
			if (term > largest) largest = term;
		}
		let sum = 0;
		for (let k = 0; k < loss.length; k++) {
			const term = logMass[k]! + tilt * loss[k]! - largest;
			if (term > -46) sum += Math.exp(term);
		}
		// What was skipped is below 1e-20 of the largest term each.
		return largest + Math.log(sum + 1e-20 * loss.length);
	}

	at(tilt: number): number {
		const known = this.#known.get(tilt);
		if (known !== undefined) return known;
		let total = 0;
		for (const [i, { count }] of this.#parts.entries()) total += count * this.ofPart(i, tilt);
		this.#known.set(tilt, total);
		return total;
	}
}

/**
 * Minimum of a function of t > 0 that falls, then rises, over a range of magnitudes: coarse steps in log t
 * from `start`, then finer ones. Any t gives a valid bound, so the search need not be exact.
 */
export function leastOverScale(valueAt: (t: number) => number, start: number): { t: number; value: number } {
	let logT = Math.log(start);
	let value = valueAt(start);
	const probe = (candidate: number): boolean => {
		const tried = valueAt(Math.exp(candidate));
		// Bounded losses have their least value at infinity: close to it is enough.
		if (!(tried < value - 1e-6 * Math.abs(value))) return false;
		value = tried;
		logT = candidate;
		return true;
	};
	for (let step = 2; step > 0.03; step *= 0.4) {
		for (const sign of [1, -1]) {
			let moved = false;
			for (let i = 0; i < 40 && probe(logT + sign * step); i++) moved = true;
			if (moved) break;
		}
	}
	return { t: Math.exp(logT), value };
}
