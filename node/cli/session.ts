/** What every command starts from: the global options, the output and a client of the node. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { AlthingError } from "../../crypto/error.ts";
import { createRpcClient, type Endpoint, type RpcClient } from "../rpc/client.ts";
import { ADMIN_TOKEN_FILE, SOCKET_NAME } from "../rpc/paths.ts";
import type { Output } from "./output.ts";

export const CONFIG_FILE = "node.yaml";

export interface GlobalOptions {
	readonly dataDir?: string;
	readonly socket?: string;
	readonly url?: string;
	readonly tokenFile?: string;
	readonly json?: boolean;
}

export interface Session {
	readonly out: Output;
	readonly dataDirectory: string;
	/** A client with the token of `--token-file` or the data directory. Throws `usage.no_token`, `rpc.not_running`. */
	client(): Promise<RpcClient>;
}

/** Ends the command with an exit code after its output is written; nothing means 0. */
// biome-ignore lint/suspicious/noConfusingVoidType: a handler that just ends means success
export type Outcome = number | void;

/** Makes a session of the options, each with its environment variable as default. */
export function createSession(options: GlobalOptions, out: Output): Session {
	const environment = process.env;
	const dataDirectory = resolve(
		options.dataDir ?? environment.ALTHING_DATA_DIR ?? join(homedir(), ".althing"),
	);
	return {
		out,
		dataDirectory,
		async client() {
			const url = options.url ?? environment.ALTHING_URL;
			const socketPath = options.socket ?? environment.ALTHING_SOCKET ?? (await findSocket(dataDirectory));
			const tokenPath =
				options.tokenFile ?? environment.ALTHING_TOKEN_FILE ?? join(dataDirectory, ADMIN_TOKEN_FILE);
			const endpoint: Endpoint = url === undefined ? { socketPath } : { url: checkedUrl(url) };
			return createRpcClient({ endpoint, token: await readToken(tokenPath, dataDirectory) });
		},
	};
}

/** The socket in the data directory, or where the configuration puts it. */
async function findSocket(dataDirectory: string): Promise<string> {
	const usual = join(dataDirectory, SOCKET_NAME);
	const configFile = join(dataDirectory, CONFIG_FILE);
	if (existsSync(usual) || !existsSync(configFile)) return usual;
	const { loadConfig } = await import("../config/loadConfig.ts");
	// What is wrong with a configuration is for `start` and `doctor` to say; no node runs on it.
	const socket = (await loadConfig(configFile).catch(() => undefined))?.rpc.socket;
	return socket === undefined ? usual : resolve(dataDirectory, socket);
}

/** A token must not cross a network in clear. */
function checkedUrl(url: string): string {
	const parsed = URL.canParse(url) ? new URL(url) : undefined;
	const loopback = parsed !== undefined && /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(parsed.hostname);
	if (parsed?.protocol === "https:" || (parsed?.protocol === "http:" && loopback)) return url;
	throw new AlthingError(
		"usage.url",
		`--url must be https://..., or http:// to this machine; it is "${url}".`,
		{ url },
	);
}

async function readToken(path: string, dataDirectory: string): Promise<string> {
	try {
		return (await readFile(path, "utf8")).trim();
	} catch (cause) {
		const { code } = cause as NodeJS.ErrnoException;
		if (code === "EACCES") {
			throw new AlthingError(
				"rpc.forbidden",
				`You may not read the access token ${path}.`,
				{ path },
				{ cause },
			);
		}
		throw new AlthingError(
			"rpc.not_running",
			`There is no access token at ${path}: the node of ${dataDirectory} was never started. Run \`althing start\`, or name another with --data-dir or --token-file.`,
			{ path },
			{ cause },
		);
	}
}

/**
 * Binds a command to its handler: arguments as strings, options of the command itself.
 * The outcome is collected by `main`, which also turns errors into exit codes.
 */
export type Bind = <Options extends object>(
	command: Command,
	handler: (session: Session, args: string[], options: Options) => Promise<Outcome>,
) => void;
