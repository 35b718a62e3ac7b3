/**
 * Which round of each cycle a record takes part in: a keyed hash of the record's own bytes, so that
 * adding or removing one record never moves another, and the separation of a record's rounds holds
 * across restarts without any state. The assignment is fixed for the data set's life: nothing is
 * sampled and no amplification is claimed.
 */
import { hashFields } from "../../../crypto/hash.ts";
import type { Dataset } from "../../data/dataset.ts";
import { KeyedRecordHash } from "../../data/recordHash.ts";

/**
 * A record's place in the cycle.
 * @param key the site's secret 32-byte key for this data set
 * @param count rounds of a cycle
 * @param width features of a record
 * @returns of a record's features, which start at `offset`, and its label, the place in [0, count)
 */
export function participationPlace(
	key: Uint8Array,
	count: number,
	width: number,
): (features: Float32Array, offset: number, label: number) => number {
	// Another key than the held-out split's: places must not depend on which part a record is in.
	const hash = new KeyedRecordHash(hashFields("althing/participation/1", key), width);
	return (features, offset, label) => hash.uint48(features, offset, label) % count;
}

/** The place of each row, as {@link participationPlace} gives it. */
export function participationSlots(dataset: Dataset, key: Uint8Array, count: number): Uint32Array {
	const width = dataset.columns.length;
	const placeOf = participationPlace(key, count, width);
	const slots = new Uint32Array(dataset.rows);
	for (let row = 0; row < dataset.rows; row++) {
		slots[row] = placeOf(dataset.features, row * width, dataset.labels[row]!);
	}
	return slots;
}

/** Rows whose place in the cycle is that of `round`, ascending. */
export function rowsOfRound(slots: Uint32Array, count: number, round: number): Int32Array {
	const rows: number[] = [];
	for (let row = 0; row < slots.length; row++) if (slots[row] === round % count) rows.push(row);
	return Int32Array.from(rows);
}
