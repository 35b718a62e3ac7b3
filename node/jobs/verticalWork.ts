/** What a worker thread does for vertical jobs: this organization's side of them, and the public step after a sum. */
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { randomBytes } from "../../crypto/random.ts";
import { prepare } from "../../src/data/description.ts";
import type { JobWork } from "../../src/jobs/jobPlan.ts";
import { readRawRecords } from "../../src/training/siteData.ts";
import { alignByKey } from "../../src/vertical/alignment.ts";
import { decodeOwnPart, encodeOwnPart } from "../../src/vertical/ownPart.ts";
import { hasClasses, VerticalParty } from "../../src/vertical/party.ts";
import { applyVerticalRelease } from "../../src/vertical/verticalRelease.ts";
import { decodeVerticalState, encodeVerticalState } from "../../src/vertical/verticalState.ts";
import type { JobContext, WorkerResult, WorkerTask } from "./trainingTasks.ts";
import { WARM_BYTES, type WarmSite, WarmSites } from "./warmSites.ts";

type VerticalWork = Extract<JobWork, { kind: "vertical" }>;

interface OpenParty extends WarmSite {
	readonly party: VerticalParty;
}

/** Jobs this worker has taken up: records in memory and in the common order, noise tables built. */
const parties = new WarmSites<OpenParty>(WARM_BYTES);

/** @param task of a vertical job, whose work it is given */
export function contributeVertically(
	{ job, round, state, own }: Extract<WorkerTask, { kind: "contribute" }>,
	work: VerticalWork,
): Promise<Omit<Extract<WorkerResult, { kind: "contribution" }>, "kind">> {
	return parties.use(
		job.jobId,
		async () => openParty(job, work),
		async ({ party }) => {
			const before = own === undefined ? undefined : decodeOwnPart(own);
			const { vector, part, participations } = party.contribute(round, decodeVerticalState(state), before);
			const { samplerDistance } = party;
			return { vector, own: encodeOwnPart(part), participations, samplerDistance, level: 0 };
		},
	);
}

export function applyVertically(
	{ round, state, sum, survivors }: Extract<WorkerTask, { kind: "apply" }>,
	{ spec, plan }: VerticalWork,
): Extract<WorkerResult, { kind: "applied" }> {
	const before = decodeVerticalState(state);
	const released = applyVerticalRelease({ spec, plan, round, state: before, sum, survivors });
	return { kind: "applied", state: encodeVerticalState(released.state), metrics: { ...released.metrics } };
}

export function forgetParty(jobId: string): Promise<void> {
	return parties.forget(jobId);
}

function openParty(job: JobContext, { spec, plan }: VerticalWork): OpenParty {
	const { description, submitted: holdsLabels } = job;
	if (holdsLabels && !hasClasses(description, spec.data.classes)) {
		throw new AlthingError(
			"vertical.other_classes",
			"This organization submitted the job, so its data set must have the labels, with the job's classes in their order. Register the data under a description with these classes, and submit again.",
		);
	}
	const dataset = prepare(readRawRecords(job.dataPath, description), description);
	const context = hashFields("althing/vertical-alignment/1", job.jobId);
	const alignment = alignByKey(dataset.keys, spec.data.records, context);
	return {
		party: new VerticalParty({ spec, plan, dataset, alignment, holdsLabels, random: randomBytes }),
		bytes: dataset.features.byteLength + dataset.labels.byteLength + alignment.rows.byteLength,
		close: async () => {},
	};
}
