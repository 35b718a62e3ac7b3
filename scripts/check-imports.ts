/**
 * Enforces the one direction of imports: node -> protocols -> src -> crypto (ARCHITECTURE.md).
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

const IMPORT = /(?:^|\s)(?:import|export)\s[^"';]*?from\s*["']([^"']+)["']|import\(\s*["']([^"']+)["']|^\s*import\s+["']([^"']+)["']|new URL\(\s*["'](\.[^"']+)["']/gm;

/** Packages that give network or disk access, kept out of the pure layers. */
const FORBIDDEN_IN_PURE = /^(?:node:(?:net|http|https|tls|dgram|fs|fs\/promises|child_process|cluster)|libp2p|@libp2p\/|@chainsafe\/libp2p|level$|hono)/;
const PURE = new Set(["crypto", "protocols"]);

export function violations(root: string): string[] {
	const found: string[] = [];
	for (const folder of Object.keys(ALLOWED)) {
		for (const file of typescriptFiles(join(root, folder))) {
			const text = readFileSync(file, "utf8");
			for (const match of text.matchAll(IMPORT)) {
				const target = match[1] ?? match[2] ?? match[3] ?? match[4] ?? "";
				const line = text.slice(0, match.index).split("\n").length;
				const where = `${relative(root, file)}:${line}`;
				if (!target.startsWith(".")) {
					if (PURE.has(folder) && FORBIDDEN_IN_PURE.test(target)) {
						found.push(`${where}: ${folder}/ is free of network and disk, but imports ${target}`);
					}
					continue;
				}
				const top = relative(root, resolve(dirname(file), target)).split(sep)[0] ?? "";
				if (!ALLOWED[folder]?.includes(top)) found.push(`${where}: ${folder}/ must not import from ${top}/ (${target})`);
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
	console.log(found.length === 0 ? "imports: one direction, no violation" : `imports: ${found.length} violations`);
	process.exitCode = found.length === 0 ? 0 : 1;
}
