/** The heavy vector work, as pure tasks for a worker thread. All values are mod 2^modulusBits. */
import { addMask, subtractMask } from "../../crypto/maskStream.ts";
import { type ModulusBits, packRing, unpackRing } from "../../crypto/ringPacking.ts";
import { PROJECTIONS, projectRing } from "../../crypto/ringProjection.ts";
import { projectSigns } from "../../crypto/signProjection.ts";
import { vectorHash } from "./sessionId.ts";

interface Ring {
	readonly length: number;
	readonly modulusBits: ModulusBits;
}

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
	/** Sign projections of the first `coordinates` of packed vectors, and of the masks that keys expand to. */
	| (Ring & {
			readonly kind: "signs";
			readonly seed: Uint8Array;
			readonly coordinates: number;
			readonly vectors: readonly Uint8Array[];
			readonly keys: readonly Uint8Array[];
	  })
	/** Checks the masked sum against the projections, then removes the masks. */
	| (Ring & {
			readonly kind: "unmask";
			readonly packed: Uint8Array;
			readonly seed: Uint8Array;
			/** Packed projections of the other survivors. */
			readonly projections: readonly Uint8Array[];
			/** Packed masked inputs of survivors whose projection is missing. */
			readonly inputs: readonly Uint8Array[];
			/** False when one unknown projection makes the comparison impossible (see README). */
			readonly compare: boolean;
			readonly add: readonly Uint8Array[];
			readonly subtract: readonly Uint8Array[];
	  });

export type AggregationTaskResult =
	| { readonly kind: "mask"; readonly packed: Uint8Array; readonly hash: Uint8Array }
	| { readonly kind: "sum"; readonly packed: Uint8Array; readonly hash: Uint8Array }
	| { readonly kind: "project"; readonly packed: Uint8Array }
	/** Packed, in the task's order. */
	| { readonly kind: "signs"; readonly vectors: readonly Uint8Array[]; readonly keys: readonly Uint8Array[] }
	/** `sum` is absent when the masked sum does not match the projections. */
	| { readonly kind: "unmask"; readonly sum?: Uint32Array | undefined };

/** Executes a task. Pure; throws AlthingError `crypto.bad_length` for vectors of a wrong size. */
export function runAggregationTask(task: AggregationTask): AggregationTaskResult {
	const { length, modulusBits } = task;
	switch (task.kind) {
		case "mask": {
			const masked = Uint32Array.from(task.values);
			for (const key of task.add) addMask(masked, key);
			for (const key of task.subtract) subtractMask(masked, key);
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
			const { seed, coordinates } = task;
			const signs = (values: Uint32Array) =>
				packRing(projectSigns(seed, values.subarray(0, coordinates), modulusBits), modulusBits);
			return {
				kind: "signs",
				vectors: task.vectors.map((packed) => signs(unpackRing(packed, modulusBits, length))),
				keys: task.keys.map((key) => {
					const mask = new Uint32Array(coordinates);
					addMask(mask, key);
					return signs(mask);
				}),
			};
		}
		case "unmask": {
			const total = unpackRing(task.packed, modulusBits, length);
			if (task.compare) {
				const expected = new Uint32Array(PROJECTIONS);
				for (const projection of task.projections)
					addInto(expected, unpackRing(projection, modulusBits, PROJECTIONS));
				for (const input of task.inputs) {
					addInto(expected, projectRing(task.seed, unpackRing(input, modulusBits, length), modulusBits));
				}
				const modulus = 2 ** modulusBits;
				const actual = projectRing(task.seed, total, modulusBits);
				if (actual.some((value, k) => value !== (expected[k] as number) % modulus)) return { kind: "unmask" };
			}
			for (const key of task.add) addMask(total, key);
			for (const key of task.subtract) subtractMask(total, key);
			const modulus = 2 ** modulusBits;
			return { kind: "unmask", sum: total.map((value) => value % modulus) };
		}
	}
}

function addInto(total: Uint32Array, values: Uint32Array): void {
	for (let i = 0; i < total.length; i++) total[i] = (total[i] as number) + (values[i] as number);
}
