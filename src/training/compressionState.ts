/** What the compression of later rounds needs of earlier ones, and its bytes in the common state. */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { decodeCoordinates, encodeCoordinates } from "../compression/sparseVectorCoding.ts";
import { allFinite } from "../learning/finite.ts";
import { float64FromBytes, float64ToBytes } from "../learning/littleEndian.ts";
import type { CompressionPlan } from "./compressionPlan.ts";

/** What later rounds need of earlier ones; part of the common state. */
export interface CompressionState {
	/** 32 bytes that nobody could choose: what all public randomness of the job's compression is drawn from. */
	readonly seed: Uint8Array;
	/** Informed coordinates: those that the last released sum was largest in, ascending. */
	readonly largest?: Uint32Array;
	/** Sketches: the momentum, and what was not yet recovered from it; each a table. */
	readonly tables?: { readonly momentum: Float64Array; readonly error: Float64Array };
}

/** @param beacon of the job's start */
export function initialCompression(
	plan: CompressionPlan,
	jobId: string,
	beacon: Uint8Array,
): CompressionState {
	const seed = hashFields("althing/compression/1", jobId, beacon);
	return plan.sketch === undefined ? { seed } : { seed, tables: emptyTables(plan.values) };
}

export function emptyTables(cells: number): NonNullable<CompressionState["tables"]> {
	return { momentum: new Float64Array(cells), error: new Float64Array(cells) };
}

export const encodedCompressionSchema = z.strictObject({
	seed: z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32),
	/** An entropy-coded set of coordinates. */
	largest: z.instanceof(Uint8Array).optional(),
	momentum: z.instanceof(Uint8Array).optional(),
	error: z.instanceof(Uint8Array).optional(),
});

/** @param parameterCount of the model: what coordinates are below */
export function encodeCompression({ seed, largest, tables }: CompressionState, parameterCount: number) {
	return {
		seed,
		...(largest === undefined ? {} : { largest: encodeCoordinates(largest, parameterCount) }),
		...(tables === undefined
			? {}
			: { momentum: float64ToBytes(tables.momentum), error: float64ToBytes(tables.error) }),
	};
}

/** @throws AlthingError `training.bad_state`, `compression.malformed` or `learning.invalid_bytes` when it is damaged */
export function decodeCompression(
	{ seed, largest, momentum, error }: z.infer<typeof encodedCompressionSchema>,
	parameterCount: number,
): CompressionState {
	const state = {
		seed,
		...(largest === undefined ? {} : { largest: decodeCoordinates(largest, parameterCount) }),
	};
	if (momentum === undefined && error === undefined) return state;
	const tables = {
		momentum: float64FromBytes(momentum ?? new Uint8Array()),
		error: float64FromBytes(error ?? new Uint8Array()),
	};
	const sound = tables.momentum.length > 0 && tables.momentum.length === tables.error.length;
	if (sound && allFinite(tables.momentum) && allFinite(tables.error)) return { ...state, tables };
	throw new AlthingError(
		"training.bad_state",
		"the stored state of a sketch is damaged; fetch it again from a peer",
	);
}
