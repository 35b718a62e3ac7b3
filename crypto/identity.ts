/**
 * Identities: Ed25519 keys (RFC 8032) named by their libp2p peer id, so that a signature,
 * a Noise handshake and a charter entry all speak of the same key.
 *
 * A peer id is the base58btc text of the identity multihash of the protobuf
 * `PublicKey { Type: Ed25519, Data }` (libp2p specs, peer-ids); it contains the key whole.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { base58btc } from "multiformats/bases/base58";
import { equalBytes, toHex } from "./encoding.ts";
import { AlthingError } from "./error.ts";
import { hashFields } from "./hash.ts";
import { randomBytes } from "./random.ts";

/** Text form of a libp2p Ed25519 peer id, `12D3KooW...`. */
export type PeerId = string;

/** Signs as one peer; the private key stays inside. */
export interface SigningKey {
	readonly peer: PeerId;
	/** Ed25519 signature, 64 bytes, deterministic. */
	sign(message: Uint8Array): Uint8Array;
}

const SEED_BYTES = 32;
const PUBLIC_KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** identity multihash (0x00), 36 bytes (0x24), Type = 1 Ed25519 (08 01), Data of 32 bytes (12 20). */
const PEER_ID_PREFIX = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20);
/** DER headers of RFC 8410 section 7 and 4 for id-Ed25519. */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");

/**
 * y coordinates of the points of order 1, 2, 4 and 8, canonical and not, sign bit cleared.
 * Anybody can sign anything under such a key, so its owner could deny every signature.
 */
const SMALL_ORDER = new Set([
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]);

/** Parsed keys kept; a federation has at most a few hundred members. */
const CACHED_KEYS = 2048;
const keyObjects = new Map<PeerId, KeyObject>();

/** A fresh secret seed of 32 bytes from the system CSPRNG. */
export function generateIdentitySeed(): Uint8Array {
	return randomBytes(SEED_BYTES);
}

/**
 * The signing key of a 32-byte seed (RFC 8032 section 5.1.5).
 * @throws AlthingError `crypto.bad_key`
 */
export function signingKeyFromSeed(seed: Uint8Array): SigningKey {
	if (seed.length !== SEED_BYTES) {
		throw new AlthingError("crypto.bad_key", `An identity seed has ${SEED_BYTES} bytes, not ${seed.length}.`);
	}
	const der = Buffer.concat([PKCS8_PREFIX, seed]);
	const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
	der.fill(0);
	const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
	return {
		peer: peerIdFromPublicKey(Uint8Array.from(spki.subarray(SPKI_PREFIX.length))),
		sign: (message) => new Uint8Array(sign(null, message, privateKey)),
	};
}

/**
 * The raw 32-byte Ed25519 public key inside a peer id.
 * @throws AlthingError `crypto.bad_peer_id` for anything but the canonical text of a sound key
 */
export function publicKeyOf(peer: PeerId): Uint8Array {
	const bytes = peerIdBytes(peer);
	const key = bytes?.subarray(PEER_ID_PREFIX.length);
	if (bytes === undefined || key === undefined || isSmallOrder(key)) {
		throw new AlthingError(
			"crypto.bad_peer_id",
			"This is not an Ed25519 peer id; one looks like 12D3KooW... (52 characters).",
			{ peer: peer.slice(0, 64) },
		);
	}
	return Uint8Array.from(key);
}

/**
 * The peer id of a raw 32-byte Ed25519 public key.
 * @throws AlthingError `crypto.bad_key` for a wrong length or a key of small order
 */
export function peerIdFromPublicKey(raw: Uint8Array): PeerId {
	if (raw.length !== PUBLIC_KEY_BYTES || isSmallOrder(raw)) {
		throw new AlthingError("crypto.bad_key", `Not a sound Ed25519 public key (${raw.length} bytes).`);
	}
	const bytes = new Uint8Array(PEER_ID_PREFIX.length + PUBLIC_KEY_BYTES);
	bytes.set(PEER_ID_PREFIX);
	bytes.set(raw, PEER_ID_PREFIX.length);
	return base58btc.baseEncode(bytes);
}

/** True for the canonical text of an Ed25519 peer id. */
export function isPeerId(text: string): boolean {
	// Only sound ones have a key there.
	if (keyObjects.has(text)) return true;
	const bytes = peerIdBytes(text);
	return bytes !== undefined && !isSmallOrder(bytes.subarray(PEER_ID_PREFIX.length));
}

/** True when `signature` is the Ed25519 signature of `message` by `peer`; false for anything malformed. */
export function verifySignature(peer: PeerId, message: Uint8Array, signature: Uint8Array): boolean {
	if (signature.length !== SIGNATURE_BYTES) return false;
	const known = toHex(hashFields("althing/verified/1", peer, signature, message));
	verification.asked++;
	if (verifiedSignatures.has(known)) return true;
	const key = keyObjectOf(peer);
	verification.computed++;
	if (key === undefined || !verify(null, message, key, signature)) return false;
	if (verifiedSignatures.size >= REMEMBERED_SIGNATURES) verifiedSignatures.clear();
	verifiedSignatures.add(known);
	return true;
}

/** Sound signatures seen lately, by hash: a ballot comes alone, then in certificates, again and again. */
const verifiedSignatures = new Set<string>();
const REMEMBERED_SIGNATURES = 16_384;

/** How many signatures were to be verified in this process, and how many had not been seen before. */
export const verification = { asked: 0, computed: 0 };

function keyObjectOf(peer: PeerId): KeyObject | undefined {
	const cached = keyObjects.get(peer);
	if (cached !== undefined) return cached;
	if (!isPeerId(peer)) return undefined;
	const key = createPublicKey({
		key: Buffer.concat([SPKI_PREFIX, publicKeyOf(peer)]),
		format: "der",
		type: "spki",
	});
	if (keyObjects.size >= CACHED_KEYS) {
		const oldest = keyObjects.keys().next().value;
		if (oldest !== undefined) keyObjects.delete(oldest);
	}
	keyObjects.set(peer, key);
	return key;
}

function peerIdBytes(text: string): Uint8Array | undefined {
	// 38 bytes are at most 52 base58 digits; longer text is not worth decoding.
	if (typeof text !== "string" || text.length > 52) return undefined;
	let bytes: Uint8Array;
	try {
		bytes = base58btc.baseDecode(text);
	} catch {
		return undefined;
	}
	if (bytes.length !== PEER_ID_PREFIX.length + PUBLIC_KEY_BYTES) return undefined;
	if (!equalBytes(bytes.subarray(0, PEER_ID_PREFIX.length), PEER_ID_PREFIX)) return undefined;
	return base58btc.baseEncode(bytes) === text ? bytes : undefined;
}

function isSmallOrder(key: Uint8Array): boolean {
	const y = Uint8Array.from(key);
	y[31] = (y[31] ?? 0) & 0x7f;
	return SMALL_ORDER.has(toHex(y));
}
