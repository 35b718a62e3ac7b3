/** Reads and checks a job spec before it is sent, so that errors name line and column. */
import { parseJobSpec } from "../../src/training/jobSpec.ts";
import { readInput } from "./inputFile.ts";

/** Throws `usage.unreadable_file`, `job.invalid_file`, `job.invalid`. */
export async function readJobFile(path: string): Promise<Record<string, unknown>> {
	return parseJobSpec(await readInput(path), path);
}
