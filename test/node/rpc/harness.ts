/** Starts a real server over fake services in a directory of its own, and talks plain HTTP to it. */
import { mkdtemp, rm } from "node:fs/promises";
import { type IncomingHttpHeaders, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EventHub } from "../../../node/rpc/events.ts";
import type { RpcLimits } from "../../../node/rpc/limits.ts";
import { createRpcServer, type HttpListener, type RpcServer } from "../../../node/rpc/server.ts";
import type { Role, Services } from "../../../node/rpc/services.ts";
import { openTokenStore, type TokenStore } from "../../../node/rpc/tokens.ts";
import { type Fakes, fakeServices } from "./fakeServices.ts";

export const silentLog = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface Harness {
	readonly directory: string;
	readonly socketPath: string;
	readonly server: RpcServer;
	readonly tokens: TokenStore;
	readonly events: EventHub;
	readonly fakes: Fakes;
	readonly clock: { atMs: number; nowMs(): number };
	token(role: Role): Promise<string>;
	stop(): Promise<void>;
}

export async function startHarness(
	options: {
		limits?: Partial<RpcLimits>;
		http?: HttpListener;
		capacity?: number;
		log?: typeof silentLog;
		services?: (fakes: Fakes) => Services;
	} = {},
): Promise<Harness> {
	const directory = await mkdtemp(join(tmpdir(), "althing-rpc-"));
	const clock = {
		atMs: Date.parse("2026-01-02T00:00:00Z"),
		nowMs: () => clock.atMs,
	};
	const fakes = fakeServices();
	const tokens = await openTokenStore({ directory, clock });
	const events = new EventHub({
		clock,
		...(options.capacity === undefined ? {} : { capacity: options.capacity }),
	});
	const socketPath = join(directory, "rpc.sock");
	const server = createRpcServer({
		services: options.services?.(fakes) ?? fakes.services,
		tokens,
		events,
		socketPath,
		http: options.http,
		version: "0.0.0-test",
		log: options.log ?? silentLog,
		clock,
		// The clock stands still, so buckets never refill; most tests want none of that.
		limits: {
			rate: { burst: 10_000, perSecond: 1 },
			unauthenticatedRate: { burst: 10_000, perSecond: 1 },
			...options.limits,
		},
	});
	await server.start();
	let created = 0;
	return {
		directory,
		socketPath,
		server,
		tokens,
		events,
		fakes,
		clock,
		async token(role) {
			created += 1;
			return (await tokens.create({ name: `test-${created}`, role, expiresInDays: 1 })).token;
		},
		async stop() {
			await server.stop();
			await rm(directory, { recursive: true, force: true });
		},
	};
}

export interface Answer {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly body: Buffer;
	json(): Record<string, unknown> & { code?: string; facts?: Record<string, unknown> };
}

/** One raw request: nothing of our own client in between. */
export function send(
	where: { socketPath: string } | { port: number; host?: string },
	path: string,
	options: { method?: string; headers?: Record<string, string>; body?: string | Buffer; token?: string } = {},
): Promise<Answer> {
	return new Promise((resolve, reject) => {
		const authorization: Record<string, string> =
			options.token === undefined ? {} : { authorization: `Bearer ${options.token}` };
		const outgoing = request(
			{
				...("socketPath" in where ? where : { host: where.host ?? "127.0.0.1", port: where.port }),
				path,
				method: options.method ?? "GET",
				headers: { ...authorization, ...options.headers },
				agent: false,
			},
			(response) => {
				const chunks: Buffer[] = [];
				response.on("data", (chunk: Buffer) => chunks.push(chunk));
				response.on("error", reject);
				response.on("end", () => {
					const body = Buffer.concat(chunks);
					resolve({
						status: response.statusCode ?? 0,
						headers: response.headers,
						body,
						json: () => JSON.parse(body.toString("utf8")),
					});
				});
			},
		);
		outgoing.on("error", reject);
		outgoing.end(options.body);
	});
}

/** A method call as any HTTP client would make it. */
export function post(
	harness: Harness,
	method: string,
	params: unknown,
	token: string | undefined,
	headers: Record<string, string> = {},
): Promise<Answer> {
	return send({ socketPath: harness.socketPath }, `/rpc/v1/${method}`, {
		method: "POST",
		headers: { "content-type": "application/json", ...headers },
		body: JSON.stringify(params),
		...(token === undefined ? {} : { token }),
	});
}
