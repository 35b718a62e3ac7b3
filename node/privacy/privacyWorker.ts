/** The worker thread that plans and audits: compositions by the hundred, and whole trainings with canaries. */
import { createTrainer } from "../../src/learning/trainer.ts";
import { gradientCanaries, mislabelledCanaries } from "../../src/privacy/auditing/canaries.ts";
import { auditTraining, claimOf } from "../../src/privacy/auditing/trainingAudit.ts";
import { allocate } from "../../src/privacy/planning/allocation.ts";
import {
	type BudgetState,
	costOfMore,
	type Forecast,
	forecast,
	largestJob,
} from "../../src/privacy/planning/forecast.ts";
import { optimizeNoise, paretoFrontier } from "../../src/privacy/planning/optimizeNoise.ts";
import { planTraining } from "../../src/training/plan.ts";
import { loadSiteData } from "../../src/training/siteData.ts";
import { serveTasks } from "../workers/serveTasks.ts";
import type { PrivacyResult, PrivacyResults, PrivacyTask } from "./privacyTasks.ts";

async function run(task: PrivacyTask): Promise<PrivacyResult> {
	switch (task.kind) {
		case "plan":
			return { kind: "plan", value: allocate(task.request) };
		case "cost":
			return { kind: "cost", value: costOf(task) };
		case "forecast":
			return { kind: "forecast", value: earliest(task.states, task.nowMs, task.windowMs) };
		case "optimize": {
			const { request, frontier } = task;
			const value = { ...optimizeNoise(request), frontier: paretoFrontier(request, frontier) };
			return { kind: "optimize", value };
		}
		case "audit":
			return { kind: "audit", value: await audit(task) };
	}
}

function costOf({ state, event, rounds }: Extract<PrivacyTask, { kind: "cost" }>): PrivacyResults["cost"] {
	const { before, after, cost } = costOfMore(state, event, rounds);
	return { before, after, cost, largestRounds: largestJob(state, event) };
}

/** The partitions compose in parallel: the data set's budget is gone when the first of them is. */
function earliest(states: readonly BudgetState[], nowMs: number, windowMs: number): Forecast {
	const forecasts = states.map((state) => forecast(state, nowMs, windowMs));
	return forecasts.reduce((first, other) => {
		const [a = Number.POSITIVE_INFINITY, b = Number.POSITIVE_INFINITY] = [
			first.exhaustedAtMs,
			other.exhaustedAtMs,
		];
		if (a !== b) return a < b ? first : other;
		return first.epsilonSpent >= other.epsilonSpent ? first : other;
	});
}

async function audit(task: Extract<PrivacyTask, { kind: "audit" }>): Promise<PrivacyResults["audit"]> {
	const { spec, who, rounds, significance } = task;
	const data = loadSiteData(task.dataPath, spec.data.description, task.splitKey);
	const plan = planTraining(spec, who);
	const trainer = await createTrainer({ ...task.engine, model: plan.model });
	try {
		const canaries =
			task.attacker === "sums"
				? gradientCanaries(plan.parameterCount, task.canaries)
				: mislabelledCanaries(data.train, task.canaries);
		const run = { spec, who, plan, rounds, data, trainer, canaries, attacker: task.attacker };
		return await auditTraining(run, claimOf(spec, plan, rounds), significance);
	} finally {
		await trainer.dispose();
	}
}

serveTasks<PrivacyTask, PrivacyResult>(async (task) => ({ result: await run(task) }));
