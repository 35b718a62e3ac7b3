/** `althing doctor`: what can be checked without the node, then what the node says of itself. */
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { AlthingError } from "../../crypto/error.ts";
import { loadConfig } from "../config/loadConfig.ts";
import { KEYSTORE_FILE } from "../keystore/keystore.ts";
import { refuseOpenToOthers } from "../keystore/permissions.ts";
import type { DoctorReport } from "../rpc/services.ts";
import { CONFIG_FILE, type Session } from "./session.ts";

type Check = DoctorReport["checks"][number];

/** Below this, checkpoints of a larger model soon fill the disk. */
const LOW_DISK_BYTES = 1024 ** 3;

export async function examine(session: Session): Promise<DoctorReport> {
	const { dataDirectory } = session;
	const checks: Check[] = [
		{ name: "runtime", state: "ok", detail: `Node.js ${process.versions.node}` },
		await secretPath("data directory", dataDirectory),
		await secretPath("keys", join(dataDirectory, KEYSTORE_FILE)),
		await configuration(join(dataDirectory, CONFIG_FILE)),
		await disk(dataDirectory),
	];
	checks.push(...(await online(session)));
	return { healthy: checks.every((check) => check.state !== "failed"), checks };
}

async function secretPath(name: string, path: string): Promise<Check> {
	try {
		await stat(path);
		await refuseOpenToOthers(path);
		return { name, state: "ok", detail: path };
	} catch (error) {
		if (error instanceof AlthingError) return { name, state: "failed", detail: error.message };
		return { name, state: "failed", detail: `${path} is not there.`, remedy: "Run althing init." };
	}
}

async function configuration(path: string): Promise<Check> {
	try {
		await loadConfig(path);
		return { name: "configuration", state: "ok", detail: path };
	} catch (error) {
		if (!(error instanceof AlthingError)) throw error;
		return { name: "configuration", state: "failed", detail: error.message };
	}
}

async function disk(directory: string): Promise<Check> {
	try {
		const { bavail, bsize } = await statfs(directory);
		const freeBytes = bavail * bsize;
		const detail = `${(freeBytes / 1024 ** 3).toFixed(1)} GiB free`;
		if (freeBytes >= LOW_DISK_BYTES) return { name: "disk", state: "ok", detail };
		return { name: "disk", state: "warning", detail, remedy: "Make room: checkpoints and the journal grow." };
	} catch {
		return { name: "disk", state: "warning", detail: `${directory} cannot be measured.` };
	}
}

async function online(session: Session): Promise<Check[]> {
	try {
		const { checks } = await (await session.client()).call("node.doctor", {});
		return [{ name: "node", state: "ok", detail: "running" }, ...checks];
	} catch (error) {
		if (!(error instanceof AlthingError)) throw error;
		if (error.code !== "rpc.not_running") return [{ name: "node", state: "failed", detail: error.message }];
		return [
			{
				name: "node",
				state: "warning",
				detail: "not running: ports and peers were not checked",
				remedy: "Run althing start.",
			},
		];
	}
}
