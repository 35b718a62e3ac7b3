/** The worker thread that trains, masks and applies: everything of a job that takes more than a few ms. */
import { statSync } from "node:fs";
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { runAggregationTask } from "../../protocols/aggregation/index.ts";
import { exchange } from "../../src/gossip/exchange.ts";
import { type JobWork, planWork } from "../../src/jobs/jobPlan.ts";
import { answerState, contributeToQuery } from "../../src/jobs/queryRound.ts";
import { float32ToBytes } from "../../src/learning/littleEndian.ts";
import { softmaxRegression } from "../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../src/learning/trainer.ts";
import { finishContribution, withoutShares } from "../../src/training/bufferedRounds.ts";
import { decodeCommonState, encodeCommonState } from "../../src/training/commonState.ts";
import { type Contribution, Contributor } from "../../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import { reportLoss } from "../../src/training/lossReports.ts";
import { commonParameterCount, modelOf, type TrainingPlan } from "../../src/training/plan.ts";
import { applyRelease } from "../../src/training/release.ts";
import { isScreened, siteNormBound } from "../../src/training/robustUpdate.ts";
import { loadSiteData, readRawRecords, type SiteData } from "../../src/training/siteData.ts";
import { decodeSiteState, encodeSiteState, NEW_SITE, type SiteState } from "../../src/training/siteState.ts";
import { answerQuestion, costOfQuestion } from "../queries/queryWork.ts";
import { serveTasks, type TaskOutcome } from "../workers/serveTasks.ts";
import { historyBuffers, type JobContext, type WorkerResult, type WorkerTask } from "./trainingTasks.ts";
import { applyVertically, contributeVertically, forgetParty } from "./verticalWork.ts";
import { WARM_BYTES, type WarmSite, WarmSites } from "./warmSites.ts";

type NoisedContribution = Omit<Contribution, "own"> & {
	readonly samplerDistance: number;
	/** What everybody is to see beside the masked vector. */
	readonly publicPart?: Uint8Array;
	readonly own?: Uint8Array;
};

interface Site extends WarmSite {
	readonly data: SiteData;
	readonly trainer: Trainer;
	readonly contributor: Contributor;
}

const EMPTY = { features: new Float32Array(2), labels: new Float32Array(1), rows: 1 };

const NONE = {
	features: new Float32Array(0),
	labels: new Float32Array(0),
	rows: 0,
	columns: [],
	labelNames: [],
};
/** Of a data set that is read in passes elsewhere. */
const NO_RECORDS: SiteData = { train: NONE, heldOut: NONE };

/** Jobs this worker has taken up: data in memory, graphs compiled, noise tables built. */
const sites = new WarmSites<Site>(WARM_BYTES);
/** Records in memory by file, description and split: jobs on one data set share them. */
const records = new Map<string, WeakRef<SiteData>>();

function dataOf({ dataPath, description, splitKey }: JobContext): SiteData {
	// A file that is gone, or another than it was, must not go on as what was read before.
	const file = statSync(dataPath, { throwIfNoEntry: false });
	if (file === undefined) return loadSiteData(dataPath, description, splitKey);
	const key = toHex(
		hashFields(
			"althing/records-in-memory/1",
			dataPath,
			`${file.ino}/${file.size}/${file.mtimeMs}`,
			encodeCanonical(description as never),
			splitKey,
		),
	);
	const known = records.get(key)?.deref();
	if (known !== undefined) return known;
	for (const [other, held] of records) if (held.deref() === undefined) records.delete(other);
	const data = loadSiteData(dataPath, description, splitKey);
	records.set(key, new WeakRef(data));
	return data;
}

async function openSite(job: JobContext, spec: ResolvedJobSpec, plan: TrainingPlan): Promise<Site> {
	const data = job.streamed ? NO_RECORDS : dataOf(job);
	const trainer = await createTrainer({ model: plan.model, backend: job.backend, threads: job.threads });
	return {
		data,
		trainer,
		contributor: new Contributor({
			spec,
			plan: spec.training.schedule === "buffered" ? withoutShares(plan) : plan,
			data,
			trainer,
			participationKey: job.splitKey,
		}),
		// Counted for each job that uses them, although they are shared: an upper bound.
		bytes: 4 * (plan.model.inputs + 1) * (data.train.rows + data.heldOut.rows) + 8 * plan.length,
		close: () => trainer.dispose(),
	};
}

async function contribute(task: Extract<WorkerTask, { kind: "contribute" }>): Promise<NoisedContribution> {
	const { job, round, streamed } = task;
	const { work } = job;
	if (job.streamed !== (streamed !== undefined))
		throw new AlthingError(
			"workers.protocol",
			"a pass over the records belongs to a streamed data set alone",
		);
	if (work.kind === "query") {
		const queried =
			streamed?.kind === "sums"
				? streamed
				: { dataset: readRawRecords(job.dataPath, job.description), label: job.description.label };
		return { ...contributeToQuery(queried, work.spec, work.plan), level: 0, participations: [] };
	}
	if (work.kind === "vertical") return contributeVertically(task, work);
	const { spec, plan } = work;
	return sites.use(
		job.jobId,
		() => openSite(job, spec, plan),
		async ({ contributor, trainer, data }) => {
			const state = decodeCommonState(task.state, commonParameterCount(plan));
			const passed = streamed?.kind === "round" ? streamed.round : undefined;
			const before = ownState(plan, task.own);
			const memory = { history: task.history, unsent: task.unsent, momentum: task.momentum, own: before };
			const { own, ...contribution } = await contributor.contribute(round, state, memory, passed);
			const reported =
				plan.report &&
				(await reportLoss(trainer, state.parameters, data.heldOut, plan.report, plan.lossBound));
			const samplerDistance = Math.max(contributor.samplerDistance, reported?.samplerDistance ?? 0);
			return {
				...contribution,
				samplerDistance,
				...(reported === undefined ? {} : { publicPart: reported.report }),
				...(own === before ? {} : { own: encodeSiteState(own) }),
			};
		},
	);
}

async function personalize(task: Extract<WorkerTask, { kind: "personalize" }>): Promise<Uint8Array> {
	const { job, rounds } = task;
	const { work } = job;
	if (work.kind !== "training")
		throw new AlthingError("job.invalid", `a ${work.kind} job leaves nothing to be done after its rounds`);
	const { spec, plan } = work;
	return sites.use(
		job.jobId,
		() => openSite(job, spec, plan),
		async ({ contributor }) => {
			const state = decodeCommonState(task.state, commonParameterCount(plan));
			return encodeSiteState(await contributor.finish(rounds, state, ownState(plan, task.own)));
		},
	);
}

function ownState({ parameterCount, shared }: TrainingPlan, own: Uint8Array | undefined): SiteState {
	return own === undefined ? NEW_SITE : decodeSiteState(own, { parameterCount, sharedCount: shared.count });
}

async function trainOwn(
	task: Extract<WorkerTask, { kind: "trainOwn" }>,
): Promise<Extract<WorkerResult, { kind: "trainedOwn" }>> {
	const { job, round, streamed } = task;
	const { spec, plan } = trainingOf(job);
	return sites.use(
		job.jobId,
		() => openSite(job, spec, plan),
		async ({ contributor }) => {
			const state = decodeCommonState(task.state, plan.parameterCount);
			const passed = streamed?.kind === "round" ? streamed.round : undefined;
			const { parameters, metrics } = await contributor.ownModel(round, state, passed);
			const { samplerDistance } = contributor;
			return { kind: "trainedOwn", model: float32ToBytes(parameters), samplerDistance, metrics };
		},
	);
}

function trainingOf({ work }: JobContext): Extract<JobWork, { kind: "training" }> {
	if (work.kind === "training") return work;
	throw new AlthingError("workers.protocol", `a ${work.kind} job trains no model`);
}

function apply(task: Extract<WorkerTask, { kind: "apply" }>): Extract<WorkerResult, { kind: "applied" }> {
	const { job, round, sum, survivors, norms, alignments, shown, buckets } = task;
	const { work } = job;
	if (work.kind === "query")
		return { kind: "applied", state: answerState(work.spec, work.plan, sum, survivors), metrics: {} };
	if (work.kind === "vertical") return applyVertically(task, work);
	const state = decodeCommonState(task.state, commonParameterCount(work.plan));
	const { spec, plan } = work;
	const found = { norms, alignments, shown, buckets };
	const applied = applyRelease({ spec, plan, round, state, sum, survivors, ...found });
	const { metrics, leftOut } = applied;
	return {
		kind: "applied",
		state: encodeCommonState(applied.state),
		metrics: { ...metrics },
		...(leftOut === undefined ? {} : { leftOut }),
	};
}

async function run(task: WorkerTask): Promise<TaskOutcome<WorkerResult>> {
	switch (task.kind) {
		case "plan":
			return { result: { kind: "planned", work: planWork(task.spec, task.participation) } };
		case "contribute": {
			const contribution = await contribute(task);
			const kept = historyBuffers(contribution.history);
			if (contribution.momentum !== undefined) kept.push(contribution.momentum.buffer as ArrayBuffer);
			if (contribution.unsent !== undefined) kept.push(contribution.unsent.buffer as ArrayBuffer);
			return {
				result: { kind: "contribution", ...contribution },
				transfer: [contribution.vector.buffer as ArrayBuffer, ...kept],
			};
		}
		case "personalize":
			return { result: { kind: "personalized", own: await personalize(task) } };
		case "weigh": {
			const { work } = task.job;
			if (work.kind !== "training") throw new Error(`a ${work.kind} job has no buffered rounds`);
			const state = decodeCommonState(task.state, commonParameterCount(work.plan));
			const normBound = isScreened(work.spec) ? siteNormBound(work.spec, state) : undefined;
			const finished = finishContribution(work.plan, task.prepared, task.staleness, normBound);
			return {
				result: { kind: "weighed", ...finished },
				transfer: [finished.vector.buffer as ArrayBuffer],
			};
		}
		case "apply":
			return { result: apply(task) };
		case "aggregate":
			return { result: { kind: "aggregated", result: runAggregationTask(task.task) } };
		case "trainOwn": {
			const trained = await trainOwn(task);
			return { result: trained, transfer: [trained.model.buffer as ArrayBuffer] };
		}
		case "exchange": {
			const { spec, plan } = trainingOf(task.job);
			return { result: { kind: "exchanged", exchanged: exchange(spec, plan, task.exchange) } };
		}
		case "predict": {
			const model = modelOf(task.spec);
			const trainer = await createTrainer({ model });
			try {
				const outputs = await trainer.predict(task.parameters, task.features);
				return { result: { kind: "predictions", outputs } };
			} finally {
				await trainer.dispose();
			}
		}
		case "costOfQuestion":
			return { result: { kind: "questionCost", cost: costOfQuestion(task.data, task.question) } };
		case "answerQuestion":
			return {
				result: { kind: "questionAnswer", answer: answerQuestion(task.data, task.question, task.sums) },
			};
		case "warm": {
			const trainer = await createTrainer({ model: softmaxRegression(2, 2), backend: task.backend });
			await trainer.clippedGradientSum(new Float32Array(trainer.parameterCount), EMPTY, {
				mode: "flat",
				norm: 1,
			});
			await trainer.dispose();
			return { result: { kind: "done" } };
		}
		case "forget": {
			await sites.forget(task.jobId);
			await forgetParty(task.jobId);
			return { result: { kind: "done" } };
		}
	}
}

serveTasks<WorkerTask, WorkerResult>(run);
