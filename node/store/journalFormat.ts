/**
 * The byte format of the journal: a file header, then records, all integers little-endian.
 *
 *     file header   magic 8 | file id 16 | HMAC(chain key, magic | file id)[0..16]
 *     record        payload bytes u32 | sequence u64 | kind bytes u8 | zero 3
 *                   | CRC-32 of the 16 bytes before | kind | body | checksum 16
 *
 * checksum = HMAC-SHA256(chain key, previous checksum | record header | kind | body)[0..16]
 *
 * The CRC makes the length field trustworthy on its own: without it a flipped bit in a
 * length would look like a record torn by a crash, and everything behind it would be cut
 * off as if it had never been promised. The chained checksum binds every record to all
 * before it, so that a removed, reordered or rewritten record is noticed.
 */
import { createHmac } from "node:crypto";
import { crc32 } from "node:zlib";
import { AlthingError } from "../../crypto/error.ts";

export const FILE_HEADER_BYTES = 40;
export const RECORD_HEADER_BYTES = 20;
export const CHECKSUM_BYTES = 16;
/** Largest body of one record: promises are small, and a reader allocates what a length says. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
const MAX_STORED_BYTES = MAX_BODY_BYTES + 255 + 64;
const MAGIC = new TextEncoder().encode("ALTHJNL1");

export interface RecordHeader {
	/** Bytes of kind and stored body together. */
	readonly payloadBytes: number;
	readonly sequence: number;
	readonly kindBytes: number;
}

export function encodeFileHeader(chainKey: Uint8Array, fileId: Uint8Array): Uint8Array {
	const header = new Uint8Array(FILE_HEADER_BYTES);
	header.set(MAGIC, 0);
	header.set(fileId, 8);
	header.set(hmac16(chainKey, header.subarray(0, 24)), 24);
	return header;
}

/**
 * Reads the file id and the first link of the chain.
 * Throws `store.corrupt` (not a journal) or `store.wrong_key` (written under another key).
 */
export function decodeFileHeader(
	header: Uint8Array,
	chainKey: (fileId: Uint8Array) => Uint8Array,
	path: string,
): { fileId: Uint8Array; firstLink: Uint8Array } {
	if (header.length < FILE_HEADER_BYTES || MAGIC.some((byte, i) => header[i] !== byte)) {
		throw new AlthingError("store.corrupt", `${path} is not a journal: its first bytes are wrong.`, {
			file: path,
			offset: 0,
			sequence: 0,
		});
	}
	const fileId = header.slice(8, 24);
	const expected = hmac16(chainKey(fileId), header.subarray(0, 24));
	if (Buffer.compare(expected, header.subarray(24, 40)) !== 0) {
		throw new AlthingError(
			"store.wrong_key",
			`${path} was written under another store key, or its header is damaged. Use the keystore that belongs to this data directory.`,
			{ file: path },
		);
	}
	return { fileId, firstLink: expected };
}

export function encodeRecord(
	chainKey: Uint8Array,
	previous: Uint8Array,
	sequence: number,
	kind: Uint8Array,
	body: Uint8Array,
): { bytes: Uint8Array; checksum: Uint8Array } {
	const checksumAt = RECORD_HEADER_BYTES + kind.length + body.length;
	const bytes = new Uint8Array(checksumAt + CHECKSUM_BYTES);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, kind.length + body.length, true);
	view.setBigUint64(4, BigInt(sequence), true);
	view.setUint8(12, kind.length);
	view.setUint32(16, crc32(bytes.subarray(0, 16)), true);
	bytes.set(kind, RECORD_HEADER_BYTES);
	bytes.set(body, RECORD_HEADER_BYTES + kind.length);
	const checksum = recordChecksum(chainKey, previous, bytes.subarray(0, checksumAt));
	bytes.set(checksum, checksumAt);
	return { bytes, checksum };
}

/** The header's fields, or undefined when its CRC or limits say that it is not one. */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader | undefined {
	const view = new DataView(bytes.buffer, bytes.byteOffset, RECORD_HEADER_BYTES);
	if (view.getUint32(16, true) !== crc32(bytes.subarray(0, 16))) return undefined;
	const payloadBytes = view.getUint32(0, true);
	const kindBytes = view.getUint8(12);
	const sequence = Number(view.getBigUint64(4, true));
	if (kindBytes === 0 || kindBytes > payloadBytes || payloadBytes > MAX_STORED_BYTES) return undefined;
	return { payloadBytes, sequence, kindBytes };
}

/** The link after `previous`; `parts` together are the record without its checksum. */
export function recordChecksum(
	chainKey: Uint8Array,
	previous: Uint8Array,
	...parts: Uint8Array[]
): Uint8Array {
	return hmac16(chainKey, previous, ...parts);
}

function hmac16(key: Uint8Array, ...parts: Uint8Array[]): Uint8Array {
	const hmac = createHmac("sha256", key);
	for (const part of parts) hmac.update(part);
	return new Uint8Array(hmac.digest().subarray(0, CHECKSUM_BYTES));
}
