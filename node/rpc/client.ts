/**
 * A typed client of the admin RPC, over the unix socket or HTTP.
 *
 * ```ts
 * const client = createRpcClient({ endpoint: { socketPath }, token });
 * const { jobs } = await client.call("job.list", {});
 * ```
 *
 * Types come from the registry; nothing of the server is loaded at run time, so a command
 * starts fast. A problem document is thrown as an {@link AlthingError} with its code,
 * sentence and facts.
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { AlthingError } from "../../crypto/error.ts";
import { sseEvents } from "./eventStreamReader.ts";
import type { MethodName, ParamsOf, ResultOf } from "./methods/index.ts";
import type { NodeEvent, ProblemDocument } from "./services.ts";

export type Endpoint = { readonly socketPath: string } | { readonly url: string };

export interface RpcClient {
	/** Throws what the server answers, `rpc.not_running` when nobody does, `rpc.timeout` when it takes too long. */
	call<Name extends MethodName>(
		name: Name,
		params: ParamsOf<Name>,
		options?: { signal?: AbortSignal },
	): Promise<ResultOf<Name>>;
	/** Downloads a model file from a path `model.export` gave. */
	download(path: string): Promise<Uint8Array>;
	/** One connection's events; ends when the connection does. `connected` is called once it stands. */
	events(options: {
		after?: number | undefined;
		job?: string | undefined;
		signal?: AbortSignal | undefined;
		connected?: () => void;
	}): AsyncGenerator<NodeEvent, void, void>;
}

/** Longer than any method's own limit, so that the server's answer is the one seen. */
const CALL_TIMEOUT_MS = 150_000;
/** Four times the keep-alive interval: a silent stream is dead. */
const STREAM_SILENCE_MS = 60_000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const MAX_DOWNLOAD_BYTES = 2 * 1024 * 1024 * 1024;

export function createRpcClient(options: { endpoint: Endpoint; token: string }): RpcClient {
	const { endpoint, token } = options;
	const base = "url" in endpoint ? endpoint.url.replace(/\/+$/, "") : "http://localhost";
	const name = "url" in endpoint ? endpoint.url : endpoint.socketPath;

	function open(
		method: "GET" | "POST",
		path: string,
		extra: {
			headers?: Record<string, string>;
			body?: string;
			timeoutMs: number;
			signal?: AbortSignal | undefined;
		},
	): Promise<IncomingMessage> {
		const send = base.startsWith("https:") ? httpsRequest : httpRequest;
		return new Promise((resolve, reject) => {
			const request = send(base + path, {
				method,
				headers: { authorization: `Bearer ${token}`, ...extra.headers },
				// One command, one connection; nothing may keep the process alive after it.
				agent: false,
				timeout: extra.timeoutMs,
				...("socketPath" in endpoint ? { socketPath: endpoint.socketPath } : {}),
				...(extra.signal === undefined ? {} : { signal: extra.signal }),
			});
			request.once("response", resolve);
			request.once("timeout", () =>
				request.destroy(
					new AlthingError(
						"rpc.timeout",
						`The node at ${name} did not answer within ${extra.timeoutMs / 1000} s.`,
					),
				),
			);
			request.once("error", (error: NodeJS.ErrnoException) => reject(connectionError(error, name)));
			request.end(extra.body);
		});
	}

	async function read(response: IncomingMessage, limitBytes: number): Promise<Buffer> {
		const chunks: Buffer[] = [];
		let sizeBytes = 0;
		try {
			for await (const chunk of response as AsyncIterable<Buffer>) {
				sizeBytes += chunk.byteLength;
				if (sizeBytes > limitBytes) {
					throw new AlthingError(
						"rpc.too_large",
						`The answer is larger than ${limitBytes} bytes, the limit.`,
					);
				}
				chunks.push(chunk);
			}
		} catch (error) {
			throw connectionError(error as NodeJS.ErrnoException, name);
		}
		return Buffer.concat(chunks);
	}

	async function expectOk(response: IncomingMessage): Promise<void> {
		if (response.statusCode === 200) return;
		throw problemError((await read(response, MAX_ANSWER_BYTES)).toString("utf8"), response.statusCode ?? 0);
	}

	return {
		async call(method, params, { signal } = {}) {
			const response = await open("POST", `/rpc/v1/${method}`, {
				headers: { "content-type": "application/json" },
				body: JSON.stringify(params),
				timeoutMs: CALL_TIMEOUT_MS,
				signal,
			});
			await expectOk(response);
			// The server has parsed it by the method's schema.
			return JSON.parse((await read(response, MAX_ANSWER_BYTES)).toString("utf8"));
		},
		async download(path) {
			const response = await open("GET", path, { timeoutMs: CALL_TIMEOUT_MS });
			await expectOk(response);
			return read(response, MAX_DOWNLOAD_BYTES);
		},
		async *events({ after, job, signal, connected }) {
			const query = job === undefined ? "" : `?job=${encodeURIComponent(job)}`;
			const response = await open("GET", `/events${query}`, {
				headers: after === undefined ? {} : { "last-event-id": String(after) },
				timeoutMs: STREAM_SILENCE_MS,
				signal,
			});
			await expectOk(response);
			connected?.();
			try {
				yield* sseEvents(response);
			} catch (error) {
				throw connectionError(error as NodeJS.ErrnoException, name);
			} finally {
				response.destroy();
			}
		},
	};
}

function connectionError(error: NodeJS.ErrnoException, name: string): Error {
	if (error instanceof AlthingError) return error;
	switch (error.code) {
		case "ENOENT":
		case "ECONNREFUSED":
			return new AlthingError(
				"rpc.not_running",
				`No node answers at ${name}. Start it with \`althing start\`.`,
				{ endpoint: name },
				{ cause: error },
			);
		case "EACCES":
		case "EPERM":
			return new AlthingError(
				"rpc.forbidden",
				`You may not use ${name}: it belongs to another user.`,
				{ endpoint: name },
				{ cause: error },
			);
		case "ABORT_ERR":
			return error;
		default:
			return new AlthingError(
				"rpc.connection_lost",
				`The connection to the node at ${name} broke: ${error.message}`,
				{ endpoint: name },
				{ cause: error },
			);
	}
}

function problemError(text: string, status: number): AlthingError {
	try {
		const problem = JSON.parse(text) as ProblemDocument;
		if (typeof problem.code === "string" && typeof problem.detail === "string") {
			return new AlthingError(problem.code, problem.detail, problem.facts ?? {});
		}
	} catch {
		// Not ours: something else answers there.
	}
	return new AlthingError(
		"rpc.unexpected_answer",
		`What answers is not an Althing node (HTTP status ${status}).`,
		{ status },
	);
}
