/** Job specifications as people write them: YAML in, or an error that names line, column and key. */
import { type Document, LineCounter, parseDocument } from "yaml";
import type { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";

/** Techniques that this version runs, and those that the documents name and later versions run. */
const TECHNIQUES = ["federated_learning", "query"];
const LATER_TECHNIQUES = ["differential_privacy", "secure_mpc", "homomorphic_encryption", "psi"];

/**
 * @param text the YAML (or JSON) text; `file` names it in errors.
 * @throws AlthingError `job.invalid_file` naming file, line, column, key and what is allowed.
 */
export function readSpecification<T>(text: string, file: string, schema: z.ZodType<T>): T {
	const lines = new LineCounter();
	const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
	const syntax = document.errors[0];
	if (syntax !== undefined) {
		const { line, col } = lines.linePos(syntax.pos[0]);
		throw new AlthingError("job.invalid_file", `${file}:${line}:${col}: ${syntax.message}`, {
			file,
			line,
			column: col,
		});
	}
	const parsed = schema.safeParse(plainValueOf(document, file));
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.map((issue) => {
		const path = issue.path.map(String);
		const key = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
		const node =
			document.getIn(key === undefined ? path : [...path, key], true) ??
			document.getIn(path.slice(0, -1), true);
		const range = (node as { range?: [number, number, number] } | undefined)?.range;
		const { line, col } = lines.linePos(range?.[0] ?? 0);
		return {
			line,
			column: col,
			key: [...path, ...(key === undefined ? [] : [key])].join("."),
			message: describe(issue, document.getIn(path)),
		};
	});
	const first = problems[0];
	throw new AlthingError(
		"job.invalid_file",
		problems
			.map((p) => `${file}:${p.line}:${p.column}: ${p.key === "" ? "" : `${p.key}: `}${p.message}`)
			.join("\n"),
		{ file, line: first?.line, column: first?.column, key: first?.key, problems },
	);
}

/** The document as plain values; aliases that stand for more than a hundred times as much are refused. */
function plainValueOf(document: Document, file: string): unknown {
	try {
		return document.toJS();
	} catch (cause) {
		throw new AlthingError(
			"job.invalid_file",
			`${file}: its aliases cannot be resolved: ${cause instanceof Error ? cause.message : "unknown"}`,
			{ file },
			{ cause },
		);
	}
}

/** Checks a specification that arrived as an object (over RPC or from a peer). @throws AlthingError `job.invalid` */
export function checkSpecification<T>(value: unknown, schema: z.ZodType<T>): T {
	const parsed = schema.safeParse(value);
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.map(
		(issue) => `${issue.path.join(".") || "job"}: ${describe(issue, techniqueIn(value))}`,
	);
	throw new AlthingError("job.invalid", problems.join("\n"), { problems });
}

function techniqueIn(value: unknown): unknown {
	return typeof value === "object" && value !== null && "technique" in value ? value.technique : undefined;
}

function describe(issue: z.core.$ZodIssue, value: unknown): string {
	if (issue.code === "unrecognized_keys")
		return `unknown key ${issue.keys.map((key) => `"${key}"`).join(", ")}`;
	if (issue.path[0] === "technique") {
		return LATER_TECHNIQUES.includes(String(value))
			? `technique "${value}" is not offered by this version; it runs ${TECHNIQUES.join(" and ")}`
			: `unknown technique "${value}"; allowed: ${TECHNIQUES.join(", ")}`;
	}
	return issue.message;
}
