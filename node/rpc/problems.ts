/**
 * Errors as RFC 9457 problem documents.
 *
 * An {@link AlthingError} keeps its code, message and facts; its code decides the HTTP
 * status. Anything else is a defect: the caller learns only `rpc.internal`, the log the rest.
 */
import { STATUS_CODES } from "node:http";
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { ProblemDocument } from "./services.ts";

export const PROBLEM_MEDIA_TYPE = "application/problem+json";

const statusByCode: Readonly<Record<string, number>> = {
	"rpc.invalid_json": 400,
	"rpc.invalid_params": 400,
	"rpc.invalid_query": 400,
	"rpc.unauthenticated": 401,
	"rpc.forbidden": 403,
	"rpc.foreign_origin": 403,
	"rpc.unknown_method": 404,
	"rpc.not_found": 404,
	"rpc.method_not_allowed": 405,
	"rpc.too_large": 413,
	"rpc.unsupported_media_type": 415,
	"rpc.wrong_host": 421,
	"rpc.rate_limited": 429,
	"rpc.internal": 500,
	"rpc.too_many_streams": 503,
	"rpc.stopping": 503,
	"rpc.timeout": 504,
	"federation.none": 404,
	"job.refused_by_policy": 409,
	// A target that no noise reaches: nothing to try again later.
	"privacy.misuse": 500,
};

/** By the last word of the code, so that a new area's ordinary errors need no entry here. */
const statusByReason: readonly (readonly [RegExp, number])[] = [
	[/(^|_)not_found$/, 404],
	[/^(already_|exists$|in_use$|decided$|ended$|conflict$)/, 409],
	[/(^|_)timeout$/, 504],
	[/^(unreachable|unavailable|not_ready)$/, 503],
];

/** Areas whose errors are the node's own trouble, not the caller's. */
const internalAreas = new Set(["store", "keystore", "crypto", "encoding", "lifecycle"]);
/** A rule of the organization said no. */
const refusingAreas = new Set(["policy", "budget"]);

/** HTTP status of an error code (`area.reason`). */
function statusOfCode(code: string): number {
	const known = statusByCode[code];
	if (known !== undefined) return known;
	const dot = code.indexOf(".");
	const area = code.slice(0, dot);
	const reason = code.slice(dot + 1);
	if (internalAreas.has(area)) return 500;
	for (const [pattern, status] of statusByReason) if (pattern.test(reason)) return status;
	return refusingAreas.has(area) ? 409 : 422;
}

/** The problem document of any thrown value. */
export function problemOf(error: unknown): ProblemDocument {
	if (!(error instanceof AlthingError)) {
		const detail = "The node failed to carry out the request. Its log says more.";
		return document("rpc.internal", detail, {});
	}
	return document(error.code, error.message, error.facts);
}

function document(code: string, detail: string, facts: Readonly<Record<string, unknown>>): ProblemDocument {
	const status = statusOfCode(code);
	return {
		type: `urn:althing:problem:${code}`,
		title: STATUS_CODES[status] ?? "Error",
		status,
		detail,
		code,
		facts: jsonFacts(facts),
	};
}

/** Facts may hold what JSON cannot; a fact that still cannot be written is left out, never a failed answer. */
function jsonFacts(facts: Readonly<Record<string, unknown>>): Record<string, unknown> {
	const result: Record<string, unknown> = {};
	for (const [key, value] of Object.entries(facts)) {
		try {
			const text = JSON.stringify(value, (_, inner: unknown) => {
				if (typeof inner === "bigint") return inner.toString();
				return inner instanceof Uint8Array ? toHex(inner) : inner;
			});
			if (text !== undefined) result[key] = JSON.parse(text);
		} catch {
			// A cycle.
		}
	}
	return result;
}

/** The answer to a failed request. */
export function problemResponse(error: unknown): Response {
	const problem = problemOf(error);
	const headers: Record<string, string> = { "content-type": PROBLEM_MEDIA_TYPE, "cache-control": "no-store" };
	if (problem.status === 401) headers["www-authenticate"] = 'Bearer realm="althing"';
	const retryAfterSeconds = problem.facts.retryAfterSeconds;
	if (typeof retryAfterSeconds === "number") headers["retry-after"] = String(retryAfterSeconds);
	return new Response(JSON.stringify(problem), { status: problem.status, headers });
}
