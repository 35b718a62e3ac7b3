/** The heavy vector work, as pure tasks for a worker thread. All values are mod 2^modulusBits. */
import { projectOnDirection, roundedDirection } from "../../crypto/directionProjection.ts";
import { applyMasks } from "../../crypto/maskStream.ts";
import { type ModulusBits, packRing, unpackRing } from "../../crypto/ringPacking.ts";
import { PROJECTIONS, projectRing } from "../../crypto/ringProjection.ts";
import { projectSigns } from "../../crypto/signProjection.ts";
import { combinedRows, projectOnRows, sketchOf } from "../../crypto/signSketch.ts";
import type { PeerId } from "../contract.ts";
import { pairSeed, selfMaskKey, vectorHash } from "./sessionId.ts";

interface Ring {
	readonly length: number;
	readonly modulusBits: ModulusBits;
}

/** The masks that are in a certified sum, by their seeds. */
export interface MaskRemoval {
	readonly sid: Uint8Array;
	/** Self masks, which the survivors added. */
	readonly selfSeeds: readonly Uint8Array[];
	/** Seeds between survivors and dropped members. */
	readonly edges: readonly { readonly survivor: PeerId; readonly gone: PeerId; readonly seed: Uint8Array }[];
	/** Dropped members' mask secrets, with the survivors that are masked against them. */
	readonly secrets: readonly {
		readonly peer: PeerId;
		readonly secret: Uint8Array;
		readonly mates: readonly { readonly peer: PeerId; readonly maskKey: Uint8Array }[];
	}[];
}

/** Checks the masked sum against the projections, then removes the masks. */
export type UnmaskTask = Ring & {
	readonly kind: "unmask";
	readonly packed: Uint8Array;
	readonly seed: Uint8Array;
	/** Packed projections of the survivors. */
	readonly projections: readonly Uint8Array[];
	/** Packed masked inputs of survivors whose projection was false. */
	readonly inputs: readonly Uint8Array[];
	/** False when an unknown projection makes the comparison impossible (see README). */
	readonly compare: boolean;
	/** Absent: compares only. */
	readonly masks?: MaskRemoval | undefined;
};

export type AggregationTask =
	/** values + masks of `add` - masks of `subtract`. */
	| (Ring & {
			readonly kind: "mask";
			readonly values: Uint32Array;
			readonly add: readonly Uint8Array[];
			readonly subtract: readonly Uint8Array[];
	  })
	/** The sum of packed vectors. */
	| (Ring & { readonly kind: "sum"; readonly inputs: readonly Uint8Array[] })
	/** Projections of a packed vector. */
	| (Ring & { readonly kind: "project"; readonly packed: Uint8Array; readonly seed: Uint8Array })
	/**
	 * Sign projections of the first `coordinates` of packed vectors, and of the masks that keys expand to: 16
	 * rows, or combinations of a sketch's; and behind them one on a direction, if there is one.
	 */
	| (Ring & {
			readonly kind: "signs";
			readonly seed: Uint8Array;
			readonly combination?: Uint8Array | undefined;
			readonly direction?: { readonly seed: Uint8Array; readonly values: Float64Array } | undefined;
			readonly coordinates: number;
			readonly vectors: readonly Uint8Array[];
			readonly keys: readonly Uint8Array[];
	  })
	/** The sketch of the first `coordinates` of a vector. */
	| (Ring & {
			readonly kind: "sketch";
			readonly values: Uint32Array;
			readonly seed: Uint8Array;
			readonly coordinates: number;
	  })
	| UnmaskTask
	/** The same for each bucket by itself; zeros for one of which nothing is opened. */
	| (Ring & { readonly kind: "unmaskBuckets"; readonly buckets: readonly (UnmaskTask | undefined)[] });

export type AggregationTaskResult =
	| { readonly kind: "mask"; readonly packed: Uint8Array; readonly hash: Uint8Array }
	| { readonly kind: "sum"; readonly packed: Uint8Array; readonly hash: Uint8Array }
	| { readonly kind: "project"; readonly packed: Uint8Array }
	/** Packed, in the task's order. */
	| { readonly kind: "signs"; readonly vectors: readonly Uint8Array[]; readonly keys: readonly Uint8Array[] }
	| { readonly kind: "sketch"; readonly sketch: Float64Array }
	/** `sum` is absent when the masked sum does not match the projections. */
	| { readonly kind: "unmask"; readonly sum?: Uint32Array | undefined };

/** Executes a task. Pure; throws AlthingError `crypto.bad_length` for vectors of a wrong size. */
export function runAggregationTask(task: AggregationTask): AggregationTaskResult {
	const { length, modulusBits } = task;
	switch (task.kind) {
		case "mask": {
			const masked = Uint32Array.from(task.values);
			applyMasks(masked, modulusBits, task.add, task.subtract);
			const packed = packRing(masked, modulusBits);
			return { kind: "mask", packed, hash: vectorHash(packed) };
		}
		case "sum": {
			const total = new Uint32Array(length);
			for (const input of task.inputs) addInto(total, unpackRing(input, modulusBits, length));
			const packed = packRing(total, modulusBits);
			return { kind: "sum", packed, hash: vectorHash(packed) };
		}
		case "project":
			return {
				kind: "project",
				packed: packRing(
					projectRing(task.seed, unpackRing(task.packed, modulusBits, length), modulusBits),
					modulusBits,
				),
			};
		case "signs": {
			const { seed, coordinates, combination, direction } = task;
			const rows = combination && combinedRows(seed, combination, coordinates);
			const row = direction && roundedDirection(direction.seed, direction.values);
			const signs = (values: Uint32Array) => {
				const part = values.subarray(0, coordinates);
				const projected = rows
					? projectOnRows(rows, part, modulusBits)
					: projectSigns(seed, part, modulusBits);
				if (row === undefined) return packRing(projected, modulusBits);
				const along = projectOnDirection(row, part, modulusBits);
				return packRing(Uint32Array.of(...projected, along), modulusBits);
			};
			return {
				kind: "signs",
				vectors: task.vectors.map((packed) => signs(unpackRing(packed, modulusBits, length))),
				keys: task.keys.map((key) => {
					const mask = new Uint32Array(coordinates);
					applyMasks(mask, modulusBits, [key], []);
					return signs(mask);
				}),
			};
		}
		case "sketch": {
			const part = task.values.subarray(0, task.coordinates);
			return { kind: "sketch", sketch: sketchOf(task.seed, part, modulusBits) };
		}
		case "unmaskBuckets": {
			const sum = new Uint32Array(task.buckets.length * length);
			for (const [bucket, one] of task.buckets.entries()) {
				const result = one && runAggregationTask(one);
				if (result === undefined) continue;
				if (result.kind !== "unmask" || result.sum === undefined) return { kind: "unmask" };
				sum.set(result.sum, bucket * length);
			}
			return { kind: "unmask", sum };
		}
		case "unmask": {
			const total = unpackRing(task.packed, modulusBits, length);
			const modulus = 2 ** modulusBits;
			if (task.compare) {
				const expected = new Uint32Array(PROJECTIONS);
				for (const projection of task.projections)
					addInto(expected, unpackRing(projection, modulusBits, PROJECTIONS));
				for (const input of task.inputs) {
					addInto(expected, projectRing(task.seed, unpackRing(input, modulusBits, length), modulusBits));
				}
				const actual = projectRing(task.seed, total, modulusBits);
				if (actual.some((value, k) => value !== (expected[k] as number) % modulus)) return { kind: "unmask" };
			}
			if (task.masks !== undefined) removeMasks(total, modulusBits, task.masks);
			return { kind: "unmask", sum: total.map((value) => value % modulus) };
		}
	}
}

function removeMasks(total: Uint32Array, modulusBits: ModulusBits, removal: MaskRemoval): void {
	const add: Uint8Array[] = [];
	const subtract = selfMaskKeys(removal);
	// The survivor added PRG(s) when it sorts first, else subtracted it.
	for (const { survivor, gone, key } of droppedMaskKeys(removal))
		(survivor < gone ? subtract : add).push(key);
	applyMasks(total, modulusBits, add, subtract);
}

/** Keys of the survivors' self masks, in the order of their seeds. */
export function selfMaskKeys({ sid, selfSeeds }: MaskRemoval): Uint8Array[] {
	return selfSeeds.map((seed) => selfMaskKey(sid, seed));
}

/** Keys of the survivors' masks towards members that dropped out. */
export function* droppedMaskKeys({
	sid,
	edges,
	secrets,
}: MaskRemoval): Generator<{ readonly survivor: PeerId; readonly gone: PeerId; readonly key: Uint8Array }> {
	for (const { survivor, gone, seed } of edges) yield { survivor, gone, key: seed };
	for (const { peer, secret, mates } of secrets) {
		for (const mate of mates) {
			const key = pairSeed(sid, secret, peer, mate.maskKey, mate.peer);
			yield { survivor: mate.peer, gone: peer, key };
		}
	}
}

function addInto(total: Uint32Array, values: Uint32Array): void {
	for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (values[i] as number);
}
