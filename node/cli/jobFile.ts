/** Reads and checks a job spec before it is sent, so that errors name line and column. */
import { parseAnyJob } from "../../src/jobs/specification.ts";
import { readInput } from "./inputFile.ts";

/** Throws `usage.unreadable_file`, `job.invalid_file`, `job.invalid`. */
export async function readJobFile(path: string): Promise<Record<string, unknown>> {
	return parseAnyJob(await readInput(path), path);
}
