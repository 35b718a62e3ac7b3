/** Whether a data set is read in passes, and from where. */
import { AlthingError } from "../../../crypto/error.ts";
import { type StreamedLocation, stampOf } from "./location.ts";

export interface StreamingChoice {
	/** Absolute path. */
	readonly path: string;
	/** Asked for, whatever the size. */
	readonly stream: boolean;
	/** CSV files from this size on are read in passes. */
	readonly thresholdMiB: number;
}

const PARQUET = /\.parquet$/i;
const IDX = /idx[13]-ubyte(\.gz)?$/;

/**
 * Where to read a data set from in passes; undefined for one that is read whole.
 * @throws AlthingError `data.unreadable`, `data.cannot_stream` for IDX files
 */
export async function locate({
	path,
	stream,
	thresholdMiB,
}: StreamingChoice): Promise<StreamedLocation | undefined> {
	const stamp = await stampOf(path);
	if (stamp === undefined)
		throw new AlthingError(
			"data.unreadable",
			`data file ${path} cannot be read; check that it exists and that the daemon's user may read it`,
			{ path },
		);
	if (PARQUET.test(path)) return { kind: "parquet", path, ...stamp };
	if (IDX.test(path)) {
		if (!stream) return undefined;
		throw new AlthingError(
			"data.cannot_stream",
			`IDX files are read whole; convert ${path} to Parquet or CSV to stream it`,
			{ path },
		);
	}
	return stream || stamp.sizeBytes >= thresholdMiB * 2 ** 20 ? { kind: "csv", path, ...stamp } : undefined;
}
