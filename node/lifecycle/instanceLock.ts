/**
 * One daemon per data directory. The lock is a file naming its process; it appears whole
 * (hard link of a finished file) and is taken over when that process is gone, so that a
 * crash needs no cleaning up by hand. The store's own kernel lock stands behind it for what
 * process ids cannot tell, such as two containers sharing a directory.
 */
import { readFileSync } from "node:fs";
import { link, readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";

export interface InstanceLock {
	readonly path: string;
	/** True when the lock of a process that died was taken over: the last run ended by a crash. */
	readonly tookOver: boolean;
	release(): Promise<void>;
}

const ownerSchema = z.object({
	pid: z.int().positive(),
	/** Tells this process from a later one that got the same id (always so for pid 1 in a container). */
	started: z.string().nullable(),
	token: z.string(),
});
type Owner = z.infer<typeof ownerSchema>;

const LOCK_FILE = "daemon.lock";
/** Each try loses only to another starter that won; more than a few mean something is odd. */
const MAX_TRIES = 50;

/** Takes the lock of a data directory. Throws `lifecycle.already_running` naming pid and directory. */
export async function acquireInstanceLock(directory: string): Promise<InstanceLock> {
	const path = join(directory, LOCK_FILE);
	const own: Owner = { pid: process.pid, started: startOf(process.pid), token: toHex(randomBytes(8)) };
	const prepared = join(directory, `.${LOCK_FILE}-${own.token}`);
	await writeFile(prepared, JSON.stringify(own), { mode: 0o600, flag: "wx" });
	let tookOver = false;
	try {
		for (let attempt = 0; attempt < MAX_TRIES; attempt += 1) {
			if (await linked(prepared, path)) return new FileLock(path, own, tookOver);
			const text = await readIfThere(path);
			if (text === undefined) continue;
			const owner = parseOwner(text);
			if (owner && isRunning(owner)) throw alreadyRunning(directory, owner.pid);
			tookOver = (await takeOver(path, text, prepared)) || tookOver;
		}
	} finally {
		await unlink(prepared);
	}
	throw alreadyRunning(directory, undefined);
}

class FileLock implements InstanceLock {
	readonly path: string;
	readonly tookOver: boolean;
	readonly #own: Owner;

	constructor(path: string, own: Owner, tookOver: boolean) {
		this.path = path;
		this.#own = own;
		this.tookOver = tookOver;
	}

	async release(): Promise<void> {
		const text = await readIfThere(this.path);
		if (text !== undefined && parseOwner(text)?.token === this.#own.token) await unlink(this.path);
	}
}

/**
 * Removes a stale lock. Only the holder of a second lock, taken the same way, may do so: two
 * starters that both read the stale one could otherwise remove each other's fresh lock.
 * @returns false when another starter was faster; the caller looks again
 */
async function takeOver(path: string, expected: string, prepared: string): Promise<boolean> {
	const guard = `${path}.takeover`;
	if (!(await linked(prepared, guard))) {
		const text = await readIfThere(guard);
		const holder = text === undefined ? undefined : parseOwner(text);
		// Left by a starter that died between two lines of this function.
		if (text !== undefined && !(holder && isRunning(holder))) await unlinkIfThere(guard);
		return false;
	}
	try {
		if ((await readIfThere(path)) !== expected) return false;
		await unlink(path);
		return true;
	} finally {
		await unlinkIfThere(guard);
	}
}

async function unlinkIfThere(path: string): Promise<void> {
	try {
		await unlink(path);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
	}
}

async function linked(from: string, to: string): Promise<boolean> {
	try {
		await link(from, to);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
		throw error;
	}
}

async function readIfThere(path: string): Promise<string | undefined> {
	try {
		return await readFile(path, "utf8");
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
		throw error;
	}
}

/** Undefined for a lock that names nobody: power loss can leave an empty file. */
function parseOwner(text: string): Owner | undefined {
	try {
		return ownerSchema.parse(JSON.parse(text));
	} catch {
		return undefined;
	}
}

function isRunning(owner: Owner): boolean {
	try {
		process.kill(owner.pid, 0);
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
	}
	const started = startOf(owner.pid);
	return started === null || owner.started === null || started === owner.started;
}

/** Boot id and start time in ticks since boot on Linux, null where there is no /proc. */
function startOf(pid: number): string | null {
	try {
		const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
		const status = readFileSync(`/proc/${pid}/stat`, "utf8");
		// The second field is the program's name in parentheses and may hold anything.
		const afterName = status.slice(status.lastIndexOf(")") + 2).split(" ");
		return `${boot}/${afterName[19]}`;
	} catch {
		return null;
	}
}

function alreadyRunning(directory: string, pid: number | undefined): AlthingError {
	return new AlthingError(
		"lifecycle.already_running",
		`A node with the data directory ${directory} is running already${pid === undefined ? "" : ` as process ${pid}`}. Stop it first, or give this one its own --data-dir.`,
		{ directory, pid },
	);
}
