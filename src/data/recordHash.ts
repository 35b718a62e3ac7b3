/** A keyed hash of a record's own bytes: what decides about a record without looking at any other. */
import { createHmac, createSecretKey, type KeyObject } from "node:crypto";

export class KeyedRecordHash {
	readonly #key: KeyObject;
	readonly #width: number;
	readonly #record: DataView<ArrayBuffer>;

	/** @param width features of a record */
	constructor(key: Uint8Array, width: number) {
		// Imported once: a raw key is imported again for every record.
		this.#key = createSecretKey(key);
		this.#width = width;
		this.#record = new DataView(new ArrayBuffer(4 * (width + 1)));
	}

	/**
	 * The first 48 bits of HMAC-SHA256 over the features and the label as little-endian float32.
	 * @param features holds the record's `width` features from `offset` on
	 * @returns an integer in [0, 2^48)
	 */
	uint48(features: Float32Array, offset: number, label: number): number {
		for (let i = 0; i < this.#width; i++) this.#record.setFloat32(4 * i, features[offset + i]!, true);
		this.#record.setFloat32(4 * this.#width, label, true);
		return createHmac("sha256", this.#key).update(this.#record).digest().readUIntBE(0, 6);
	}
}
