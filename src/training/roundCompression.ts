/**
 * One round's compression, the same at every site and node: drawn from the job's beacon, the round's
 * number, and what earlier rounds released.
 */
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { CountSketch } from "../compression/countSketch.ts";
import { rotate, rotateBack } from "../compression/rotation.ts";
import {
	gatherCoordinates,
	largestCoordinates,
	sharedCoordinates,
} from "../compression/sharedCoordinates.ts";
import type { CompressionPlan } from "./compressionPlan.ts";
import { type CompressionState, emptyTables } from "./compressionState.ts";

/** @throws AlthingError `training.bad_state` for the state of another job */
export function roundCompression(
	plan: CompressionPlan,
	state: CompressionState | undefined,
	round: number,
): RoundCompression {
	if (state !== undefined) return new RoundCompression(plan, state, round);
	throw new AlthingError(
		"training.bad_state",
		"the state of a job with compression does not say what it is drawn from; fetch it again from a peer",
	);
}

export class RoundCompression {
	readonly #plan: CompressionPlan;
	readonly #state: CompressionState;
	readonly #rotationSeed: Uint8Array;
	/** Of the update; undefined when all are sent, or a sketch. */
	readonly #coordinates: Uint32Array | undefined;
	readonly #sketch: CountSketch | undefined;

	constructor(plan: CompressionPlan, state: CompressionState, round: number) {
		const { seed, largest } = state;
		const { parameters, values, sketch } = plan;
		this.#plan = plan;
		this.#state = state;
		this.#rotationSeed = hashFields("althing/compression-rotation/1", seed, round);
		if (sketch !== undefined) {
			// Tables of all rounds are added up, so all of them have the same cells.
			const seed32 = hashFields("althing/compression-sketch/1", seed);
			this.#sketch = new CountSketch(parameters, sketch, seed32);
		} else if (values < parameters) {
			this.#coordinates = sharedCoordinates({
				seed32: hashFields("althing/compression-coordinates/1", seed, round),
				length: parameters,
				count: values,
				always: largest,
			});
		}
	}

	/** What is sent of an update: some of its coordinates, or its sketch. At most as long as it, except for a sketch. */
	reduce(update: Float64Array): Float64Array {
		if (this.#sketch !== undefined) return this.#sketch.of(update);
		return this.#coordinates === undefined ? update : gatherCoordinates(update, this.#coordinates);
	}

	/** What is not sent: the update with zeros at the coordinates that are. */
	unsent(update: Float64Array): Float32Array {
		const rest = Float32Array.from(update);
		for (const coordinate of this.#coordinates ?? rest.keys()) rest[coordinate] = 0;
		return rest;
	}

	/** In place, the last step before values are rounded; whatever else is sent with them is rotated along. */
	spread(values: Float64Array): void {
		if (this.#plan.rotated) rotate(values, this.#rotationSeed);
	}

	/** Undoes {@link spread}. */
	gatherBack(values: Float64Array): void {
		if (this.#plan.rotated) rotateBack(values, this.#rotationSeed);
	}

	/**
	 * The update that the model is moved by, from the mean of what sites sent, and the state that the next
	 * round starts from. Public arithmetic, the same bits at every node.
	 */
	restore(mean: Float64Array): { readonly update: Float64Array; readonly state: CompressionState } {
		if (this.#sketch !== undefined) return this.#recover(this.#sketch, mean);
		const { parameters, values, informed, errorFeedback } = this.#plan;
		const { seed, largest } = this.#state;
		const update = new Float64Array(parameters);
		const coordinates = this.#coordinates;
		if (coordinates === undefined) update.set(mean);
		else {
			const fixed = largest?.length ?? 0;
			const factor = errorFeedback ? 1 : (parameters - fixed) / Math.max(1, values - fixed);
			let nextFixed = 0;
			for (let i = 0; i < coordinates.length; i++) {
				const coordinate = coordinates[i]!;
				const always = largest?.[nextFixed] === coordinate;
				if (always) nextFixed++;
				update[coordinate] = mean[i]! * (always ? 1 : factor);
			}
		}
		return {
			update,
			state: informed === 0 ? { seed } : { seed, largest: this.#largestOf(mean, informed) },
		};
	}

	/** The coordinates of the model where what was sent is largest, as it was sent: not scaled up. */
	#largestOf(mean: Float64Array, count: number): Uint32Array {
		const places = largestCoordinates(mean, count);
		return this.#coordinates === undefined ? places : places.map((place) => this.#coordinates![place]!);
	}

	/** FetchSGD (Rothchild et al. 2020, algorithm 1): momentum and error are kept as sketches. */
	#recover(sketch: CountSketch, mean: Float64Array): ReturnType<RoundCompression["restore"]> {
		const { recovered, momentum: decay } = this.#plan.sketch!;
		const { seed, tables } = this.#state;
		const before = tables ?? emptyTables(mean.length);
		const momentum = mean.map((value, cell) => decay * before.momentum[cell]! + value);
		const pending = before.error.map((value, cell) => value + momentum[cell]!);
		const estimates = sketch.estimates(pending);
		const update = new Float64Array(estimates.length);
		for (const i of largestCoordinates(estimates, recovered)) update[i] = estimates[i]!;
		const removed = sketch.of(update);
		const error = pending.map((value, cell) => value - removed[cell]!);
		return { update, state: { seed, tables: { momentum, error } } };
	}
}
