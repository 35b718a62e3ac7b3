/**
 * The store's schema version, in a small plain file beside the journal so that it can be
 * read whatever state the rest is in.
 */
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { syncDirectory } from "./directorySync.ts";

/** The layout this release reads and writes. */
export const STORE_VERSION = 1;

/** Brings a store from version `from` to `from + 1`; run again after a crash, so it must be repeatable. */
export interface Migration {
	readonly from: number;
	run(directory: string): Promise<void>;
}

/** One step per released version that changed the layout; version 1 is the first. */
export const MIGRATIONS: readonly Migration[] = [];

const versionFileSchema = z.strictObject({ format: z.literal("althing-store"), version: z.int().min(1) });

/**
 * Marks a new store with `target`, or runs the missing steps on an older one, recording
 * each as it completes. Throws `store.newer_version` on a store of a later release, and
 * `store.no_migration` when a step is missing; neither changes anything.
 * @returns the version the store had before, undefined for a new one
 */
export async function migrate(
	directory: string,
	path: string,
	target: number,
	migrations: readonly Migration[],
): Promise<number | undefined> {
	const found = await readVersion(path);
	if (found === undefined) {
		await writeVersion(path, target);
		return undefined;
	}
	if (found > target) {
		throw new AlthingError(
			"store.newer_version",
			`The store in ${directory} has version ${found}; this release knows versions up to ${target}. Start it with the newer release that wrote it.`,
			{ directory, found, supported: target },
		);
	}
	for (let version = found; version < target; version += 1) {
		const step = migrations.find((migration) => migration.from === version);
		if (step === undefined) {
			throw new AlthingError(
				"store.no_migration",
				`The store in ${directory} has version ${found}, and this release cannot bring version ${version} to ${version + 1}. Start it once with a release in between.`,
				{ directory, found, supported: target },
			);
		}
		await step.run(directory);
		await writeVersion(path, version + 1);
	}
	return found;
}

async function readVersion(path: string): Promise<number | undefined> {
	let text: string;
	try {
		text = await readFile(path, "utf8");
	} catch (cause) {
		if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw cause;
	}
	try {
		return versionFileSchema.parse(JSON.parse(text)).version;
	} catch (cause) {
		throw new AlthingError(
			"store.corrupt",
			`${path} does not state the store's version. Restore it from a backup.`,
			{ file: path },
			{ cause },
		);
	}
}

async function writeVersion(path: string, version: number): Promise<void> {
	const temporary = `${path}.writing`;
	const file = await open(temporary, "w", 0o600);
	try {
		await file.writeFile(`${JSON.stringify({ format: "althing-store", version })}\n`);
		await file.sync();
	} finally {
		await file.close();
	}
	await rename(temporary, path);
	await syncDirectory(dirname(path));
}
