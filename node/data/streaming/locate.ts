/** Whether a data set is read in passes, and from where. */
import { access, constants } from "node:fs/promises";
import { AlthingError } from "../../../crypto/error.ts";
import { type AddressOptions, isAddress, parseAddress } from "./address.ts";
import { type StreamedLocation, stampOf } from "./location.ts";

export interface StreamingChoice extends AddressOptions {
	/** Absolute path, or an address. */
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
 * @throws AlthingError `data.unreadable`, `data.bad_address`, `data.cannot_stream` for IDX files
 */
export async function locate(choice: StreamingChoice): Promise<StreamedLocation | undefined> {
	const { path, stream, thresholdMiB } = choice;
	if (isAddress(path)) return parseAddress(path, choice);
	if ((choice.table ?? choice.credentials) !== undefined)
		throw new AlthingError(
			"data.bad_address",
			`--table and --credentials belong to an address such as postgres://HOST/DATABASE; ${path} is a file`,
		);
	await access(path, constants.R_OK).catch((cause) => {
		throw new AlthingError(
			"data.unreadable",
			`data file ${path} cannot be read; check that it exists and that the daemon's user may read it`,
			{ path },
			{ cause },
		);
	});
	const stamp = await stampOf(path);
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
