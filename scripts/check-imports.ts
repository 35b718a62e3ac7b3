/**
 * Enforces the one direction of imports, node -> protocols -> src -> crypto, and keeps network
 * and disk out of the layers that are free of them (ARCHITECTURE.md).
 * Usage: `node scripts/check-imports.ts [ROOT]`; prints each violation, exit code 1 if any.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";

/** Which top-level folders each one may import from, itself included. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
	crypto: ["crypto"],
	src: ["src", "crypto"],
	protocols: ["protocols", "src", "crypto"],
	node: ["node", "protocols", "src", "crypto"],
};

/** Imports, re-exports, dynamic imports, imports for effect, and scripts started by URL. */
const IMPORT =
	/(?:^|\s)(?:import|export)\s[^"';]*?from\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']|^\s*import\s+["']([^"']+)["']|new URL\(\s*["'](\.[^"']+\.ts)["']/gm;

const NETWORK =
	/^(?:node:(?:net|http|https|http2|tls|dgram|dns|child_process|cluster)(?:\/|$)|libp2p|@libp2p\/|@chainsafe\/libp2p|hono|@hono\/)/;
const DISK = /^(?:node:fs(?:\/|$)|level$|classic-level|datastore-level)/;

/** Why a file may not import a package, or undefined when it may. */
function forbiddenPackage(file: string, name: string): string | undefined {
	const [folder = "", area] = file.split(sep);
	if (folder === "node") return undefined;
	if (NETWORK.test(name)) return `${folder}/ is free of network`;
	// Readers of data files get their path as an argument; nothing else below node/ sees the disk.
	const readsFiles = folder === "src" && area === "data";
	return DISK.test(name) && !readsFiles ? `${folder}/ is free of disk` : undefined;
}

/** @returns one line for each violation below `root`: file, line, what is wrong */
export function violations(root: string): string[] {
	const found: string[] = [];
	for (const [folder, allowed] of Object.entries(ALLOWED)) {
		for (const path of typescriptFiles(join(root, folder))) {
			const file = relative(root, path);
			const text = readFileSync(path, "utf8");
			for (const match of text.matchAll(IMPORT)) {
				const target = match[1] ?? match[2] ?? match[3] ?? match[4] ?? "";
				const line = text.slice(0, match.index + match[0].length).split("\n").length;
				if (target.startsWith(".")) {
					const top = relative(root, resolve(dirname(path), target)).split(sep)[0] ?? "";
					if (!allowed.includes(top))
						found.push(`${file}:${line}: ${folder}/ must not import from ${top}/ (${target})`);
				} else {
					const reason = forbiddenPackage(file, target);
					if (reason !== undefined) found.push(`${file}:${line}: ${reason}, but imports ${target}`);
				}
			}
		}
	}
	return found;
}

function typescriptFiles(folder: string): string[] {
	return readdirSync(folder, { withFileTypes: true, recursive: true })
		.filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
		.map((entry) => join(entry.parentPath, entry.name));
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	const found = violations(resolve(process.argv[2] ?? join(import.meta.dirname, "..")));
	for (const violation of found) console.error(violation);
	console.log(
		found.length === 0 ? "imports: one direction, no violation" : `imports: ${found.length} violations`,
	);
	process.exitCode = found.length === 0 ? 0 : 1;
}
