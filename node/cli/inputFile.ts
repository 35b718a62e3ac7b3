/** Files a person hands to a command: YAML or JSON, errors with line and column. */
import { readFile } from "node:fs/promises";
import { AlthingError } from "../../crypto/error.ts";

/** Far above any spec or description written by hand. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Reads a text file; `-` is standard input. Throws `usage.unreadable_file`, `usage.file_too_large`. */
export async function readInput(path: string): Promise<string> {
	let bytes: Buffer;
	try {
		bytes = path === "-" ? await readStandardInput() : await readFile(path);
	} catch (cause) {
		const reason = (cause as NodeJS.ErrnoException).code ?? String(cause);
		throw new AlthingError(
			"usage.unreadable_file",
			`Cannot read ${path}: ${reason}.`,
			{ path, reason },
			{ cause },
		);
	}
	if (bytes.byteLength > MAX_FILE_BYTES) {
		throw new AlthingError("usage.file_too_large", `${path} is larger than 1 MiB.`, { path });
	}
	return bytes.toString("utf8");
}

async function readStandardInput(): Promise<Buffer> {
	const chunks: Buffer[] = [];
	for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
	return Buffer.concat(chunks);
}

/** Reads a YAML (or JSON) file that holds one mapping. Throws `usage.invalid_file` naming line and column. */
export async function readObjectFile(path: string): Promise<Record<string, unknown>> {
	const text = await readInput(path);
	const { LineCounter, parseDocument } = await import("yaml");
	const lines = new LineCounter();
	const parsed = parseDocument(text, {
		lineCounter: lines,
		prettyErrors: false,
		strict: true,
		uniqueKeys: true,
	});
	const problem = parsed.errors[0];
	if (problem !== undefined) {
		const { line, col } = lines.linePos(problem.pos[0]);
		throw new AlthingError("usage.invalid_file", `${path}:${line}:${col}: ${problem.message}`, {
			path,
			line,
			column: col,
		});
	}
	// Aliases multiply; a file by hand needs none to speak of.
	const value: unknown = parsed.toJS({ maxAliasCount: 20 });
	if (typeof value !== "object" || value === null || Array.isArray(value)) {
		throw new AlthingError(
			"usage.invalid_file",
			`${path}:1:1: The file must hold a mapping of keys to values.`,
			{
				path,
				line: 1,
				column: 1,
			},
		);
	}
	return value as Record<string, unknown>;
}
