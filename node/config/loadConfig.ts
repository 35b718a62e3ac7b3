/**
 * Reads node.yaml. Every problem is reported at once, each with file, line, column, key and
 * what is allowed there.
 */
import { readFile } from "node:fs/promises";
import { type Document, isMap, isNode, isPair, isScalar, LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { nearest } from "./nearest.ts";
import { type NodeConfig, nodeConfigSchema } from "./schema.ts";

/** One thing wrong with a configuration file; line and column count from 1. */
export interface ConfigProblem {
	readonly line: number;
	readonly column: number;
	/** Dotted path of the key, empty for the file as a whole. */
	readonly key: string;
	readonly message: string;
}

/** Reads and checks a configuration file. Throws `config.unreadable` or what {@link parseConfig} throws. */
export async function loadConfig(file: string): Promise<NodeConfig> {
	let text: string;
	try {
		text = await readFile(file, "utf8");
	} catch (cause) {
		throw new AlthingError(
			"config.unreadable",
			`Cannot read the configuration ${file}: ${cause instanceof Error ? cause.message : cause}. \`althing init\` writes one.`,
			{ file },
			{ cause },
		);
	}
	return parseConfig(text, file);
}

/**
 * Checks YAML text against the schema and fills in defaults.
 * Throws `config.invalid`, its message one line per problem, its facts `{ file, problems }`.
 */
export function parseConfig(text: string, file: string): NodeConfig {
	const lines = new LineCounter();
	const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
	const at = (offset: number) => {
		const { line, col } = lines.linePos(offset);
		return { line: Math.max(line, 1), column: Math.max(col, 1) };
	};
	if (document.errors.length > 0) {
		throw invalid(
			file,
			document.errors.map((error) => ({ ...at(error.pos[0]), key: "", message: error.message })),
		);
	}
	let content: unknown;
	try {
		// An empty file is an empty configuration, so that the missing key is what is named.
		content = document.toJS({ maxAliasCount: 100 }) ?? {};
	} catch (cause) {
		throw invalid(file, [
			{ line: 1, column: 1, key: "", message: cause instanceof Error ? cause.message : String(cause) },
		]);
	}
	const parsed = nodeConfigSchema.safeParse(content);
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.flatMap((issue) => describe(issue, document, content));
	throw invalid(
		file,
		problems.map(({ offset, ...problem }) => ({ ...at(offset), ...problem })).sort((a, b) => a.line - b.line),
	);
}

interface Located {
	readonly offset: number;
	readonly key: string;
	readonly message: string;
}

function describe(issue: z.core.$ZodIssue, document: Document, content: unknown): Located[] {
	const path = issue.path.map((part) => (typeof part === "symbol" ? String(part) : part));
	const key = path.join(".");
	if (issue.code === "unrecognized_keys") {
		return issue.keys.map((name) => ({
			offset: offsetOfKey(document, [...path, name]),
			key: [...path, name].join("."),
			message: unknownKey(name, knownKeys(path)),
		}));
	}
	if (issue.code === "invalid_type" && valueAt(content, path) === undefined) {
		return [
			{ offset: offsetOfKey(document, path), key, message: `is missing; ${issue.expected} is expected` },
		];
	}
	if (issue.code === "invalid_value") {
		const allowed = issue.values.map(String);
		const given = String(valueAt(content, path));
		const guess = nearest(given, allowed);
		return [
			{
				offset: offsetOfValue(document, path),
				key,
				message: `${JSON.stringify(valueAt(content, path))} is not allowed; allowed are ${allowed.join(", ")}${guess ? ` (did you mean ${guess}?)` : ""}`,
			},
		];
	}
	return [{ offset: offsetOfValue(document, path), key, message: issue.message }];
}

function unknownKey(name: string, known: readonly string[]): string {
	const guess = nearest(name, known);
	return `is not a known key${guess ? ` (did you mean ${guess}?)` : ""}; known here are ${known.join(", ")}`;
}

/** The keys the schema has at a path, read from the schema itself so that they cannot disagree. */
function knownKeys(path: readonly (string | number)[]): string[] {
	let schema: unknown = nodeConfigSchema;
	for (const part of path) schema = shapeOf(schema)[part];
	return Object.keys(shapeOf(schema));
}

function shapeOf(schema: unknown): Readonly<Record<string, unknown>> {
	let inner = schema;
	while (inner instanceof z.ZodPrefault || inner instanceof z.ZodOptional || inner instanceof z.ZodDefault) {
		inner = inner.unwrap();
	}
	return inner instanceof z.ZodObject ? inner.shape : {};
}

function valueAt(content: unknown, path: readonly (string | number)[]): unknown {
	return path.reduce<unknown>(
		(value, part) =>
			typeof value === "object" && value !== null ? (value as Record<string, unknown>)[part] : undefined,
		content,
	);
}

function offsetOfValue(document: Document, path: readonly (string | number)[]): number {
	const node = document.getIn(path, true);
	return isNode(node) ? (node.range?.[0] ?? 0) : offsetOfKey(document, path);
}

/** Where the key stands, or the nearest enclosing one when it is missing from the file. */
function offsetOfKey(document: Document, path: readonly (string | number)[]): number {
	for (let depth = path.length; depth > 0; depth -= 1) {
		const parent = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
		if (!isMap(parent)) continue;
		const pair = parent.items.find(
			(item) => isPair(item) && isScalar(item.key) && item.key.value === path[depth - 1],
		);
		if (pair && isScalar(pair.key)) return pair.key.range?.[0] ?? 0;
	}
	return 0;
}

function invalid(file: string, problems: readonly ConfigProblem[]): AlthingError {
	const list = problems.map(
		({ line, column, key, message }) => `${file}:${line}:${column}: ${key ? `${key} ` : ""}${message}`,
	);
	return new AlthingError("config.invalid", list.join("\n"), { file, problems });
}
