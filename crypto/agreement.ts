/** Key agreement: X25519 (RFC 7748) and HKDF-SHA256 (RFC 5869), through node:crypto. */
import {
	createPrivateKey,
	createPublicKey,
	createSecretKey,
	diffieHellman,
	hkdfSync,
	type KeyObject,
} from "node:crypto";
import { toHex } from "./encoding.ts";
import { AlthingError } from "./error.ts";
import { randomBytes } from "./random.ts";

export interface AgreementKey {
	/** 32 secret bytes. */
	readonly secret: Uint8Array;
	/** 32 bytes, the u coordinate. */
	readonly publicKey: Uint8Array;
}

const KEY_BYTES = 32;
/** DER headers of RFC 8410 for id-X25519. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b656e032100", "hex");

/** A fresh X25519 key pair. `random` is the system CSPRNG unless a test or simulation passes its own. */
export function generateAgreementKey(random: (length: number) => Uint8Array = randomBytes): AgreementKey {
	const secret = random(KEY_BYTES);
	return { secret, publicKey: agreementPublicKey(secret) };
}

/**
 * The public key of a 32-byte X25519 secret.
 * @throws AlthingError `crypto.bad_key`
 */
export function agreementPublicKey(secret: Uint8Array): Uint8Array {
	const spki = createPublicKey(privateKeyObject(secret)).export({ format: "der", type: "spki" });
	return Uint8Array.from(spki.subarray(SPKI_PREFIX.length));
}

/**
 * The 32-byte X25519 shared secret; derive keys from it with {@link deriveKey}, never use it raw.
 * @throws AlthingError `crypto.low_order` when the result is all zero, i.e. the other side
 *   chose a point that makes the secret predictable (RFC 7748 section 6.1); `crypto.bad_key`
 */
export function agree(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
	const other = publicKeyObject(publicKey);
	const own = privateKeyObject(secret);
	let shared: Uint8Array;
	try {
		shared = new Uint8Array(diffieHellman({ privateKey: own, publicKey: other }));
	} catch (cause) {
		// OpenSSL itself refuses the all-zero result.
		throw lowOrder(cause);
	}
	if (shared.every((byte) => byte === 0)) throw lowOrder();
	return shared;
}

/**
 * u coordinates of the points of order 1, 2, 4 and 8, canonical and not, high bit cleared: every secret
 * gives an all-zero result with them (the list of libsodium's and curve25519-dalek's tests).
 */
const LOW_ORDER = new Set([
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

/** True for a public key that {@link agree} refuses whatever the own secret. */
export function isLowOrder(publicKey: Uint8Array): boolean {
	const u = Uint8Array.from(publicKey);
	u[31] = (u[31] ?? 0) & 0x7f;
	return LOW_ORDER.has(toHex(u));
}

/**
 * HKDF-SHA256 extract and expand.
 * @param info purpose of the key (text is UTF-8): different purposes give independent keys
 * @param lengthBytes 1 to 8160, default 32
 */
export function deriveKey(
	secret: Uint8Array,
	salt: Uint8Array,
	info: string | Uint8Array,
	lengthBytes: number = KEY_BYTES,
): Uint8Array {
	return new Uint8Array(hkdfSync("sha256", createSecretKey(secret), salt, info, lengthBytes));
}

/** Parsed keys, of which a session agrees on a secret with each neighbour's more than once. */
const publicKeyObjects = new Map<string, KeyObject>();
const CACHED_KEYS = 4096;
/** By identity: what is overwritten in place afterwards keeps its first value here. */
const privateKeyObjects = new WeakMap<Uint8Array, KeyObject>();

function publicKeyObject(raw: Uint8Array): KeyObject {
	if (raw.length !== KEY_BYTES) throw badKey(raw.length);
	const name = toHex(raw);
	const known = publicKeyObjects.get(name);
	if (known !== undefined) return known;
	const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, raw]), format: "der", type: "spki" });
	if (publicKeyObjects.size >= CACHED_KEYS) publicKeyObjects.clear();
	publicKeyObjects.set(name, key);
	return key;
}

function privateKeyObject(secret: Uint8Array): KeyObject {
	if (secret.length !== KEY_BYTES) throw badKey(secret.length);
	const known = privateKeyObjects.get(secret);
	if (known !== undefined) return known;
	const der = Buffer.concat([PKCS8_PREFIX, secret]);
	const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
	der.fill(0);
	privateKeyObjects.set(secret, key);
	return key;
}

function badKey(length: number): AlthingError {
	return new AlthingError("crypto.bad_key", `An X25519 key has ${KEY_BYTES} bytes, not ${length}.`);
}

function lowOrder(cause?: unknown): AlthingError {
	return new AlthingError(
		"crypto.low_order",
		"The other side's X25519 key gives an all-zero secret; refuse the peer that sent it.",
		{},
		{ cause },
	);
}
