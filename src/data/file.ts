/** Reading a data file whole, gzip-compressed or plain. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { AlthingError } from "../../crypto/error.ts";

/** Refuses a small file that would unpack to fill the memory. */
const LARGEST_UNPACKED_BYTES = 2 ** 31;

/**
 * The bytes of a file, unpacked when they start with gzip's magic number.
 * @throws AlthingError `data.unreadable` (missing, no permission, broken gzip) or `data.empty`
 */
export function readDataFile(path: string): Uint8Array {
	let bytes: Uint8Array;
	try {
		bytes = readFileSync(path);
	} catch (error) {
		throw new AlthingError(
			"data.unreadable",
			`Cannot read data file ${path} (${(error as NodeJS.ErrnoException).code ?? "unknown reason"}). Check that it exists and that the daemon's user may read it.`,
			{ path },
			{ cause: error },
		);
	}
	if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
		try {
			bytes = gunzipSync(bytes, { maxOutputLength: LARGEST_UNPACKED_BYTES });
		} catch (error) {
			throw new AlthingError(
				"data.unreadable",
				`Data file ${path} starts like gzip but cannot be unpacked; it may be cut short. Copy it again and compare its checksum.`,
				{ path },
				{ cause: error },
			);
		}
	}
	if (bytes.length === 0) {
		throw new AlthingError(
			"data.empty",
			`Data file ${path} is empty. Point the data set at a file with records.`,
			{
				path,
			},
		);
	}
	return bytes;
}
