/**
 * Sealing under a passphrase: Argon2id (RFC 9106, node:crypto) gives a key for AES-256-GCM.
 *
 * Format, version 1, integers big-endian: `ALTHSEAL` | version (1) | memory in KiB (4) |
 * passes (4) | lanes (1) | salt (16) | nonce (12) | ciphertext and tag | checksum (8).
 * The header is authenticated with the content. The checksum (first bytes of the SHA-256
 * of all before it) tells a damaged file from a wrong passphrase; it is public knowledge.
 */
import { argon2 } from "node:crypto";
import { open, seal } from "./aead.ts";
import { equalBytes } from "./encoding.ts";
import { AlthingError } from "./error.ts";
import { sha256 } from "./hash.ts";
import { randomBytes } from "./random.ts";

/** What deriving the key costs whoever holds the file. */
export interface PassphraseCost {
	readonly memoryKiB: number;
	readonly passes: number;
	readonly lanes: number;
}

/** 64 MiB, 3 passes, 4 lanes: the second recommendation of RFC 9106 section 4. */
export const PASSPHRASE_COST: PassphraseCost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };

/** Fast and weak: for tests, which must pass it by name. */
export const WEAK_PASSPHRASE_COST_FOR_TESTS: PassphraseCost = { memoryKiB: 256, passes: 1, lanes: 1 };

/** Above these a header is an attempt to exhaust the machine, not a keystore. */
const MAX_COST: PassphraseCost = { memoryKiB: 1024 * 1024, passes: 16, lanes: 16 };

const MAGIC = new TextEncoder().encode("ALTHSEAL");
const VERSION = 1;
const SALT_AT = MAGIC.length + 10;
const NONCE_AT = SALT_AT + 16;
const HEADER_BYTES = NONCE_AT + 12;
const TAG_BYTES = 16;
const CHECKSUM_BYTES = 8;

/**
 * Seals `plaintext` under a passphrase with fresh salt and nonce.
 * @param passphrase not empty; text is NFC-normalized UTF-8, so keyboards do not matter
 * @throws AlthingError `keystore.empty_passphrase` | `keystore.bad_cost`
 */
export async function sealWithPassphrase(
	passphrase: string | Uint8Array,
	plaintext: Uint8Array,
	parameters: PassphraseCost = PASSPHRASE_COST,
): Promise<Uint8Array> {
	if (!acceptable(parameters)) {
		throw new AlthingError("keystore.bad_cost", "The Argon2id parameters are out of range.", {
			...parameters,
		});
	}
	const header = new Uint8Array(HEADER_BYTES);
	header.set(MAGIC);
	const view = new DataView(header.buffer);
	view.setUint8(MAGIC.length, VERSION);
	view.setUint32(MAGIC.length + 1, parameters.memoryKiB);
	view.setUint32(MAGIC.length + 5, parameters.passes);
	view.setUint8(MAGIC.length + 9, parameters.lanes);
	header.set(randomBytes(HEADER_BYTES - SALT_AT), SALT_AT);
	const key = await deriveKeyFromPassphrase(passphrase, header.subarray(SALT_AT, NONCE_AT), parameters);
	const content = seal(key, header.subarray(NONCE_AT), plaintext, header);
	key.fill(0);
	return Uint8Array.from(Buffer.concat([header, content, checksumOf(header, content)]));
}

/**
 * Opens what {@link sealWithPassphrase} made.
 * @throws AlthingError `keystore.wrong_passphrase`; `keystore.corrupt` for a damaged or
 *   foreign file, or a header that asks for absurd amounts of memory or time;
 *   `keystore.empty_passphrase`
 */
export async function openWithPassphrase(
	passphrase: string | Uint8Array,
	sealed: Uint8Array,
): Promise<Uint8Array> {
	if (sealed.length < HEADER_BYTES + TAG_BYTES + CHECKSUM_BYTES) throw corrupt("it is too short");
	const header = sealed.slice(0, HEADER_BYTES);
	const content = sealed.subarray(HEADER_BYTES, sealed.length - CHECKSUM_BYTES);
	if (!equalBytes(header.subarray(0, MAGIC.length), MAGIC)) throw corrupt("it is not a sealed keystore");
	if (!equalBytes(sealed.subarray(sealed.length - CHECKSUM_BYTES), checksumOf(header, content))) {
		throw corrupt("its checksum does not match");
	}
	const view = new DataView(header.buffer);
	const version = view.getUint8(MAGIC.length);
	if (version !== VERSION) throw corrupt(`its format version ${version} is not known to this release`);
	const cost: PassphraseCost = {
		memoryKiB: view.getUint32(MAGIC.length + 1),
		passes: view.getUint32(MAGIC.length + 5),
		lanes: view.getUint8(MAGIC.length + 9),
	};
	if (!acceptable(cost)) throw corrupt("its header asks for memory or time out of all proportion");
	const key = await deriveKeyFromPassphrase(passphrase, header.subarray(SALT_AT, NONCE_AT), cost);
	try {
		return open(key, header.subarray(NONCE_AT), content, header);
	} catch (cause) {
		throw new AlthingError(
			"keystore.wrong_passphrase",
			"The passphrase does not open this keystore; check the passphrase and that it belongs to this node.",
			{},
			{ cause },
		);
	} finally {
		key.fill(0);
	}
}

async function deriveKeyFromPassphrase(
	passphrase: string | Uint8Array,
	salt: Uint8Array,
	cost: PassphraseCost,
): Promise<Uint8Array> {
	const message =
		typeof passphrase === "string" ? new TextEncoder().encode(passphrase.normalize("NFC")) : passphrase;
	if (message.length === 0) {
		throw new AlthingError(
			"keystore.empty_passphrase",
			"The passphrase is empty; give one of at least a character.",
		);
	}
	const parameters = {
		message,
		nonce: salt,
		parallelism: cost.lanes,
		tagLength: 32,
		memory: cost.memoryKiB,
		passes: cost.passes,
	};
	return new Promise((resolve, reject) => {
		argon2("argon2id", parameters, (error, key) => {
			if (error) reject(error);
			else resolve(Uint8Array.from(key));
		});
	});
}

function acceptable(cost: PassphraseCost): boolean {
	return (
		(Object.keys(MAX_COST) as (keyof PassphraseCost)[]).every(
			(name) =>
				Number.isInteger(cost[name]) &&
				cost[name] >= WEAK_PASSPHRASE_COST_FOR_TESTS[name] &&
				cost[name] <= MAX_COST[name],
		) && cost.memoryKiB >= 8 * cost.lanes
	);
}

function checksumOf(header: Uint8Array, content: Uint8Array): Uint8Array {
	return sha256(header, content).subarray(0, CHECKSUM_BYTES);
}

function corrupt(why: string): AlthingError {
	return new AlthingError(
		"keystore.corrupt",
		`The keystore cannot be read: ${why}. Restore it from a backup.`,
	);
}
