/**
 * Which round of each cycle a record takes part in: a keyed hash of the record's own bytes, so that
 * adding or removing one record never moves another, and the separation of a record's rounds holds
 * across restarts without any state. The assignment is fixed for the data set's life: nothing is
 * sampled and no amplification is claimed.
 */
import { createHmac } from "node:crypto";
import { hashFields } from "../../../crypto/hash.ts";
import type { Dataset } from "../../data/dataset.ts";

/**
 * @param key the site's secret 32-byte key for this data set
 * @param count rounds of a cycle
 * @returns the place of each row in the cycle, in [0, count)
 */
export function participationSlots(dataset: Dataset, key: Uint8Array, count: number): Uint32Array {
	// Another key than the held-out split's: places must not depend on which part a record is in.
	const own = hashFields("althing/participation/1", key);
	const width = dataset.columns.length;
	const record = new DataView(new ArrayBuffer(4 * (width + 1)));
	const slots = new Uint32Array(dataset.rows);
	for (let row = 0; row < dataset.rows; row++) {
		for (let i = 0; i < width; i++) record.setFloat32(4 * i, dataset.features[row * width + i]!, true);
		record.setFloat32(4 * width, dataset.labels[row]!, true);
		slots[row] = createHmac("sha256", own).update(record).digest().readUIntBE(0, 6) % count;
	}
	return slots;
}

/** Rows whose place in the cycle is that of `round`, ascending. */
export function rowsOfRound(slots: Uint32Array, count: number, round: number): Int32Array {
	const rows: number[] = [];
	for (let row = 0; row < slots.length; row++) if (slots[row] === round % count) rows.push(row);
	return Int32Array.from(rows);
}
