import { open } from "node:fs/promises";

/**
 * Makes a directory's entries durable (a created, renamed or removed file survives power
 * loss only after its directory was synced too).
 */
export async function syncDirectory(directory: string): Promise<void> {
	const handle = await open(directory, "r");
	try {
		await handle.sync();
	} finally {
		await handle.close();
	}
}
