/** The worker thread that trains, masks and applies: everything of a job that takes more than a few ms. */
import { runAggregationTask } from "../../protocols/aggregation/index.ts";
import { planWork } from "../../src/jobs/jobPlan.ts";
import { answerState, contributeToQuery } from "../../src/jobs/queryRound.ts";
import { softmaxRegression } from "../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../src/learning/trainer.ts";
import { decodeCommonState, encodeCommonState } from "../../src/training/commonState.ts";
import { type Contribution, Contributor } from "../../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../../src/training/jobSpec.ts";
import { modelOf, type TrainingPlan } from "../../src/training/plan.ts";
import { applyRelease } from "../../src/training/release.ts";
import { loadSiteData, readRawRecords } from "../../src/training/siteData.ts";
import { answerQuestion, costOfQuestion } from "../queries/queryWork.ts";
import { serveTasks, type TaskOutcome } from "../workers/serveTasks.ts";
import { historyBuffers, type JobContext, type WorkerResult, type WorkerTask } from "./trainingTasks.ts";

type NoisedContribution = Contribution & { readonly samplerDistance: number };

interface Site {
	readonly contributor: Contributor;
	readonly trainer: Trainer;
}

const EMPTY = { features: new Float32Array(2), labels: new Float32Array(1), rows: 1 };

/** Jobs this worker has taken up: data in memory, graphs compiled, noise tables built. */
const sites = new Map<string, Promise<Site>>();

function siteOf(job: JobContext, spec: ResolvedJobSpec, plan: TrainingPlan): Promise<Site> {
	let site = sites.get(job.jobId);
	if (site === undefined) {
		site = openSite(job, spec, plan);
		sites.set(job.jobId, site);
		// A failure must not be remembered: the file may be readable next round.
		site.catch(() => sites.delete(job.jobId));
	}
	return site;
}

async function openSite(job: JobContext, spec: ResolvedJobSpec, plan: TrainingPlan): Promise<Site> {
	const data = loadSiteData(job.dataPath, job.description, job.splitKey);
	const trainer = await createTrainer({ model: plan.model, backend: job.backend, threads: job.threads });
	return {
		trainer,
		contributor: new Contributor({ spec, plan, data, trainer, participationKey: job.splitKey }),
	};
}

async function contribute(task: Extract<WorkerTask, { kind: "contribute" }>): Promise<NoisedContribution> {
	const { job, round, history } = task;
	const { work } = job;
	if (work.kind === "query") {
		const dataset = readRawRecords(job.dataPath, job.description);
		const records = { dataset, label: job.description.label };
		return { ...contributeToQuery(records, work.spec, work.plan), level: 0, participations: [] };
	}
	const { contributor } = await siteOf(job, work.spec, work.plan);
	const contribution = await contributor.contribute(
		round,
		decodeCommonState(task.state, work.plan.parameterCount),
		history,
	);
	return { ...contribution, samplerDistance: contributor.samplerDistance };
}

function apply(task: Extract<WorkerTask, { kind: "apply" }>): Extract<WorkerResult, { kind: "applied" }> {
	const { job, round, sum, survivors } = task;
	const { work } = job;
	if (work.kind === "query")
		return { kind: "applied", state: answerState(work.spec, work.plan, sum, survivors), metrics: {} };
	const state = decodeCommonState(task.state, work.plan.parameterCount);
	const applied = applyRelease({ spec: work.spec, plan: work.plan, round, state, sum, survivors });
	return { kind: "applied", state: encodeCommonState(applied.state), metrics: { ...applied.metrics } };
}

async function run(task: WorkerTask): Promise<TaskOutcome<WorkerResult>> {
	switch (task.kind) {
		case "plan":
			return { result: { kind: "planned", work: planWork(task.spec, task.participation) } };
		case "contribute": {
			const contribution = await contribute(task);
			const sums = historyBuffers(contribution.history);
			return {
				result: { kind: "contribution", ...contribution },
				transfer: [contribution.vector.buffer as ArrayBuffer, ...sums],
			};
		}
		case "apply":
			return { result: apply(task) };
		case "aggregate":
			return { result: { kind: "aggregated", result: runAggregationTask(task.task) } };
		case "predict": {
			const model = modelOf(task.spec);
			const trainer = await createTrainer({ model });
			try {
				const parameters = decodeCommonState(task.state, trainer.parameterCount).parameters;
				return { result: { kind: "predictions", outputs: await trainer.predict(parameters, task.features) } };
			} finally {
				await trainer.dispose();
			}
		}
		case "costOfQuestion":
			return { result: { kind: "questionCost", cost: costOfQuestion(task.data, task.question) } };
		case "answerQuestion":
			return { result: { kind: "questionAnswer", answer: answerQuestion(task.data, task.question) } };
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
			const site = sites.get(task.jobId);
			sites.delete(task.jobId);
			await (await site?.catch(() => undefined))?.trainer.dispose();
			return { result: { kind: "done" } };
		}
	}
}

serveTasks<WorkerTask, WorkerResult>(run);
