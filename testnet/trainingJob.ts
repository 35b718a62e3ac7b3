/** The job that the testnet trains: a file of configs/jobs, with the command line's changes. */
import { readFile } from "node:fs/promises";
import { AlthingError } from "../crypto/error.ts";
import { catalog } from "../src/data/catalog.ts";
import { checkJobSpec, type JobSpec, parseJobSpec } from "../src/training/jobSpec.ts";
import type { TestnetOptions } from "./options.ts";

/** Nodes share one machine: the more of them, the longer each phase of a round takes. */
const PHASE_TIMEOUT_PER_NODE_MS = 300;

/** @throws AlthingError `job.*` when the file is not a valid job or the changes do not fit it */
export async function trainingJob(
	options: Pick<TestnetOptions, "job" | "nodes" | "rounds" | "epsilon">,
): Promise<JobSpec> {
	const spec = parseJobSpec(await readFile(options.job, "utf8"), options.job);
	if (!catalog.has(spec.data.set)) {
		throw new AlthingError(
			"usage.invalid",
			`The testnet deals out shipped data sets only: ${options.job} asks for ${spec.data.set}, not one of ${[...catalog.keys()].join(", ")}.`,
		);
	}
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
