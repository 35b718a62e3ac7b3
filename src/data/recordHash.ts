/** A keyed hash of a record's own bytes: what decides about a record without looking at any other. */
import { hash } from "node:crypto";
import { AlthingError } from "../../crypto/error.ts";

/** Of SHA-256, bytes. */
const BLOCK = 64;
const DIGEST = 32;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

export class KeyedRecordHash {
	readonly #width: number;
	/** The padded key, and behind it the record: what HMAC hashes first. */
	readonly #inner: Uint8Array;
	/** The padded key, and behind it the first hash. */
	readonly #outer = new Uint8Array(BLOCK + DIGEST);
	readonly #record: DataView<ArrayBuffer>;

	/**
	 * @param key at most 64 bytes
	 * @param width features of a record
	 * @throws AlthingError `data.bad_split` for a longer key
	 */
	constructor(key: Uint8Array, width: number) {
		if (key.length > BLOCK)
			throw new AlthingError(
				"data.bad_split",
				`The key of records has ${BLOCK} bytes at most, not ${key.length}.`,
			);
		this.#width = width;
		const inner = new Uint8Array(BLOCK + 4 * (width + 1));
		inner.set(key);
		this.#outer.set(key);
		for (let i = 0; i < BLOCK; i++) {
			inner[i]! ^= INNER_PAD;
			this.#outer[i]! ^= OUTER_PAD;
		}
		this.#inner = inner;
		this.#record = new DataView(inner.buffer, BLOCK);
	}

	/**
	 * The first 48 bits of HMAC-SHA256 over the features and the label as little-endian float32. By two
	 * hashes at one go each (RFC 2104): an object for each record would cost more than the hashing.
	 * @param features holds the record's `width` features from `offset` on
	 * @returns an integer in [0, 2^48)
	 */
	uint48(features: Float32Array, offset: number, label: number): number {
		for (let i = 0; i < this.#width; i++) this.#record.setFloat32(4 * i, features[offset + i]!, true);
		this.#record.setFloat32(4 * this.#width, label, true);
		this.#outer.set(hash("sha256", this.#inner, "buffer"), BLOCK);
		return hash("sha256", this.#outer, "buffer").readUIntBE(0, 6);
	}
}
