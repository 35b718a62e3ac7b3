/** Name and version of this software, as told to other members and in the RPC. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** Walks up to the package's own manifest, which lies one level higher in the compiled form. */
function manifestVersion(): string {
	let folder = import.meta.dirname;
	for (let depth = 0; depth < 4; depth++) {
		try {
			const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
				name?: string;
				version?: string;
			};
			if (manifest.name === "althing") return manifest.version ?? "0.0.0";
		} catch {
			// Not here: look one folder up.
		}
		folder = dirname(folder);
	}
	return "0.0.0";
}

export const VERSION = manifestVersion();
export const SOFTWARE = `althing ${VERSION}`;
