/** Methods about access tokens. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { role, shortName, tokenView } from "../schemas.ts";

export const tokenMethods = [
	defineMethod({
		name: "token.create",
		summary: "Create an access token; its text is shown this once and not stored",
		roles: [],
		params: z.strictObject({ name: shortName, role, expiresInDays: z.int().min(1).max(366).default(90) }),
		result: z.object({ token: z.string(), view: tokenView }),
		errors: ["token.exists", "token.too_many"],
		handler: (context, params) => context.tokens.create(params),
	}),
	defineMethod({
		name: "token.list",
		summary: "List access tokens with role, expiry and revocation",
		roles: ["auditor"],
		params: z.strictObject({}),
		result: z.object({ tokens: z.array(tokenView) }),
		handler: async (context) => ({ tokens: context.tokens.list() }),
	}),
	defineMethod({
		name: "token.revoke",
		summary: "Revoke an access token by its id; streams opened with it end",
		roles: [],
		params: z.strictObject({ id: z.string().min(1).max(64) }),
		result: tokenView,
		errors: ["token.not_found"],
		handler: (context, params) => context.tokens.revoke(params.id),
	}),
] as const;
