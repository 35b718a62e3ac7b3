/**
 * The registry of admin RPC methods: one definition yields the endpoint, the permission
 * check, validation, the typed client and the OpenAPI document.
 *
 * ```ts
 * defineMethod({
 *   name: "job.show", summary: "Show one job", roles: ["auditor"],
 *   params: z.strictObject({ job: z.string() }), result: schemas.jobDetail,
 *   errors: ["job.not_found"],
 *   handler: (context, params) => context.services.jobs.show(params, context),
 * })
 * ```
 */
import type { z } from "zod";
import type { CallContext, Role, Services } from "./services.ts";
import type { TokenStore } from "./tokens.ts";

/** What a handler gets: the call's context, the daemon's services and the token store. */
export interface MethodContext extends CallContext {
	readonly services: Services;
	readonly tokens: TokenStore;
}

export interface Method<
	Name extends string = string,
	Params extends z.ZodType = z.ZodType,
	Result extends z.ZodType = z.ZodType,
> {
	/** `area.verb`, served at `POST /rpc/v1/<name>`. */
	readonly name: Name;
	readonly summary: string;
	/** Roles that may call it beside `admin`, which may call everything. */
	readonly roles: readonly Exclude<Role, "admin">[];
	/** A strict object: unknown keys are refused. */
	readonly params: Params;
	readonly result: Result;
	/** Codes a caller should expect beside those every method has. */
	readonly errors?: readonly string[];
	/** Time limit in ms where the server's default is too short. */
	readonly timeoutMs?: number;
	handler(context: MethodContext, params: z.output<Params>): Promise<z.input<Result>>;
}

/** Declares a method; exists for its type inference. */
export function defineMethod<const Name extends string, Params extends z.ZodType, Result extends z.ZodType>(
	method: Method<Name, Params, Result>,
): Method<Name, Params, Result> {
	return method;
}

/** True when a token of `role` may call `method`. */
export function permits(method: Pick<Method, "roles">, role: Role): boolean {
	return role === "admin" || method.roles.includes(role);
}
