/** `althing budget ...` */
import type { Command } from "commander";
import type { Budget } from "../../rpc/services.ts";
import { parsePositive } from "../arguments.ts";
import type { Output } from "../output.ts";
import type { Bind } from "../session.ts";
import { figure, table } from "../text.ts";

export function registerBudget(program: Command, bind: Bind): void {
	const budget = program.command("budget").description("privacy budgets of this organization's data sets");

	bind(
		budget.command("show [dataset]").description("show limits and what is spent"),
		async ({ client, out }, [dataset]) => {
			const answer = await (await client()).call("budget.show", { dataset });
			out.result(answer, ({ budgets }) => {
				const overview = budgetTable(budgets, out);
				const [only] = budgets;
				return dataset === undefined || only === undefined
					? overview
					: `${overview}\n\n${chargeTable(only, out)}`;
			});
		},
	);

	bind<{ epsilon: number; delta: number }>(
		budget
			.command("set <dataset>")
			.description("set the limits of a data set")
			.requiredOption("--epsilon <epsilon>", "total epsilon that may be spent", parsePositive)
			.requiredOption("--delta <delta>", "delta at which epsilon is stated, e.g. 1e-6", parsePositive),
		async ({ client, out }, [dataset = ""], { epsilon, delta }) => {
			const limits = await (await client()).call("budget.set", { dataset, epsilon, delta });
			out.result(limits, (value) => budgetTable([value], out));
		},
	);
}

function budgetTable(budgets: readonly Budget[], out: Output): string {
	return table(
		["DATA SET", "EPSILON", "SPENT", "LEFT", "DELTA", "CHARGES"],
		budgets.map((one) => [
			one.dataset,
			one.epsilon,
			Number(figure(one.epsilonSpent)),
			Number(figure(one.epsilonRemaining)),
			one.delta,
			one.charges.length,
		]),
		"No budgets. Set one with althing budget set.",
		out.colors.bold,
	);
}

function chargeTable(budget: Budget, out: Output): string {
	return table(
		["AT", "JOB", "ROUND", "MECHANISM", "SPENT AFTER"],
		budget.charges.map((charge) => [
			charge.at,
			charge.job,
			charge.round,
			charge.mechanism,
			figure(charge.epsilonAfter),
		]),
		"Nothing was charged.",
		out.colors.bold,
	);
}
