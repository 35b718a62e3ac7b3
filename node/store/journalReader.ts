/** Reads a journal front to back, checking every link, and tells a torn tail from corruption. */
import type { FileHandle } from "node:fs/promises";
import { AlthingError } from "../../crypto/error.ts";
import {
	CHECKSUM_BYTES,
	decodeRecordHeader,
	FILE_HEADER_BYTES,
	RECORD_HEADER_BYTES,
	recordChecksum,
} from "./journalFormat.ts";

/** A record as it lies in the file: `storedBody` may still be sealed. */
export interface StoredRecord {
	readonly sequence: number;
	readonly kind: string;
	readonly storedBody: Uint8Array;
	readonly checksum: Uint8Array;
	/** File offset just behind the record. */
	readonly endOffset: number;
}

/**
 * Yields the records between the file header and `endOffset` in order and returns the
 * offset where valid data ends: smaller than `endOffset` when the last write was torn.
 *
 * Torn means: the file ends inside the record, or its rest is zeros from some point inside
 * the record on (a file system may extend a file before its data arrives). Such a record
 * was never acknowledged, because acknowledgement waits for fsync. Anything else that
 * fails a check was damaged after it was written, so it may hold a promise: `store.corrupt`.
 */
export async function* readRecords(
	file: FileHandle,
	path: string,
	chainKey: Uint8Array,
	firstLink: Uint8Array,
	endOffset: number,
): AsyncGenerator<StoredRecord, number> {
	let offset = FILE_HEADER_BYTES;
	let previous = firstLink;
	let sequence = 1;
	while (offset < endOffset) {
		const prefix = await readExactly(file, offset, Math.min(RECORD_HEADER_BYTES, endOffset - offset));
		if (prefix.length < RECORD_HEADER_BYTES) return offset;
		const header = decodeRecordHeader(prefix);
		if (header === undefined) {
			if (await zerosFrom(file, offset, RECORD_HEADER_BYTES, endOffset)) return offset;
			throw corrupt(path, offset, sequence, "its header is damaged");
		}
		if (header.sequence !== sequence) {
			throw corrupt(path, offset, sequence, `it carries sequence ${header.sequence}`);
		}
		const sizeBytes = RECORD_HEADER_BYTES + CHECKSUM_BYTES + header.payloadBytes;
		if (offset + sizeBytes > endOffset) return offset;
		const rest = await readExactly(file, offset + RECORD_HEADER_BYTES, sizeBytes - RECORD_HEADER_BYTES);
		const payload = rest.subarray(0, header.payloadBytes);
		const checksum = recordChecksum(chainKey, previous, prefix, payload);
		if (Buffer.compare(checksum, rest.subarray(header.payloadBytes)) !== 0) {
			if (await zerosFrom(file, offset, sizeBytes, endOffset)) return offset;
			throw corrupt(path, offset, sequence, "its checksum does not match");
		}
		offset += sizeBytes;
		yield {
			sequence,
			kind: new TextDecoder().decode(payload.subarray(0, header.kindBytes)),
			storedBody: payload.subarray(header.kindBytes),
			checksum,
			endOffset: offset,
		};
		previous = checksum;
		sequence += 1;
	}
	return offset;
}

/**
 * True when the record at `offset` ends in zeros for at least {@link MISSING_TAIL_BYTES}
 * and nothing but zeros follows it: data that never reached the disk.
 */
async function zerosFrom(
	file: FileHandle,
	offset: number,
	sizeBytes: number,
	endOffset: number,
): Promise<boolean> {
	const tailFrom = offset + Math.max(0, sizeBytes - MISSING_TAIL_BYTES);
	for (let at = tailFrom; at < endOffset; ) {
		const chunk = await readExactly(file, at, Math.min(65_536, endOffset - at));
		if (chunk.some((byte) => byte !== 0)) return false;
		at += chunk.length;
	}
	return true;
}

/** A record ends in its checksum, a header holds its sequence here: neither is ever all zeros. */
const MISSING_TAIL_BYTES = CHECKSUM_BYTES;

async function readExactly(file: FileHandle, offset: number, length: number): Promise<Uint8Array> {
	const bytes = new Uint8Array(length);
	let filled = 0;
	while (filled < length) {
		const { bytesRead } = await file.read(bytes, filled, length - filled, offset + filled);
		if (bytesRead === 0) break;
		filled += bytesRead;
	}
	return bytes.subarray(0, filled);
}

function corrupt(path: string, offset: number, sequence: number, what: string): AlthingError {
	return new AlthingError(
		"store.corrupt",
		`${path} is corrupt at offset ${offset}, record ${sequence}: ${what}. Nothing was changed. ` +
			"Restore the data directory from a backup; do not delete the journal, it holds promises made to other members.",
		{ file: path, offset, sequence },
	);
}
