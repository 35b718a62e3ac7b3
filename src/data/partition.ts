/**
 * Train and held-out parts of a site's data, decided record by record.
 *
 * A record's part is a keyed hash of the record's own bytes: adding or removing one record
 * never moves another, and nobody without the site's key can tell or steer where a record
 * goes. Both are needed for the two parts' budgets to compose in parallel: neighbouring data
 * sets then differ in exactly one part. A random or positional split would not do: removing
 * one record would reshuffle the rest.
 */
import { AlthingError } from "../../crypto/error.ts";
import { type Dataset, gather } from "./dataset.ts";
import { KeyedRecordHash } from "./recordHash.ts";

export interface SplitDataset {
	readonly train: Dataset;
	readonly heldOut: Dataset;
}

/**
 * Whether a record is held out, by HMAC-SHA256 of the record.
 * @param key the site's secret partition key, 32 bytes; keep it for as long as the data set has a budget
 * @param heldOutFraction expected share held out, in [0, 1)
 * @param width features of a record
 * @returns a test of a record's features, which start at `offset`, and its label
 * @throws AlthingError `data.bad_split`
 */
export function heldOutTest(
	key: Uint8Array,
	heldOutFraction: number,
	width: number,
): (features: Float32Array, offset: number, label: number) => boolean {
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
	const hash = new KeyedRecordHash(key, width);
	return (features, offset, label) => hash.uint48(features, offset, label) < threshold;
}

/**
 * Split record by record; equal records land in the same part.
 * @param key and heldOutFraction as {@link heldOutTest} has them
 * @throws AlthingError `data.bad_split`
 */
export function splitHeldOut(dataset: Dataset, key: Uint8Array, heldOutFraction: number): SplitDataset {
	const width = dataset.columns.length;
	const isHeldOut = heldOutTest(key, heldOutFraction, width);
	const train: number[] = [];
	const heldOut: number[] = [];
	for (let row = 0; row < dataset.rows; row++) {
		(isHeldOut(dataset.features, row * width, dataset.labels[row]!) ? heldOut : train).push(row);
	}
	return {
		train: gather(dataset, Int32Array.from(train)),
		heldOut: gather(dataset, Int32Array.from(heldOut)),
	};
}
