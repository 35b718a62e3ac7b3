import { AlthingError } from "../../crypto/error.ts";

const REDACTED = "[redacted]";
/** Deeper structures are cut: a log line is no dump. */
const MAX_DEPTH = 8;

/** Whole words of a field's name, after splitting camelCase, that mark a secret. */
const SECRET_WORDS = new Set([
	"authorization",
	"cookie",
	"credential",
	"credentials",
	"key",
	"keys",
	"mask",
	"masks",
	"passphrase",
	"password",
	"private",
	"secret",
	"secrets",
	"seed",
	"seeds",
	"share",
	"shares",
	"token",
	"tokens",
]);

/** True for names such as `passphrase`, `storeKey`, `identity_seed`; not for `publicKey`, `keystore`, `tokenCount`. */
export function isSecretName(name: string): boolean {
	const words = name
		.replace(/([a-z0-9])([A-Z])/g, "$1 $2")
		.toLowerCase()
		.split(/[^a-z0-9]+/);
	if (words.includes("public")) return false;
	return words.some((word) => SECRET_WORDS.has(word)) && !NOT_SECRET.has(words.at(-1) ?? "");
}

/** Facts about a secret that are none themselves. */
const NOT_SECRET = new Set(["bytes", "count", "file", "hash", "id", "length", "path", "type"]);

/**
 * A copy of `fields` fit for a log: secret fields replaced, byte strings reduced to their
 * length (masks, models and keys all look like that), errors described, cycles cut.
 */
export function redact(fields: Record<string, unknown>): Record<string, unknown> {
	return redactFields(fields, MAX_DEPTH);
}

function redactFields(fields: object, depth: number): Record<string, unknown> {
	return Object.fromEntries(
		Object.entries(fields).map(([name, value]) => [
			name,
			isSecretName(name) && value !== undefined ? REDACTED : redactValue(value, depth - 1),
		]),
	);
}

function redactValue(value: unknown, depth: number): unknown {
	if (value instanceof Error) return redactFields(describeError(value), depth);
	if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
	if (typeof value === "bigint") return value.toString();
	if (typeof value !== "object" || value === null) return value;
	if (depth <= 0) return "[deeper]";
	if (Array.isArray(value)) return value.map((item) => redactValue(item, depth - 1));
	if ("toJSON" in value && typeof value.toJSON === "function") return redactValue(value.toJSON(), depth - 1);
	return redactFields(value, depth);
}

/** What a log says of an error: code and facts of ours, the name of others, message, stack, cause. */
function describeError(error: Error): Record<string, unknown> {
	return {
		...(error instanceof AlthingError ? { code: error.code, facts: error.facts } : { type: error.name }),
		message: error.message,
		stack: error.stack,
		...(error.cause instanceof Error ? { cause: error.cause } : {}),
	};
}
