/** The worker thread that plans and runs tuning: calibrations, and whole trainings one after another. */

import { loadSiteData } from "../../src/training/siteData.ts";
import { planTuning, runTuning } from "../../src/training/tuning.ts";
import { serveTasks } from "../workers/serveTasks.ts";
import type { TuningResult, TuningTask } from "./tuningTasks.ts";

async function run(task: TuningTask): Promise<TuningResult> {
	if (task.kind === "plan") return { kind: "plan", plan: planTuning(task.spec, task.tuning, task.rows) };
	const { plan, data, backend } = task;
	const { description } = plan.jobs[0]!.data;
	const records = loadSiteData(data.path, description, data.splitKey);
	return { kind: "run", tuned: await runTuning(plan, records, { backend, threads: 1 }) };
}

serveTasks<TuningTask, TuningResult>(async (task) => ({ result: await run(task) }));
