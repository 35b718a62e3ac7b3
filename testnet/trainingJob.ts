/** The job that the testnet trains: a file of configs/jobs, with the command line's changes. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { checkJobSpec, type JobSpec, parseJobSpec } from "../src/training/jobSpec.ts";
import type { TestnetOptions } from "./options.ts";

/** @throws AlthingError `job.*` when the file is not a valid job or the changes do not fit it */
export async function trainingJob(
	options: Pick<TestnetOptions, "data" | "rounds" | "epsilon">,
): Promise<JobSpec> {
	const file = fileURLToPath(new URL(`../configs/jobs/${options.data}.yaml`, import.meta.url));
	const spec = parseJobSpec(await readFile(file, "utf8"), file);
	const { training, privacy } = spec;
	return checkJobSpec({
		...spec,
		training: options.rounds === undefined ? training : { ...training, rounds: options.rounds },
		privacy:
			options.epsilon === undefined || privacy.mechanism === "none"
				? privacy
				: { ...privacy, epsilon: options.epsilon },
	});
}
