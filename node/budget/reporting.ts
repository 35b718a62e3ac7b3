/** Reports on charges, with the executions that they paid for. */
import { mechanismOf, passes, type ReportRow, reportRows } from "../../src/privacy/budget/report.ts";
import type { BudgetReport, BudgetReportQuery } from "../rpc/services.ts";
import type { MechanismExecution, Store } from "../store/index.ts";
import { finite } from "./accountView.ts";
import type { Budgets } from "./budgets.ts";

/** Sums up the charges that the query asks for; every epsilon is the tight accountant's. */
export async function reportOf(
	budgets: Budgets,
	store: Pick<Store, "mechanismExecutions">,
	query: BudgetReportQuery,
): Promise<BudgetReport> {
	const { ledger } = budgets;
	const { account, job, ...filter } = query;
	const charges = ledger
		.history(account)
		.filter((charge) => (job === undefined || charge.jobId.startsWith(job)) && passes(charge, filter));
	const deltaOf = (dataset: string): number => ledger.account(dataset)?.limits.delta ?? 0;
	const executed = new Map<string, MechanismExecution[]>();
	for (const charge of charges) {
		const execution = await store.mechanismExecutions.get(charge.chargeId);
		if (execution === undefined) continue;
		const key = keyOf({ ...charge, mechanism: mechanismOf(charge.event) });
		const known = executed.get(key);
		if (known === undefined) executed.set(key, [execution]);
		else known.push(execution);
	}
	const rows: BudgetReport["rows"] = [];
	for (const row of reportRows(charges, filter, deltaOf))
		rows.push(await rowOf(budgets, row, executed.get(keyOf(row)) ?? []));
	const totals: BudgetReport["totals"] = [];
	for (const dataset of new Set(rows.map((row) => row.dataset))) {
		const { epsilon, method } = ledger.spent(dataset);
		const answers = await budgets.answers(ledger.periodQuestions(dataset));
		totals.push({
			dataset,
			epsilonSpent: finite(epsilon),
			method,
			epsilonPlanned: finite(Math.max(0, ...answers.map((answer) => answer.epsilon))),
			delta: deltaOf(dataset),
		});
	}
	return { rows, totals };
}

async function rowOf(
	budgets: Budgets,
	row: ReportRow,
	executions: readonly MechanismExecution[],
): Promise<BudgetReport["rows"][number]> {
	const { question, jobId: job, delta, ...rest } = row;
	const [answer] = question === undefined ? [] : await budgets.answers([question]);
	return {
		...rest,
		job,
		epsilon: question === undefined ? 0 : finite(answer?.epsilon ?? Number.POSITIVE_INFINITY),
		method: answer?.method ?? "none",
		delta,
		executions: executions.length,
		durationMs: executions.reduce((sum, { durationMs }) => sum + durationMs, 0),
		metrics: executions.at(-1)?.utilityMetrics ?? {},
	};
}

function keyOf(row: Pick<ReportRow, "dataset" | "jobId" | "mechanism" | "partition">): string {
	return [row.dataset, row.jobId, row.mechanism, row.partition].join("\u0000");
}
