/**
 * Health over plain HTTP on loopback, for service managers and monitoring:
 * `/healthz` (the process answers), `/readyz` (it can take part in rounds), `/metrics`
 * (Prometheus text). Nothing here is secret, and nothing can be changed through it.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Registry } from "prom-client";
import { AlthingError } from "../../crypto/error.ts";
import type { Component } from "./lifecycle.ts";

/** Each check by name: true, or why not. */
export type Readiness = Readonly<Record<string, true | string>>;

export interface HealthServer extends Component {
	/** The port it listens on, 0 before start. */
	readonly port: number;
}

const HOST = "127.0.0.1";
/** A page in a browser can reach loopback under its own name (DNS rebinding); these names are ours. */
const OWN_HOST = /^(?:127\.0\.0\.1|localhost|\[::1\])(?::\d+)?$/;

/**
 * @param options.port 0 picks a free one
 * @param options.ready asked at each `/readyz`; every check must be true for 200
 * `start` throws `health.port_taken`.
 */
export function createHealthServer(options: {
	port: number;
	registry: Registry;
	ready: () => Readiness | Promise<Readiness>;
}): HealthServer {
	const server = createServer((request, response) => {
		answer(request, response, options).catch((error: unknown) => {
			if (response.headersSent) response.destroy();
			else reply(response, 500, "text/plain", `${error instanceof Error ? error.message : error}\n`);
		});
	});
	server.requestTimeout = 5_000;
	server.headersTimeout = 5_000;
	server.maxConnections = 32;
	return {
		name: "health",
		get port() {
			return (server.address() as AddressInfo | null)?.port ?? 0;
		},
		start: () => listen(server, options.port),
		stop: () =>
			new Promise((resolve) => {
				server.close(() => resolve());
				server.closeAllConnections();
			}),
	};
}

async function answer(
	request: IncomingMessage,
	response: ServerResponse,
	{ registry, ready }: { registry: Registry; ready: () => Readiness | Promise<Readiness> },
): Promise<void> {
	if (!OWN_HOST.test(request.headers.host ?? ""))
		return reply(response, 421, "text/plain", "not this host\n");
	if (request.method !== "GET" && request.method !== "HEAD") {
		response.setHeader("allow", "GET, HEAD");
		return reply(response, 405, "text/plain", "only GET\n");
	}
	switch (request.url) {
		case "/healthz":
			return reply(response, 200, "text/plain", "ok\n");
		case "/readyz": {
			const checks = await ready();
			const isReady = Object.values(checks).every((check) => check === true);
			return reply(
				response,
				isReady ? 200 : 503,
				"application/json",
				`${JSON.stringify({ ready: isReady, checks })}\n`,
			);
		}
		case "/metrics":
			return reply(response, 200, registry.contentType, await registry.metrics());
		default:
			return reply(response, 404, "text/plain", "there are /healthz, /readyz and /metrics\n");
	}
}

function reply(response: ServerResponse, status: number, contentType: string, body: string): void {
	response.writeHead(status, { "content-type": contentType, "cache-control": "no-store" });
	response.end(body);
}

function listen(server: Server, port: number): Promise<void> {
	return new Promise((resolve, reject) => {
		const failed = (cause: NodeJS.ErrnoException) => {
			const taken = cause.code === "EADDRINUSE";
			reject(
				new AlthingError(
					taken ? "health.port_taken" : "health.listen_failed",
					taken
						? `Port ${port} on ${HOST} for the health endpoints is taken. Set health.port in the configuration to another, or 0 for a free one.`
						: `The health endpoints cannot listen on ${HOST}:${port}: ${cause.message}.`,
					{ host: HOST, port },
					{ cause },
				),
			);
		};
		server.once("error", failed);
		server.listen(port, HOST, () => {
			server.off("error", failed);
			resolve();
		});
	});
}
