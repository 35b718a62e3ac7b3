/** One organization's daemon as a process of its own: started, watched, killed, started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AlthingError } from "../crypto/error.ts";
import { createRpcClient, type RpcClient } from "../node/rpc/client.ts";
import type { NodeStatus } from "../node/rpc/services.ts";
import { until, within } from "./deadline.ts";
import type { Organization } from "./organizations.ts";

const EXECUTABLE = fileURLToPath(new URL("../bin/althing.mjs", import.meta.url));
const START_TIMEOUT_MS = 60_000;
/** Longer than the daemon's own drain deadline of 10 s. */
const STOP_TIMEOUT_MS = 15_000;
const TAIL_BYTES = 4096;

/** A call to a node that is about to answer fails so. */
const NOT_YET = new Set(["rpc.not_running", "rpc.connection_lost", "rpc.stopping"]);

export class Daemon {
	readonly organization: Organization;
	readonly #onUnexpectedEnd: (error: AlthingError) => void;
	readonly #preload: string | undefined;
	#child: ChildProcess | undefined;
	#client: RpcClient | undefined;
	#wanted = false;

	/**
	 * @param onUnexpectedEnd told when the process ends without having been asked to
	 * @param preload a module that is loaded first, to make this node attack its federation
	 */
	constructor(organization: Organization, onUnexpectedEnd: (error: AlthingError) => void, preload?: string) {
		this.organization = organization;
		this.#preload = preload;
		this.#onUnexpectedEnd = onUnexpectedEnd;
	}

	get name(): string {
		return this.organization.name;
	}

	get attacks(): boolean {
		return this.#preload !== undefined;
	}

	get peer(): string {
		return this.organization.peer;
	}

	get logFile(): string {
		return join(this.organization.dataDirectory, "..", "node.log");
	}

	/** True while the process is there and meant to be. */
	get running(): boolean {
		return this.#wanted;
	}

	/** @throws AlthingError `testnet.not_running` between a kill and the next start */
	get client(): RpcClient {
		if (this.#client !== undefined) return this.#client;
		throw new AlthingError("testnet.not_running", `The node of ${this.name} is not running.`);
	}

	/** Starts the process and waits until its admin RPC answers. */
	async start(signal: AbortSignal): Promise<NodeStatus> {
		const { dataDirectory, passphraseFile } = this.organization;
		const log = openSync(this.logFile, "a", 0o600);
		const child = spawn(
			process.execPath,
			[
				...(this.#preload === undefined ? [] : ["--import", this.#preload]),
				...[EXECUTABLE, "--data-dir", dataDirectory, "start", "--passphrase-file", passphraseFile],
			],
			{ stdio: ["ignore", log, log] },
		);
		closeSync(log);
		this.#child = child;
		this.#wanted = true;
		const ended = new Promise<never>((_, reject) => {
			child.once("error", reject);
			child.once("exit", (code, by) => {
				if (this.#child !== child || !this.#wanted) return;
				this.#wanted = false;
				this.#client = undefined;
				void this.#unexpectedEnd(by ?? `exit code ${code}`).then((error) => {
					reject(error);
					this.#onUnexpectedEnd(error);
				});
			});
		});
		// After the start nobody waits for it; the callback tells.
		ended.catch(() => undefined);
		const deadline = {
			what: `the node of ${this.name} to answer (log: ${this.logFile})`,
			timeoutMs: START_TIMEOUT_MS,
			signal,
		};
		return Promise.race([ended, until(() => this.#answer(), deadline)]);
	}

	/** SIGKILL, as a power cut would do it. Resolves when the process is gone. */
	async kill(): Promise<void> {
		await this.#end("SIGKILL");
	}

	/** SIGTERM, and SIGKILL if it does not drain in time. */
	async stop(): Promise<void> {
		await this.#end("SIGTERM");
	}

	/** For the launcher's own sudden end: no waiting. */
	killNow(): void {
		this.#wanted = false;
		this.#child?.kill("SIGKILL");
	}

	/** The last lines of the log. */
	async logTail(): Promise<string> {
		try {
			const file = await open(this.logFile, "r");
			try {
				const { size } = await file.stat();
				const buffer = Buffer.alloc(Math.min(size, TAIL_BYTES));
				await file.read(buffer, 0, buffer.length, size - buffer.length);
				return buffer.toString("utf8").trimEnd();
			} finally {
				await file.close();
			}
		} catch {
			return "(there is no log)";
		}
	}

	async #answer(): Promise<NodeStatus | undefined> {
		const { dataDirectory } = this.organization;
		try {
			const token = (await readFile(join(dataDirectory, "admin.token"), "utf8")).trim();
			const client = createRpcClient({ endpoint: { socketPath: join(dataDirectory, "rpc.sock") }, token });
			const status = await client.call("node.status", {});
			this.#client = client;
			return status;
		} catch (error) {
			const { code } = error as { code?: unknown };
			if (code === "ENOENT" || (typeof code === "string" && NOT_YET.has(code))) return undefined;
			throw error;
		}
	}

	async #end(by: "SIGKILL" | "SIGTERM"): Promise<void> {
		const child = this.#child;
		this.#wanted = false;
		this.#client = undefined;
		if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
		const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
		child.kill(by);
		const deadline = {
			what: `the node of ${this.name} to stop`,
			timeoutMs: STOP_TIMEOUT_MS,
			signal: new AbortController().signal,
		};
		await within(gone, deadline).catch(async () => {
			child.kill("SIGKILL");
			await gone;
		});
	}

	async #unexpectedEnd(how: string): Promise<AlthingError> {
		return new AlthingError(
			"testnet.node_died",
			`The node of ${this.name} ended by itself (${how}). The end of its log, ${this.logFile}:\n${await this.logTail()}`,
			{ organization: this.name, how },
		);
	}
}
