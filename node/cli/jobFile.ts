/** Reads a job spec file. */
import { readObjectFile } from "./inputFile.ts";

/** The spec as an object; the node checks its keys. Throws `usage.invalid_file` naming line and column. */
export function readJobFile(path: string): Promise<Record<string, unknown>> {
	return readObjectFile(path);
}
