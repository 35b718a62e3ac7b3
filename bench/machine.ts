/** Where and on what a figure was measured: without that it means nothing. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, loadavg, platform, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

export interface Machine {
	readonly cpu: string;
	/** That this process may use. */
	readonly cores: number;
	readonly memoryGiB: number;
	readonly system: string;
}

export function describeMachine(): Machine {
	return {
		cpu: cpus()[0]?.model.trim() ?? "unknown",
		cores: availableParallelism(),
		memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
		system: `${platform()} ${release()} ${arch()}`,
	};
}

/** Runnable processes over the last 1, 5 and 15 minutes. */
export function loadAverage(): readonly number[] {
	return loadavg().map((value) => Math.round(value * 100) / 100);
}

export function versionsOf(libraries: readonly string[]): Record<string, string> {
	const versions: Record<string, string> = { node: process.versions.node, openssl: process.versions.openssl };
	for (const name of libraries) {
		const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
		versions[name] = JSON.parse(readFileSync(file, "utf8")).version;
	}
	return versions;
}

/** The commit measured; `changed` says that tracked files differ from it. Null outside a checkout. */
export function describeCommit(): { readonly id: string; readonly changed: boolean } | null {
	const git = (...args: string[]) =>
		execFileSync("git", args, { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
	try {
		return { id: git("rev-parse", "HEAD"), changed: git("status", "--porcelain", "-uno") !== "" };
	} catch {
		return null;
	}
}
