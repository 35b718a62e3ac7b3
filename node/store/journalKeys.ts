/** The keys of one journal file: one for the chain of checksums, one that seals bodies. */
import { open, seal } from "../../crypto/aead.ts";
import { deriveKey } from "../../crypto/agreement.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import { randomBytes } from "../../crypto/random.ts";

const NONCE_BYTES = 12;

export interface JournalKeys {
	readonly chain: Uint8Array;
	sealBody(sequence: number, kind: string, body: Uint8Array): Uint8Array;
	openBody(sequence: number, kind: string, stored: Uint8Array, path: string): Uint8Array;
}

/** Keys are derived per file: a random nonce then never meets another file's records. */
export function keysOf(key: Uint8Array | undefined, fileId: Uint8Array): JournalKeys {
	if (key === undefined) {
		return {
			chain: sha256(new TextEncoder().encode("althing/journal/unkeyed-chain/v1"), fileId),
			sealBody: (_sequence, _kind, body) => body,
			openBody: (_sequence, _kind, stored) => stored.slice(),
		};
	}
	const sealing = deriveKey(key, fileId, "althing/journal/seal/v1", 32);
	return {
		chain: deriveKey(key, fileId, "althing/journal/chain/v1", 32),
		sealBody(sequence, kind, body) {
			// Random, not the sequence: a torn record's sequence is used again by its successor.
			const nonce = randomBytes(NONCE_BYTES);
			return Buffer.concat([nonce, seal(sealing, nonce, body, associatedData(sequence, kind))]);
		},
		openBody(sequence, kind, stored, path) {
			try {
				return open(
					sealing,
					stored.subarray(0, NONCE_BYTES),
					stored.subarray(NONCE_BYTES),
					associatedData(sequence, kind),
				);
			} catch (cause) {
				throw new AlthingError(
					"store.corrupt",
					`${path}: the body of record ${sequence} (${kind}) is not authentic.`,
					{ file: path, sequence, kind },
					{ cause },
				);
			}
		},
	};
}

function associatedData(sequence: number, kind: string): Uint8Array {
	return new TextEncoder().encode(`${sequence}|${kind}`);
}
