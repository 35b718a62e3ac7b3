/**
 * The admin RPC as an HTTP application, without its listeners.
 *
 * Every request passes, in this order: Host and Origin check, token, rate, permission,
 * size, validation, time limit. Threats: a web page that reaches loopback through DNS
 * rebinding or a plain form (Host, Origin and content type are checked, no CORS headers
 * are ever sent), another local user (token), a runaway client (limits).
 */
import { type Context, Hono } from "hono";
import type { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import type { Clock } from "./clock.ts";
import { eventStreamResponse } from "./eventStream.ts";
import type { EventHub } from "./events.ts";
import type { RpcLimits } from "./limits.ts";
import { methods } from "./methods/index.ts";
import { openApiDocument } from "./openapi.ts";
import { problemOf, problemResponse } from "./problems.ts";
import { RateLimiter } from "./rateLimit.ts";
import { type Method, permits } from "./registry.ts";
import { modelFormat } from "./schemas.ts";
import type { CallContext, Caller, Role, Services } from "./services.ts";
import type { TokenStore } from "./tokens.ts";

/** The part of a pino logger the RPC uses. */
export interface Log {
	info(facts: object, message: string): void;
	warn(facts: object, message: string): void;
	error(facts: object, message: string): void;
}

/** Set by the listener a request came in on. */
export interface ListenerBindings {
	/** Values of the Host header that mean this listener; undefined where TLS already proves the name. */
	readonly hosts: ReadonlySet<string> | undefined;
}

type Env = { Bindings: ListenerBindings; Variables: { caller: Caller } };

export interface AppOptions {
	readonly services: Services;
	readonly tokens: TokenStore;
	readonly events: EventHub;
	readonly log: Log;
	readonly clock: Clock;
	readonly limits: RpcLimits;
	readonly version: string;
	/** Aborts when the server stops: calls and streams end. */
	readonly stopping: AbortSignal;
}

const readers: readonly Exclude<Role, "admin">[] = ["data_scientist", "privacy_officer", "auditor"];

export function createApp(options: AppOptions): Hono<Env> {
	const { services, tokens, events, log, limits, stopping } = options;
	const rates = new RateLimiter(limits.rate, options.clock);
	const unauthenticated = new RateLimiter(limits.unauthenticatedRate, options.clock);
	const openApi = JSON.stringify(openApiDocument(methods.values(), options.version));
	let streams = 0;

	function authenticate(context: Context<Env>): Caller {
		const header = context.req.header("authorization") ?? "";
		const token = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(header)?.[1];
		const outcome = token === undefined ? "missing" : tokens.authenticate(token);
		if (typeof outcome === "object") {
			refuseWhenOver(rates.take(outcome.tokenId));
			return outcome;
		}
		refuseWhenOver(unauthenticated.take(""));
		const sentence = {
			missing: "The request carries no access token (Authorization: Bearer ...).",
			unknown: "The access token is not known to this node.",
			expired: "The access token has expired. Ask an administrator for a new one.",
			revoked: "The access token was revoked. Ask an administrator for a new one.",
		}[outcome];
		throw new AlthingError("rpc.unauthenticated", sentence, { token: outcome });
	}

	/** Runs `work` under the time limit; the signal it gets also aborts with the client or the server. */
	async function withinTime<T>(
		context: Context<Env>,
		timeoutMs: number,
		work: (call: CallContext) => Promise<T>,
	): Promise<T> {
		const timeout = new AbortController();
		const signal = AbortSignal.any([timeout.signal, context.req.raw.signal, stopping]);
		const late = Promise.withResolvers<never>();
		const timer = setTimeout(() => {
			late.reject(
				new AlthingError("rpc.timeout", `The node did not finish within ${timeoutMs / 1000} s.`, {
					timeoutMs,
				}),
			);
			timeout.abort();
		}, timeoutMs);
		const stop = () => late.reject(new AlthingError("rpc.stopping", "The node is stopping."));
		stopping.addEventListener("abort", stop, { once: true });
		try {
			if (stopping.aborted) stop();
			return await Promise.race([work({ caller: context.get("caller"), signal }), late.promise]);
		} finally {
			clearTimeout(timer);
			stopping.removeEventListener("abort", stop);
		}
	}

	async function call(context: Context<Env>, method: Method): Promise<Response> {
		const body = await readJson(context, limits.bodyBytes);
		const params = method.params.safeParse(body);
		if (!params.success) throw invalidParams(method.name, params.error);
		const result = await withinTime(context, method.timeoutMs ?? limits.callTimeoutMs, (call) =>
			method.handler({ ...call, services, tokens }, params.data),
		);
		// What no schema declares does not leave; a result of the wrong shape is a defect here.
		return Response.json(method.result.parse(result), { headers: { "cache-control": "no-store" } });
	}

	const app = new Hono<Env>();

	app.use(async (context, next) => {
		refuseForeign(context);
		await next();
	});

	// Without a token: it describes the software, not this node.
	app.get("/openapi.json", () => new Response(openApi, { headers: { "content-type": "application/json" } }));

	app.use(async (context, next) => {
		context.set("caller", authenticate(context));
		await next();
	});

	app.post("/rpc/v1/:method", async (context) => {
		const name = context.req.param("method");
		const method = methods.get(name);
		if (method === undefined) {
			throw new AlthingError("rpc.unknown_method", `There is no method "${name}". See /openapi.json.`, {
				method: name,
			});
		}
		refuseRole(context.get("caller"), method);
		return call(context, method);
	});

	app.get("/events", (context) => {
		const caller = context.get("caller");
		refuseRole(caller, { name: "events", roles: readers });
		const after = parseEventId(context.req.header("last-event-id"));
		if (streams >= limits.streams) {
			throw new AlthingError("rpc.too_many_streams", `${limits.streams} event streams are open, the limit.`, {
				limit: limits.streams,
			});
		}
		const closed = new AbortController();
		const signal = AbortSignal.any([closed.signal, stopping]);
		streams += 1;
		return eventStreamResponse({
			events: events.follow(signal, { after, job: context.req.query("job") }),
			mayContinue: () => tokens.isLive(caller.tokenId),
			onEnd: () => {
				streams -= 1;
				closed.abort();
			},
		});
	});

	app.get("/models/:model/:format/:file?", async (context) => {
		refuseRole(context.get("caller"), { name: "models", roles: ["data_scientist"] });
		const { model, file } = context.req.param();
		const format = modelFormat.safeParse(context.req.param("format"));
		const artifacts = format.success
			? await withinTime(context, limits.callTimeoutMs, (call) =>
					services.models.artifacts({ model, format: format.data }, call),
				)
			: [];
		const artifact =
			file === undefined ? artifacts[0] : artifacts.find((candidate) => candidate.name === file);
		if (artifact === undefined) {
			throw new AlthingError(
				"model.not_found",
				`There is no such file of model "${model}". See model.export.`,
				{
					model,
				},
			);
		}
		return new Response(new Uint8Array(artifact.bytes), {
			headers: {
				"content-type": artifact.mediaType,
				"content-length": String(artifact.bytes.byteLength),
				"content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(artifact.name)}`,
				"x-content-type-options": "nosniff",
				"cache-control": "no-store",
			},
		});
	});

	app.notFound((context) => {
		const isCall = context.req.path.startsWith("/rpc/v1/");
		return problemResponse(
			isCall
				? new AlthingError(
						"rpc.method_not_allowed",
						`Methods are called with POST, not ${context.req.method}.`,
					)
				: new AlthingError("rpc.not_found", `There is nothing at ${context.req.path}. See /openapi.json.`),
		);
	});

	app.onError((error, context) => {
		const { status, code } = problemOf(error);
		const facts = { code, method: context.req.path, caller: context.get("caller")?.tokenName };
		if (status >= 500) log.error({ ...facts, err: error }, "admin call failed");
		else log.info(facts, "admin call refused");
		return problemResponse(error);
	});

	return app;
}

function refuseWhenOver(retryAfterSeconds: number): void {
	if (retryAfterSeconds === 0) return;
	throw new AlthingError("rpc.rate_limited", `Too many requests. Try again in ${retryAfterSeconds} s.`, {
		retryAfterSeconds,
	});
}

/** DNS rebinding: a page of another site reaches us under that site's name, so the name is checked. */
function refuseForeign(context: Context<Env>): void {
	const { hosts } = context.env;
	const host = context.req.header("host")?.toLowerCase() ?? "";
	if (hosts !== undefined && !hosts.has(host)) {
		throw new AlthingError("rpc.wrong_host", `This node does not answer to the host name "${host}".`, {
			host,
		});
	}
	const origin = context.req.header("origin");
	if (origin !== undefined && origin !== new URL(context.req.url).origin) {
		throw new AlthingError("rpc.foreign_origin", `Pages of ${origin} may not call this node.`, { origin });
	}
}

function refuseRole(caller: Caller, method: Pick<Method, "name" | "roles">): void {
	if (permits(method, caller.role)) return;
	throw new AlthingError(
		"rpc.forbidden",
		`The role ${caller.role} may not use ${method.name}. It takes one of: ${["admin", ...method.roles].join(", ")}.`,
		{ role: caller.role, allowed: ["admin", ...method.roles] },
	);
}

function parseEventId(text: string | undefined): number | undefined {
	if (text === undefined || text === "") return undefined;
	const id = Number(text);
	if (/^\d+$/.test(text) && Number.isSafeInteger(id)) return id;
	throw new AlthingError("rpc.invalid_query", "Last-Event-ID must be an id this node gave.", {});
}

/** An empty body means no parameters. */
async function readJson(context: Context<Env>, limitBytes: number): Promise<unknown> {
	const tooLarge = () =>
		new AlthingError("rpc.too_large", `The request body is larger than ${limitBytes} bytes, the limit.`, {
			limitBytes,
		});
	// Beside its meaning: a plain HTML form cannot send this type without a CORS preflight.
	const type = context.req.header("content-type") ?? "";
	if (!/^application\/json\s*(;|$)/i.test(type)) {
		throw new AlthingError("rpc.unsupported_media_type", "Send the parameters as application/json.", {
			type,
		});
	}
	if (Number(context.req.header("content-length") ?? 0) > limitBytes) throw tooLarge();
	const chunks: Uint8Array[] = [];
	let sizeBytes = 0;
	for await (const chunk of context.req.raw.body ?? []) {
		sizeBytes += chunk.byteLength;
		if (sizeBytes > limitBytes) throw tooLarge();
		chunks.push(chunk);
	}
	if (sizeBytes === 0) return {};
	try {
		return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks)));
	} catch (cause) {
		throw new AlthingError("rpc.invalid_json", "The request body is not valid JSON in UTF-8.", {}, { cause });
	}
}

function invalidParams(method: string, error: z.ZodError): AlthingError {
	const issues = error.issues.slice(0, 20).map((issue) => ({
		path: issue.path.map(String).join("."),
		message: issue.message,
	}));
	const sentences = issues
		.slice(0, 3)
		.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`));
	return new AlthingError(
		"rpc.invalid_params",
		`${method} refuses its parameters. ${sentences.join("; ")}.`,
		{
			issues,
		},
	);
}
