/**
 * Compiles to `dist/` (JavaScript, declarations, source maps; for embedding the node in another
 * program), then proves that what was built runs: the command line answers, and a worker pool
 * of the built code starts the built worker script. Usage: `node scripts/build.ts`.
 */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");

// A file deleted from the sources must not live on in the build.
rmSync(dist, { recursive: true, force: true });
const compiler = spawnSync(
	process.execPath,
	[join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"],
	{ cwd: root, stdio: "inherit" },
);
if (compiler.status !== 0) process.exit(compiler.status ?? 1);

const built = (path: string) => pathToFileURL(join(dist, path));

const { main } = await import(built("node/cli/main.js").href);
const exitCode = await main(["--version"]);
if (exitCode !== 0) throw new Error(`The built command line ended with ${exitCode} on --version.`);

const { createWorkerPool } = await import(built("node/workers/workerPool.js").href);
// Sources name the script as they know it, .ts; the built pool must find its .js.
const pool = createWorkerPool({ script: built("node/jobs/trainingWorker.ts"), threads: 1 });
try {
	// Any answer will do; a script that does not start, or does not know the task, rejects.
	await pool.run({ kind: "forget", jobId: "none" });
} finally {
	await pool.stop();
}
console.log("build: dist/ compiled; its command line and its worker start");
