/** Which parameters of the model are aggregated; the others are layers that every site keeps for itself. */
import { AlthingError } from "../../crypto/error.ts";
import { type Model, type ParameterSlot, parameterLayout } from "../learning/model.ts";
import type { Personalization } from "./personalizationChoice.ts";

/** A set of coordinates of a model's flat parameter vector. */
export interface SharedParameters {
	/** Coordinates in the set. */
	readonly count: number;
	/** Coordinates of the whole flat vector. */
	readonly of: number;
	/** From (included) and to (excluded), in order, not touching one another. */
	readonly ranges: readonly (readonly [from: number, to: number])[];
}

/**
 * The shared parameters of a job's model: all, but for the layers that its personalization keeps at the sites.
 * @throws AlthingError `job.model_mismatch` when nothing would be kept, or nothing shared
 */
export function sharedParametersOf(model: Model, personalization: Personalization): SharedParameters {
	const slots = parameterLayout(model);
	const own = ownSlots(slots, personalization);
	const ranges: [number, number][] = [];
	for (const slot of slots) {
		if (own.has(slot)) continue;
		const last = ranges.at(-1);
		if (last?.[1] === slot.offset) last[1] += slot.length;
		else ranges.push([slot.offset, slot.offset + slot.length]);
	}
	const count = ranges.reduce((sum, [from, to]) => sum + to - from, 0);
	if (count === 0) {
		throw new AlthingError(
			"job.model_mismatch",
			"personalization.ownLayers leaves no layer to share: the model has no more layers with parameters; ask for fewer",
		);
	}
	return { count, of: slots.at(-1)!.offset + slots.at(-1)!.length, ranges };
}

function ownSlots(slots: readonly ParameterSlot[], personalization: Personalization): Set<ParameterSlot> {
	switch (personalization?.method) {
		case "fedper":
		case "fedrep": {
			const layers = [...new Set(slots.map(({ layer }) => layer))].slice(-personalization.ownLayers);
			return new Set(slots.filter(({ layer }) => layers.includes(layer)));
		}
		case "fedbn": {
			// Normalization layers alone have scales; their biases are named beside them.
			const scales = slots.filter(({ role }) => role === "scale").map(({ name }) => name);
			const names = new Set(scales.flatMap((name) => [name, name.replace(/scale$/, "bias")]));
			if (names.size === 0) {
				throw new AlthingError(
					"job.model_mismatch",
					"personalization.method fedbn keeps normalization layers at the sites, and the model has none: add layerNorm or groupNorm, or use fedper",
				);
			}
			return new Set(slots.filter(({ name }) => names.has(name)));
		}
		default:
			return new Set();
	}
}

/** The shared values of a full vector, in order. */
export function takeShared(shared: SharedParameters, full: Float64Array): Float64Array {
	if (shared.count === shared.of) return full;
	const taken = new Float64Array(shared.count);
	let next = 0;
	for (const [from, to] of shared.ranges) {
		taken.set(full.subarray(from, to), next);
		next += to - from;
	}
	return taken;
}

/** A full vector with the shared values in their places and zeros elsewhere. */
export function placeShared(shared: SharedParameters, values: Float64Array): Float64Array {
	if (shared.count === shared.of) return values;
	const full = new Float64Array(shared.of);
	let next = 0;
	for (const [from, to] of shared.ranges) {
		full.set(values.subarray(next, next + to - from), from);
		next += to - from;
	}
	return full;
}

/** The model of a site: the common parameters where they are shared, its own elsewhere. */
export function withOwn(shared: SharedParameters, common: Float32Array, own: Float32Array): Float32Array {
	const merged = own.slice();
	for (const [from, to] of shared.ranges) merged.set(common.subarray(from, to), from);
	return merged;
}

/** 1 for each shared coordinate, 0 for the others; `own` turns it round. */
export function movingMask(shared: SharedParameters, which: "shared" | "own"): Uint8Array {
	const mask = new Uint8Array(shared.of).fill(which === "shared" ? 0 : 1);
	for (const [from, to] of shared.ranges) mask.fill(which === "shared" ? 1 : 0, from, to);
	return mask;
}
