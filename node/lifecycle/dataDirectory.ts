import { chmod, mkdir, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { AlthingError } from "../../crypto/error.ts";

/**
 * Makes sure the data directory exists, belongs to us and is closed to others (0700);
 * a mode that is too open is tightened. Returns its absolute path.
 * Throws `lifecycle.data_directory`.
 */
export async function prepareDataDirectory(path: string): Promise<string> {
	const directory = resolve(path);
	try {
		await mkdir(directory, { recursive: true, mode: 0o700 });
		const found = await stat(directory);
		const user = process.geteuid?.();
		if (user !== undefined && user !== 0 && found.uid !== user) {
			throw new Error(`it belongs to user ${found.uid}, not to user ${user}`);
		}
		if ((found.mode & 0o777) !== 0o700) await chmod(directory, 0o700);
		return directory;
	} catch (cause) {
		throw new AlthingError(
			"lifecycle.data_directory",
			`The data directory ${directory} cannot be used: ${cause instanceof Error ? cause.message : cause}. Choose another with --data-dir, or mend its owner and permissions.`,
			{ directory },
			{ cause },
		);
	}
}
