/** The worker thread that trains, masks and applies: everything of a job that takes more than a few ms. */
import { runAggregationTask } from "../../protocols/aggregation/index.ts";
import { softmaxRegression } from "../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../src/learning/trainer.ts";
import { decodeCommonState, encodeCommonState } from "../../src/training/commonState.ts";
import { Contributor } from "../../src/training/contribution.ts";
import { modelOf, planTraining, type TrainingPlan } from "../../src/training/plan.ts";
import { applyRelease } from "../../src/training/release.ts";
import { loadSiteData } from "../../src/training/siteData.ts";
import { serveTasks, type TaskOutcome } from "../workers/serveTasks.ts";
import type { JobContext, WorkerResult, WorkerTask } from "./trainingTasks.ts";

interface Site {
	readonly contributor: Contributor;
	readonly trainer: Trainer;
}

const EMPTY = { features: new Float32Array(2), labels: new Float32Array(1), rows: 1 };

/** Jobs this worker has taken up: data in memory, graphs compiled, noise tables built. */
const sites = new Map<string, Promise<Site>>();
const plans = new Map<string, TrainingPlan>();

function planOf(job: JobContext): TrainingPlan {
	const known = plans.get(job.jobId);
	if (known !== undefined) return known;
	const plan = planTraining(job.spec, job.participation);
	plans.set(job.jobId, plan);
	return plan;
}

function siteOf(job: JobContext): Promise<Site> {
	let site = sites.get(job.jobId);
	if (site === undefined) {
		site = openSite(job);
		sites.set(job.jobId, site);
		// A failure must not be remembered: the file may be readable next round.
		site.catch(() => sites.delete(job.jobId));
	}
	return site;
}

async function openSite(job: JobContext): Promise<Site> {
	const data = loadSiteData(job.dataPath, job.spec.data.description, job.splitKey);
	const plan = planOf(job);
	const trainer = await createTrainer({ model: plan.model, backend: job.backend, threads: job.threads });
	return { trainer, contributor: new Contributor({ spec: job.spec, plan, data, trainer }) };
}

async function run(task: WorkerTask): Promise<TaskOutcome<WorkerResult>> {
	switch (task.kind) {
		case "contribute": {
			const { contributor } = await siteOf(task.job);
			const state = decodeCommonState(task.state, planOf(task.job).parameterCount);
			const vector = await contributor.contribute(task.round, state);
			return {
				result: { kind: "contribution", vector, samplerDistance: contributor.samplerDistance },
				transfer: [vector.buffer as ArrayBuffer],
			};
		}
		case "apply": {
			const { job, round, sum, survivors } = task;
			const plan = planOf(job);
			const applied = applyRelease({
				spec: job.spec,
				plan,
				round,
				state: decodeCommonState(task.state, plan.parameterCount),
				sum,
				survivors,
			});
			return {
				result: { kind: "applied", state: encodeCommonState(applied.state), metrics: { ...applied.metrics } },
			};
		}
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
		case "warm": {
			const trainer = await createTrainer({ model: softmaxRegression(2, 2), backend: task.backend });
			await trainer.clippedGradientSum(new Float32Array(trainer.parameterCount), EMPTY, 1);
			await trainer.dispose();
			return { result: { kind: "done" } };
		}
		case "forget": {
			const site = sites.get(task.jobId);
			sites.delete(task.jobId);
			plans.delete(task.jobId);
			await (await site?.catch(() => undefined))?.trainer.dispose();
			return { result: { kind: "done" } };
		}
	}
}

serveTasks<WorkerTask, WorkerResult>(run);
