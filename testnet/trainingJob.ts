/** The job that the testnet trains: a file of configs/jobs, with the command line's changes. */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { checkJobSpec, type JobSpec, parseJobSpec } from "../src/training/jobSpec.ts";
import type { TestnetOptions } from "./options.ts";

/** Nodes share one machine: the more of them, the longer each phase of a round takes. */
const PHASE_TIMEOUT_PER_NODE_MS = 300;

/** @throws AlthingError `job.*` when the file is not a valid job or the changes do not fit it */
export async function trainingJob(
	options: Pick<TestnetOptions, "data" | "nodes" | "rounds" | "epsilon">,
): Promise<JobSpec> {
	const file = fileURLToPath(new URL(`../configs/jobs/${options.data}.yaml`, import.meta.url));
	const spec = parseJobSpec(await readFile(file, "utf8"), file);
	const { training, privacy, aggregation } = spec;
	return checkJobSpec({
		...spec,
		training: options.rounds === undefined ? training : { ...training, rounds: options.rounds },
		privacy:
			options.epsilon === undefined || privacy.mechanism === "none"
				? privacy
				: { ...privacy, epsilon: options.epsilon },
		aggregation: {
			...aggregation,
			phaseTimeoutMs: Math.max(aggregation.phaseTimeoutMs, options.nodes * PHASE_TIMEOUT_PER_NODE_MS),
		},
	});
}
