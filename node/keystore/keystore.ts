/**
 * The node's two secrets, sealed under a passphrase in one file: the identity seed (who the
 * node is) and the store's master key (what everything at rest is sealed under).
 *
 *     const keystore = await createKeystore({ directory, passphrase });
 *     keystore.identitySeed, keystore.storeKey, keystore.peer
 */
import { chmod, mkdir, open, readFile, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { decodeCanonical, encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { generateIdentitySeed, type PeerId, signingKeyFromSeed } from "../../crypto/identity.ts";
import {
	openWithPassphrase,
	PASSPHRASE_COST,
	type PassphraseCost,
	sealWithPassphrase,
} from "../../crypto/passphraseSealing.ts";
import { randomBytes } from "../../crypto/random.ts";
import { syncDirectory } from "../store/directorySync.ts";
import { refuseOpenToOthers } from "./permissions.ts";

export interface Keystore {
	/** 32-byte Ed25519 seed. */
	readonly identitySeed: Uint8Array;
	/** 32-byte master key of the store. */
	readonly storeKey: Uint8Array;
	/** The peer id that belongs to the seed. */
	readonly peer: PeerId;
}

export const KEYSTORE_FILE = "keystore";

const secret32 = z.instanceof(Uint8Array).refine((bytes) => bytes.length === 32, "32 bytes");
const contentSchema = z.strictObject({
	version: z.literal(1),
	identitySeed: secret32,
	storeKey: secret32,
});

/**
 * Makes fresh secrets and seals them in `directory` (created, mode 0700; file 0600).
 * Throws `keystore.exists` rather than replace one: the identity would be lost.
 * @param options.cost Argon2id parameters; the default is the one for daemons
 */
export async function createKeystore(options: {
	directory: string;
	passphrase: string;
	cost?: PassphraseCost;
}): Promise<Keystore> {
	const path = join(options.directory, KEYSTORE_FILE);
	await mkdir(options.directory, { recursive: true, mode: 0o700 });
	await refuseOpenToOthers(options.directory);
	if (await exists(path)) {
		throw new AlthingError(
			"keystore.exists",
			`There is a keystore in ${options.directory} already; it is not replaced, because the node's identity would be lost. Choose another data directory, or move it away by hand.`,
			{ file: path },
		);
	}
	const identitySeed = generateIdentitySeed();
	const storeKey = randomBytes(32);
	const content = encodeCanonical({ version: 1, identitySeed, storeKey });
	await writeWhole(options.directory, await sealWithPassphrase(options.passphrase, content, options.cost));
	content.fill(0);
	return { identitySeed, storeKey, peer: signingKeyFromSeed(identitySeed).peer };
}

/**
 * Opens the keystore in `directory`.
 * Throws `keystore.missing`, `keystore.permissions` (others may read file or directory),
 * `keystore.wrong_passphrase`, `keystore.corrupt`.
 */
export async function openKeystore(options: { directory: string; passphrase: string }): Promise<Keystore> {
	const path = join(options.directory, KEYSTORE_FILE);
	let sealed: Uint8Array;
	try {
		sealed = await readFile(path);
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code !== "ENOENT") throw unreadable(path, cause);
		throw new AlthingError(
			"keystore.missing",
			`There is no keystore in ${options.directory}. Make one with: althing init --data-dir ${options.directory}`,
			{ file: path },
			{ cause },
		);
	}
	await refuseOpenToOthers(options.directory);
	await refuseOpenToOthers(path);
	const content = await openWithPassphrase(options.passphrase, sealed);
	try {
		const parsed = contentSchema.safeParse(decodeCanonical(content));
		if (!parsed.success) throw new Error("unknown content");
		const { identitySeed, storeKey } = parsed.data;
		return { identitySeed, storeKey, peer: signingKeyFromSeed(identitySeed).peer };
	} catch {
		// The cause is left out: a decoding error may quote what it failed to decode.
		throw new AlthingError(
			"keystore.corrupt",
			`The keystore ${path} opens, but its content is not known to this release. Restore it from a backup or use the release that wrote it.`,
			{ file: path },
		);
	} finally {
		content.fill(0);
	}
}

/**
 * Seals the same secrets under another passphrase. The file is replaced whole or not at all.
 * Throws what {@link openKeystore} throws.
 */
export async function changePassphrase(options: {
	directory: string;
	passphrase: string;
	newPassphrase: string;
	cost?: PassphraseCost;
}): Promise<void> {
	const { identitySeed, storeKey } = await openKeystore(options);
	const content = encodeCanonical({ version: 1, identitySeed, storeKey });
	await writeWhole(
		options.directory,
		await sealWithPassphrase(options.newPassphrase, content, options.cost ?? PASSPHRASE_COST),
	);
	for (const secret of [content, identitySeed, storeKey]) secret.fill(0);
}

async function writeWhole(directory: string, sealed: Uint8Array): Promise<void> {
	const temporary = join(directory, `.${KEYSTORE_FILE}-${toHex(randomBytes(8))}`);
	try {
		const file = await open(temporary, "wx", 0o600);
		try {
			await file.writeFile(sealed);
			await file.sync();
		} finally {
			await file.close();
		}
		// The umask may have taken more than it should, never less; the mode is what we say.
		await chmod(temporary, 0o600);
		await rename(temporary, join(directory, KEYSTORE_FILE));
		await syncDirectory(directory);
	} catch (cause) {
		await unlink(temporary).catch(() => undefined);
		throw new AlthingError(
			"keystore.write_failed",
			`Writing the keystore in ${directory} failed: ${cause instanceof Error ? cause.message : cause}. What was there is unchanged.`,
			{ directory },
			{ cause },
		);
	}
}

async function exists(path: string): Promise<boolean> {
	try {
		await stat(path);
		return true;
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code === "ENOENT") return false;
		throw unreadable(path, cause);
	}
}

function unreadable(path: string, cause: unknown): AlthingError {
	return new AlthingError(
		"keystore.unreadable",
		`Cannot read ${path}: ${cause instanceof Error ? cause.message : cause}.`,
		{ file: path },
		{ cause },
	);
}
