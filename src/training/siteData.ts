/** An organization's records for a job: read, scaled by public bounds, split. */
import { csvOptionsOf, readCsv } from "../data/csv.ts";
import type { Dataset } from "../data/dataset.ts";
import { type DataDescription, prepare } from "../data/description.ts";
import { readIdx } from "../data/idx.ts";
import { type SplitDataset, splitHeldOut } from "../data/partition.ts";

export type SiteData = SplitDataset;

/** Share of a site's records that is held out for evaluation, never trained on. */
export const HELD_OUT_FRACTION = 0.2;

/** IDX images lie beside their labels, named as LeCun's files are. */
const IDX_IMAGES = /images[-.]idx3-ubyte(\.gz)?$/;

/**
 * Reads a data file: CSV (plain or gzip), or IDX images whose labels lie beside them.
 * @throws AlthingError `data.*` naming file, line and column
 */
function readRecords(path: string, description: DataDescription): Dataset {
	return prepare(readRawRecords(path, description), description);
}

/** The records in the units of their file. @throws AlthingError `data.*` */
export function readRawRecords(path: string, description: DataDescription): Dataset {
	return IDX_IMAGES.test(path)
		? readIdx(path, path.replace("images", "labels").replace("idx3", "idx1"))
		: readCsv(path, csvOptionsOf(description));
}

/** @param splitKey the site's secret 32-byte key for this data set, kept as long as its budget */
export function loadSiteData(path: string, description: DataDescription, splitKey: Uint8Array): SiteData {
	return splitHeldOut(readRecords(path, description), splitKey, HELD_OUT_FRACTION);
}
