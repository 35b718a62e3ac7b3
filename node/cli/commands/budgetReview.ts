/** `althing budget report` and `althing budget audit`: what was charged, and whether it is what was executed. */
import { type Command, Option } from "commander";
import type { BudgetAudit, BudgetReport } from "../../rpc/services.ts";
import { parseTime } from "../arguments.ts";
import { exitCodes } from "../exitCodes.ts";
import type { Output } from "../output.ts";
import type { Bind } from "../session.ts";
import { fields, figure, printable, table } from "../text.ts";

interface ReportOptions {
	readonly account?: string;
	readonly job?: string;
	readonly mechanism?: string;
	readonly since?: string;
	readonly until?: string;
	readonly csv?: true;
}

export function registerBudgetReview(budget: Command, bind: Bind): void {
	bind<ReportOptions>(
		budget
			.command("report")
			.description("sum charges up by data set, job, mechanism and part of the data")
			.option("--account <account>", "only what is below this account")
			.option("--job <id>", "only this job, by its id or the start of it")
			.option("--mechanism <name>", "only this mechanism, e.g. gaussian")
			.option("--since <time>", "only charges from then on, e.g. 2026-01-01", parseTime)
			.option("--until <time>", "only charges before then", parseTime)
			.addOption(new Option("--csv", "print the rows as CSV")),
		async ({ client, out }, _arguments, { csv, ...query }) => {
			const report = await (await client()).call("budget.report", query);
			out.result(report, (value) => (csv === true ? csvOf(value) : reportText(value, out)));
		},
	);

	bind(
		budget
			.command("audit")
			.description("replay the journal: is what was charged what was executed? Exit code 1 if not"),
		async ({ client, out }) => {
			const audit = await (await client()).call("budget.audit", {});
			out.result(audit, auditText);
			return audit.differences.length === 0 ? exitCodes.ok : exitCodes.failed;
		},
	);
}

function reportText({ rows, totals }: BudgetReport, out: Output): string {
	const charges = table(
		[
			"DATA SET",
			"JOB",
			"MECHANISM",
			"PART",
			"CHARGES",
			"RELEASED",
			"REFUNDED",
			"EPSILON",
			"DELTA",
			"SECONDS",
			"LAST",
		],
		rows.map((row) => [
			row.dataset,
			row.job,
			row.mechanism,
			row.partition,
			row.charges,
			row.released,
			row.refunded,
			figure(row.epsilon) ?? "unbounded",
			row.delta,
			figure(row.durationMs / 1000),
			row.lastAt,
		]),
		"Nothing was charged.",
		out.colors.bold,
	);
	const sums = totals.map(
		({ dataset, epsilonSpent, method, epsilonPlanned, delta }) =>
			`${dataset}: epsilon ${figure(epsilonSpent) ?? "unbounded"} by ${method} in this period, ${figure(epsilonPlanned) ?? "unbounded"} if all was fixed in advance, at delta ${delta}`,
	);
	return [charges, ...(sums.length === 0 ? [] : [printable(sums.join("; "))])].join("\n\n");
}

const COLUMNS = [
	"dataset",
	"job",
	"mechanism",
	"partition",
	"charges",
	"released",
	"held",
	"refunded",
	"epsilon",
	"delta",
	"method",
	"executions",
	"durationMs",
	"firstAt",
	"lastAt",
] as const;

/** RFC 4180; an epsilon that nothing bounds is an empty field. */
function csvOf({ rows }: BudgetReport): string {
	const lines = rows.map((row) => COLUMNS.map((column) => csvField(row[column])).join(","));
	return [COLUMNS.join(","), ...lines].join("\r\n");
}

function csvField(value: string | number | undefined): string {
	const text = printable(String(value ?? ""));
	// A name that begins like a formula must not become one in a spreadsheet.
	const harmless = typeof value === "string" && /^[=+\-@]/.test(text) ? `'${text}` : text;
	return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

function auditText({
	charges,
	releases,
	deadAttempts,
	executions,
	differences,
	overdrawn,
}: BudgetAudit): string {
	const counts = fields([
		["charges", charges.total],
		["released", charges.released],
		["refunded", charges.refunded],
		["wasted", charges.wasted],
		["open", charges.open],
		["certified releases", releases],
		["dead attempts", deadAttempts],
		["executions", executions],
	]);
	const verdict =
		differences.length === 0
			? "What was charged is what was executed."
			: differences.map(({ code, message }) => printable(`${code}: ${message}`)).join("\n");
	const overdraft = overdrawn.length === 0 ? [] : [printable(`Over their limits: ${overdrawn.join(", ")}.`)];
	return [counts, verdict, ...overdraft].join("\n\n");
}
