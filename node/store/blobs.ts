/**
 * Large byte strings by hash: one sealed file each, written to a temporary name, synced and
 * renamed, so that a blob is there whole or not at all. The file name is the SHA-256 of the
 * content and tells whoever reads the disk that a known content is present.
 */
import { mkdir, open as openFile, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { open, seal } from "../../crypto/aead.ts";
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import { randomBytes } from "../../crypto/random.ts";
import { syncDirectory } from "./directorySync.ts";

export interface Blobs {
	/** Stores the bytes durably and returns their hash, 64 lower-case hex digits. */
	put(bytes: Uint8Array): Promise<string>;
	/** The bytes, or undefined when absent; throws `store.corrupt_record` when the file was damaged. */
	get(hash: string): Promise<Uint8Array | undefined>;
	has(hash: string): Promise<boolean>;
	/** Removes the blob; removing an absent one does nothing. */
	delete(hash: string): Promise<void>;
}

const NONCE_BYTES = 12;
const TEMPORARY = ".writing-";

/** Blobs under `directory`, which is created; what an interrupted write left is removed. */
export async function openBlobs(directory: string, key: Uint8Array): Promise<Blobs> {
	await mkdir(directory, { recursive: true, mode: 0o700 });
	for (const name of await readdir(directory)) {
		if (name.startsWith(TEMPORARY)) await unlink(join(directory, name));
	}
	return new FileBlobs(directory, key);
}

class FileBlobs implements Blobs {
	readonly #directory: string;
	readonly #key: Uint8Array;

	constructor(directory: string, key: Uint8Array) {
		this.#directory = directory;
		this.#key = key;
	}

	async put(bytes: Uint8Array): Promise<string> {
		const hash = toHex(sha256(bytes));
		const path = this.#pathOf(hash);
		if (await exists(path)) return hash;
		const nonce = randomBytes(NONCE_BYTES);
		const sealed = seal(this.#key, nonce, bytes, associatedData(hash));
		const temporary = join(this.#directory, `${TEMPORARY}${toHex(randomBytes(8))}`);
		if ((await mkdir(dirname(path), { recursive: true, mode: 0o700 })) !== undefined) {
			await syncDirectory(this.#directory);
		}
		try {
			const file = await openFile(temporary, "wx", 0o600);
			try {
				await file.writev([nonce, sealed]);
				await file.sync();
			} finally {
				await file.close();
			}
			await rename(temporary, path);
			await syncDirectory(dirname(path));
		} catch (cause) {
			await unlink(temporary).catch(() => undefined);
			throw new AlthingError(
				"store.write_failed",
				`Writing the blob ${hash} failed: ${cause instanceof Error ? cause.message : cause}. Nothing was stored; free disk space and try again.`,
				{ hash },
				{ cause },
			);
		}
		return hash;
	}

	async get(hash: string): Promise<Uint8Array | undefined> {
		let stored: Uint8Array;
		try {
			stored = await readFile(this.#pathOf(hash));
		} catch (cause) {
			if (isAbsent(cause)) return undefined;
			throw cause;
		}
		try {
			return open(
				this.#key,
				stored.subarray(0, NONCE_BYTES),
				stored.subarray(NONCE_BYTES),
				associatedData(hash),
			);
		} catch (cause) {
			throw new AlthingError(
				"store.corrupt_record",
				`The blob ${hash} is damaged. Delete it and fetch it again from another member.`,
				{ collection: "blobs", record: hash },
				{ cause },
			);
		}
	}

	async has(hash: string): Promise<boolean> {
		return exists(this.#pathOf(hash));
	}

	async delete(hash: string): Promise<void> {
		try {
			await unlink(this.#pathOf(hash));
		} catch (cause) {
			if (!isAbsent(cause)) throw cause;
		}
	}

	/** The pattern also keeps a hash from a peer from naming a file outside the directory. */
	#pathOf(hash: string): string {
		if (!/^[0-9a-f]{64}$/.test(hash)) {
			throw new AlthingError("store.bad_hash", "A blob's hash has 64 lower-case hexadecimal digits.", {
				length: hash.length,
			});
		}
		return join(this.#directory, hash.slice(0, 2), hash);
	}
}

function associatedData(hash: string): Uint8Array {
	return new TextEncoder().encode(`althing/store/blob/v1|${hash}`);
}

async function exists(path: string): Promise<boolean> {
	try {
		await stat(path);
		return true;
	} catch (cause) {
		if (isAbsent(cause)) return false;
		throw cause;
	}
}

function isAbsent(error: unknown): boolean {
	return (error as NodeJS.ErrnoException | undefined)?.code === "ENOENT";
}
