/**
 * The admin RPC's listeners: a unix socket in the data directory, and HTTP on loopback
 * or, with a certificate alone, beyond it.
 *
 * ```ts
 * const rpc = await createRpcServer({ services, tokens, events, socketPath, version, log, clock });
 * await rpc.start();
 * ```
 */
import { chmod, lstat, readFile, stat, unlink } from "node:fs/promises";
import { createServer, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, isIPv4, isIPv6 } from "node:net";
import { dirname } from "node:path";
import { getRequestListener } from "@hono/node-server";
import { AlthingError } from "../../crypto/error.ts";
import { createApp, type ListenerBindings, type Log } from "./app.ts";
import type { Clock } from "./clock.ts";
import type { EventHub } from "./events.ts";
import { defaultLimits, type RpcLimits } from "./limits.ts";
import { problemResponse } from "./problems.ts";
import type { Services } from "./services.ts";
import type { TokenStore } from "./tokens.ts";

/** sun_path is 108 bytes on Linux, one of them the terminating zero. */
const MAX_SOCKET_PATH_BYTES = 107;

export interface HttpListener {
	readonly host: string;
	/** 0 picks a free one. */
	readonly port: number;
	/** Paths of PEM files: the certificate chain and its private key. Needed as soon as `host` is not loopback. */
	readonly tls?: { readonly certificate: string; readonly key: string } | undefined;
}

export interface RpcServerOptions {
	readonly services: Services;
	readonly tokens: TokenStore;
	readonly events: EventHub;
	/** In a directory that is nobody else's (0700). */
	readonly socketPath: string;
	readonly http?: HttpListener | undefined;
	/** The node's version, for the OpenAPI document. */
	readonly version: string;
	readonly log: Log;
	readonly clock: Clock;
	readonly limits?: Partial<RpcLimits> | undefined;
}

export interface RpcServer {
	/**
	 * Starts all listeners, or none. Throws `rpc.tls_required`, `rpc.socket_in_use`,
	 * `rpc.socket_path_too_long`, `rpc.socket_directory_open`, `rpc.port_taken`, `rpc.tls_files`.
	 */
	start(): Promise<void>;
	/** Ends calls and streams, closes the listeners and removes the socket. */
	stop(): Promise<void>;
	/** Where it listens once started. */
	readonly addresses: { readonly socketPath: string; readonly url?: string | undefined };
}

/** Builds the server; nothing listens before `start`. Throws `rpc.tls_required`. */
export function createRpcServer(options: RpcServerOptions): RpcServer {
	const { socketPath, http, log } = options;
	const limits = { ...defaultLimits, ...options.limits };
	const stopping = new AbortController();
	const app = createApp({ ...options, limits, stopping: stopping.signal });
	const listening: Server[] = [];
	let url: string | undefined;

	if (http !== undefined && http.tls === undefined && !isLoopback(http.host)) {
		throw new AlthingError(
			"rpc.tls_required",
			`The admin RPC does not listen on ${http.host} without TLS: tokens would cross the network in clear. Configure a certificate and key, or a loopback address.`,
			{ host: http.host },
		);
	}

	const serverOptions: ServerOptions = {
		headersTimeout: Math.min(10_000, limits.requestTimeoutMs),
		requestTimeout: limits.requestTimeoutMs,
		keepAliveTimeout: 5_000,
		connectionsCheckingInterval: Math.max(100, Math.min(5_000, limits.requestTimeoutMs / 2)),
	};

	function listenerOf(bindings: ListenerBindings) {
		return getRequestListener((request) => app.fetch(request, bindings), {
			overrideGlobalObjects: false,
			// Before the application sees a request: a Host header that is no host.
			errorHandler: () =>
				problemResponse(new AlthingError("rpc.wrong_host", "The request's Host header is not a host name.")),
		});
	}

	async function startSocket(): Promise<void> {
		await prepareSocketPath(socketPath);
		// HTTP clients of unix sockets name `localhost`.
		const server = createServer(serverOptions, listenerOf({ hosts: new Set(["localhost"]) }));
		server.maxConnections = limits.connections;
		await listen(server, { path: socketPath });
		listening.push(server);
		// The directory is already nobody else's, so the moment before this is covered.
		await chmod(socketPath, 0o600);
	}

	async function startHttp(listener: HttpListener): Promise<void> {
		const hosts = listener.tls === undefined ? new Set<string>() : undefined;
		const handler = listenerOf({ hosts });
		const server =
			listener.tls === undefined
				? createServer(serverOptions, handler)
				: createTlsServer(
						{ ...serverOptions, ...(await readTls(listener.tls)), minVersion: "TLSv1.3" },
						handler,
					);
		server.maxConnections = limits.connections;
		const host = listener.host === "localhost" ? "127.0.0.1" : listener.host;
		await listen(server, { host, port: listener.port });
		listening.push(server);
		const address = server.address();
		const port = typeof address === "object" && address !== null ? address.port : listener.port;
		const literal = isIPv6(host) ? `[${host}]` : host;
		for (const name of ["localhost", "127.0.0.1", "[::1]", literal]) hosts?.add(`${name}:${port}`);
		url = `${listener.tls === undefined ? "http" : "https"}://${literal}:${port}`;
	}

	async function stop(): Promise<void> {
		stopping.abort();
		const servers = listening.splice(0);
		await Promise.all(
			servers.map((server) => {
				const closed = new Promise<void>((resolve) => server.close(() => resolve()));
				server.closeIdleConnections();
				// Aborted calls answer within a moment; a client that will not read is cut off.
				const cut = setTimeout(() => server.closeAllConnections(), 500);
				return closed.finally(() => clearTimeout(cut));
			}),
		);
	}

	return {
		async start() {
			try {
				await startSocket();
				if (http !== undefined) await startHttp(http);
			} catch (error) {
				await stop();
				throw error;
			}
			log.info({ socketPath, url }, "admin RPC listens");
		},
		stop,
		get addresses() {
			return { socketPath, url };
		},
	};
}

function isLoopback(host: string): boolean {
	return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
	return new Promise((resolve, reject) => {
		server.once("error", (cause: NodeJS.ErrnoException) => {
			if (cause.code !== "EADDRINUSE") return reject(cause);
			const name = "path" in where ? where.path : `${where.host}:${where.port}`;
			reject(
				new AlthingError(
					"rpc.port_taken",
					`Another program listens on ${name}. Configure another address.`,
					{ ...where },
					{ cause },
				),
			);
		});
		server.listen(where, () => {
			server.removeAllListeners("error");
			resolve();
		});
	});
}

/** Checks the socket's place and removes what a killed node left there, never a live one or another file. */
async function prepareSocketPath(path: string): Promise<void> {
	if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
		throw new AlthingError(
			"rpc.socket_path_too_long",
			`The socket path ${path} is longer than ${MAX_SOCKET_PATH_BYTES} bytes, the system's limit. Choose a shorter data directory or socket path.`,
			{ path, limitBytes: MAX_SOCKET_PATH_BYTES },
		);
	}
	const directory = dirname(path);
	if (((await stat(directory)).mode & 0o077) !== 0) {
		throw new AlthingError(
			"rpc.socket_directory_open",
			`Others may enter ${directory}, where the admin socket goes. Run: chmod 700 ${directory}`,
			{ directory },
		);
	}
	const found = await lstat(path).catch(() => undefined);
	if (found === undefined) return;
	const inUse = !found.isSocket() || (await answers(path));
	if (inUse) {
		throw new AlthingError(
			"rpc.socket_in_use",
			`${path} is in use. Is another node running on this directory?`,
			{ path },
		);
	}
	await unlink(path);
}

function answers(socketPath: string): Promise<boolean> {
	return new Promise((resolve) => {
		const socket = connect(socketPath);
		socket.once("connect", () => {
			socket.destroy();
			resolve(true);
		});
		socket.once("error", () => resolve(false));
	});
}

async function readTls(files: { certificate: string; key: string }): Promise<{ cert: Buffer; key: Buffer }> {
	try {
		return { cert: await readFile(files.certificate), key: await readFile(files.key) };
	} catch (cause) {
		throw new AlthingError(
			"rpc.tls_files",
			`The TLS certificate ${files.certificate} or key ${files.key} cannot be read.`,
			{ ...files },
			{ cause },
		);
	}
}
