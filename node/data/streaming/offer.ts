/** What a set that is read in passes can do for a job, before the job is accepted. */
import { AlthingError } from "../../../crypto/error.ts";
import type { JobWork } from "../../../src/jobs/jobPlan.ts";
import { roundsAPass, shuffleRows, streamedWork } from "../../../src/training/streamedRound.ts";
import type { RegisteredDataset } from "../datasets.ts";
import type { StreamSettings } from "./location.ts";

export interface StreamOffer {
	/** Memory that a job takes for its records. */
	readonly bytes: number;
	/** Why a job's rounds cannot be fed in passes, if they cannot. */
	refusal(work: JobWork): AlthingError | undefined;
}

export function streamOffer(
	{ name, description, trainingRows }: RegisteredDataset,
	{ batchMemoryMiB, engineMemoryMiB }: StreamSettings,
): StreamOffer {
	return {
		bytes: (batchMemoryMiB + engineMemoryMiB) * 2 ** 20,
		refusal: (work) => {
			if (work.kind === "query") return undefined;
			if (work.kind === "vertical")
				return new AlthingError(
					"data.cannot_stream",
					`data set ${name} is read in passes here, and vertical learning needs its records in the order of the other organizations`,
				);
			const { spec, plan } = work;
			if (plan.report !== undefined)
				return new AlthingError(
					"data.cannot_stream",
					`data set ${name} is read in passes here, and the job's selection goes by losses of records in memory`,
				);
			const how = streamedWork(spec, plan.localSteps);
			if (typeof how === "string")
				return new AlthingError("data.cannot_stream", `data set ${name} is read in passes here: ${how}`);
			try {
				const { rounds } = spec.training;
				const here = { features: description.features.count, trainingRows, memoryMiB: batchMemoryMiB };
				if (how.kind === "epochs") shuffleRows(spec.training, here);
				else roundsAPass(how, { ...here, rounds });
				return undefined;
			} catch (error) {
				if (error instanceof AlthingError) return error;
				throw error;
			}
		},
	};
}
