/** Reads and checks a job spec or a release before it is sent, so that errors name line and column. */
import { parseAnyJob } from "../../src/jobs/specification.ts";
import { readSpecification } from "../../src/jobs/specificationText.ts";
import { queryReleaseSchema } from "../../src/queries/release.ts";
import { tuningSchema } from "../../src/training/tuning.ts";
import { readInput } from "./inputFile.ts";

/** Throws `usage.unreadable_file`, `job.invalid_file`, `job.invalid`. */
export async function readJobFile(path: string): Promise<Record<string, unknown>> {
	return parseAnyJob(await readInput(path), path);
}

/** Throws `usage.unreadable_file`, `job.invalid_file`. */
export async function readReleaseFile(path: string): Promise<Record<string, unknown>> {
	return readSpecification(await readInput(path), path, queryReleaseSchema);
}

/** Throws `usage.unreadable_file`, `job.invalid_file`. */
export async function readTuningFile(path: string): Promise<Record<string, unknown>> {
	return readSpecification(await readInput(path), path, tuningSchema);
}
