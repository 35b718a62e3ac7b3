/** Authenticated encryption: AES-256-GCM (NIST SP 800-38D) through node:crypto. */
import { createCipheriv, createDecipheriv, createSecretKey } from "node:crypto";
import { AlthingError } from "./error.ts";

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
/** What sealing adds to a plaintext. */
export const AEAD_TAG_BYTES = 16;

// A KeyObject is made and taken several times as fast as a key in bytes is looked at.

/**
 * Encrypts and authenticates. A nonce must never repeat under one key: repeating it gives
 * away the authentication key, so callers use a fresh key or a random nonce each time.
 * @param key 32 bytes
 * @param nonce 12 bytes
 * @returns ciphertext followed by the 16-byte tag
 * @throws AlthingError `crypto.bad_key`
 */
export function seal(
	key: Uint8Array,
	nonce: Uint8Array,
	plaintext: Uint8Array,
	associatedData: Uint8Array,
): Uint8Array {
	checkLengths(key, nonce);
	const cipher = createCipheriv("aes-256-gcm", createSecretKey(key), nonce, {
		authTagLength: AEAD_TAG_BYTES,
	});
	cipher.setAAD(associatedData);
	const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
	sealed.set(cipher.update(plaintext));
	cipher.final();
	sealed.set(cipher.getAuthTag(), plaintext.length);
	return sealed;
}

/**
 * Decrypts what {@link seal} made; returns plaintext only after its tag was checked.
 * @throws AlthingError `crypto.not_authentic` when key, nonce, data or associated data differ
 */
export function open(
	key: Uint8Array,
	nonce: Uint8Array,
	sealed: Uint8Array,
	associatedData: Uint8Array,
): Uint8Array {
	checkLengths(key, nonce);
	if (sealed.length < AEAD_TAG_BYTES) throw notAuthentic();
	const decipher = createDecipheriv("aes-256-gcm", createSecretKey(key), nonce, {
		authTagLength: AEAD_TAG_BYTES,
	});
	decipher.setAAD(associatedData);
	decipher.setAuthTag(sealed.subarray(sealed.length - AEAD_TAG_BYTES));
	const plaintext = new Uint8Array(decipher.update(sealed.subarray(0, sealed.length - AEAD_TAG_BYTES)));
	try {
		decipher.final();
	} catch {
		plaintext.fill(0);
		throw notAuthentic();
	}
	return plaintext;
}

function checkLengths(key: Uint8Array, nonce: Uint8Array): void {
	if (key.length !== KEY_BYTES || nonce.length !== NONCE_BYTES) {
		throw new AlthingError(
			"crypto.bad_key",
			`AES-256-GCM takes a key of ${KEY_BYTES} and a nonce of ${NONCE_BYTES} bytes, not ${key.length} and ${nonce.length}.`,
		);
	}
}

function notAuthentic(): AlthingError {
	return new AlthingError(
		"crypto.not_authentic",
		"The sealed data was changed, or sealed under another key or for another purpose.",
	);
}
