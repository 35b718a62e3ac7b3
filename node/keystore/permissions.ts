import { stat } from "node:fs/promises";
import { AlthingError } from "../../crypto/error.ts";

/**
 * Refuses a file or directory that anybody but its owner may read, write or enter, or that
 * belongs to another user: whoever can replace or copy a secret has it.
 * Throws `keystore.permissions` naming path, mode and the command that mends it.
 */
export async function refuseOpenToOthers(path: string): Promise<void> {
	const found = await stat(path);
	const expected = found.isDirectory() ? 0o700 : 0o600;
	const mode = found.mode & 0o777;
	if ((mode & 0o077) !== 0) {
		throw new AlthingError(
			"keystore.permissions",
			`${path} has mode ${octal(mode)}, so other users can reach it. Run: chmod ${octal(expected)} ${path}`,
			{ path, mode: octal(mode), expected: octal(expected) },
		);
	}
	const user = process.geteuid?.();
	// Root may run tools over a service user's directory; everybody else only over their own.
	if (user !== undefined && user !== 0 && found.uid !== user) {
		throw new AlthingError(
			"keystore.permissions",
			`${path} belongs to user ${found.uid}, not to user ${user} who runs this. Run as its owner, or chown it.`,
			{ path, owner: found.uid, user },
		);
	}
}

function octal(mode: number): string {
	return mode.toString(8).padStart(4, "0");
}
