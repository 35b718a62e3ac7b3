/** `althing start`: opens the keys and hands over to the daemon. */
import { readPassphrase } from "../keystore/passphrase.ts";
import { exitCodeOf } from "../lifecycle/exitCodes.ts";
import type { Session } from "./session.ts";

/** Resolves when the daemon has stopped, with its exit code (`node/lifecycle/exitCodes.ts`). */
export async function start(
	{ dataDirectory, out }: Session,
	options: { config?: string; passphraseFile?: string },
): Promise<number> {
	try {
		const passphrase = await readPassphrase({ file: options.passphraseFile });
		const { startDaemon } = await import("../daemon.ts");
		const { stopped } = await startDaemon({
			dataDirectory,
			passphrase,
			...(options.config === undefined ? {} : { configFile: options.config }),
		});
		const code = await stopped;
		// A part given up at the drain deadline may still hold a handle; the process ends all the same.
		process.exit(code);
	} catch (error) {
		out.error(error);
		return exitCodeOf(error);
	}
}
