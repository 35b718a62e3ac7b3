/**
 * Train and held-out parts of a site's data, decided record by record.
 *
 * A record's part is a keyed hash of the record's own bytes: adding or removing one record
 * never moves another, and nobody without the site's key can tell or steer where a record
 * goes. Both are needed for the two parts' budgets to compose in parallel: neighbouring data
 * sets then differ in exactly one part. A random or positional split would not do: removing
 * one record would reshuffle the rest.
 */
import { createHmac } from "node:crypto";
import { AlthingError } from "../../crypto/error.ts";
import { type Dataset, gather } from "./dataset.ts";

export interface SplitDataset {
	readonly train: Dataset;
	readonly heldOut: Dataset;
}

/**
 * Split by HMAC-SHA256 of each record (features and label as little-endian float32).
 * Equal records land in the same part.
 * @param key the site's secret partition key, 32 bytes; keep it for as long as the data set has a budget
 * @param heldOutFraction expected share held out, in [0, 1)
 * @throws AlthingError `data.bad_split`
 */
export function splitHeldOut(dataset: Dataset, key: Uint8Array, heldOutFraction: number): SplitDataset {
	if (key.length !== 32) {
		throw new AlthingError("data.bad_split", `The partition key must be 32 bytes, not ${key.length}.`);
	}
	if (!(heldOutFraction >= 0 && heldOutFraction < 1)) {
		throw new AlthingError(
			"data.bad_split",
			`The held-out fraction must be in [0, 1), not ${heldOutFraction}.`,
		);
	}
	const threshold = Math.floor(heldOutFraction * 2 ** 48);
	const width = dataset.columns.length;
	const record = new DataView(new ArrayBuffer(4 * (width + 1)));
	const train: number[] = [];
	const heldOut: number[] = [];
	for (let row = 0; row < dataset.rows; row++) {
		for (let i = 0; i < width; i++) record.setFloat32(4 * i, dataset.features[row * width + i]!, true);
		record.setFloat32(4 * width, dataset.labels[row]!, true);
		const digest = createHmac("sha256", key).update(record).digest();
		(digest.readUIntBE(0, 6) < threshold ? heldOut : train).push(row);
	}
	return {
		train: gather(dataset, Int32Array.from(train)),
		heldOut: gather(dataset, Int32Array.from(heldOut)),
	};
}
