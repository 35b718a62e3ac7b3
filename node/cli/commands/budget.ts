/** `althing budget ...` */
import { type Command, Option } from "commander";
import type { Budget, BudgetAccount } from "../../rpc/services.ts";
import { parseDelta, parseInteger, parsePositive, parseTime } from "../arguments.ts";
import type { Output } from "../output.ts";
import type { Bind } from "../session.ts";
import { figure, table } from "../text.ts";
import { registerBudgetReview } from "./budgetReview.ts";

const KINDS = ["federation", "organization", "unit", "dataset", "job"] as const;

export function registerBudget(program: Command, bind: Bind): void {
	const budget = program.command("budget").description("privacy budgets of this organization");

	bind(
		budget
			.command("show [account]")
			.description("show limits and what is spent, of one account or all data sets"),
		async ({ client, out }, [dataset]) => {
			const answer = await (await client()).call("budget.show", { dataset });
			out.result(answer, ({ budgets }) => {
				const overview = budgetTable(budgets, out);
				const [only] = budgets;
				return dataset === undefined || only === undefined
					? overview
					: [overview, about(only), chargeTable(only, out)].join("\n\n");
			});
		},
	);

	bind(
		budget.command("tree").description("list all accounts, each below the one above it"),
		async ({ client, out }) => {
			const answer = await (await client()).call("budget.tree", {});
			out.result(answer, ({ accounts }) => accountTable(accounts, out));
		},
	);

	bind<{ epsilon: number; delta: number }>(
		withLimits(budget.command("set <account>").description("set an account's limits")),
		async ({ client, out }, [dataset = ""], { epsilon, delta }) => {
			const limits = await (await client()).call("budget.set", { dataset, epsilon, delta });
			out.result(limits, (value) => budgetTable([value], out));
		},
	);

	registerAccounts(budget, bind);
	registerBudgetReview(budget, bind);
}

/** Commands that make and change accounts of the tree. */
function registerAccounts(budget: Command, bind: Bind): void {
	const changed = (out: Output, account: BudgetAccount) =>
		out.result(account, (value) => accountTable([value], out));

	bind<{
		kind: (typeof KINDS)[number];
		epsilon: number;
		delta: number;
		parent?: string;
		planned?: true;
		disjoint?: true;
		expires?: string;
		renewEvery?: number;
	}>(
		withLimits(
			budget
				.command("open <account>")
				.description("open an account; of a job, under the job's id")
				.addOption(new Option("--kind <kind>", "what it is for").choices(KINDS).makeOptionMandatory())
				.option("--parent <account>", "the account above it"),
		)
			.option("--planned", "parameters are fixed before data is touched: tighter; data sets and jobs only")
			.option("--disjoint", "no person is in two of the accounts below: they run in parallel")
			.option("--expires <time>", "when it ends, e.g. 2027-01-01", parseTime)
			.option("--renew-every <days>", "begin a new period after so many days", parseInteger),
		async ({ client, out }, [account = ""], options) => {
			const { kind, epsilon, delta, parent, planned, disjoint, expires, renewEvery } = options;
			const opened = await (await client()).call("budget.open", {
				account,
				kind,
				epsilon,
				delta,
				...(parent === undefined ? {} : { parent }),
				composition: planned === true ? "planned" : "adaptive",
				children: disjoint === true ? "disjoint" : "sequential",
				...(expires === undefined ? {} : { expiresAt: expires }),
				...(renewEvery === undefined ? {} : { renewEveryDays: renewEvery }),
			});
			changed(out, opened);
		},
	);

	bind(
		budget
			.command("place <account> <parent>")
			.description("put an account, with all it has spent, below another one"),
		async ({ client, out }, [account = "", parent = ""]) => {
			changed(out, await (await client()).call("budget.place", { account, parent }));
		},
	);

	bind<{ epsilon: number; delta: number }>(
		withLimits(
			budget
				.command("delegate <account>")
				.description("set a part of the parent's limits aside; they become the account's limits"),
		),
		async ({ client, out }, [account = ""], { epsilon, delta }) => {
			changed(out, await (await client()).call("budget.delegate", { account, epsilon, delta }));
		},
	);

	bind<{ epsilon: number; delta?: number }>(
		budget
			.command("transfer <from> <to>")
			.description("move limits from one account to a sibling")
			.requiredOption("--epsilon <epsilon>", "how much of epsilon", parsePositive)
			.option("--delta <delta>", "how much of delta (default: none)", parseDelta),
		async ({ client, out }, [from = "", to = ""], options) => {
			const answer = await (await client()).call("budget.transfer", { from, to, ...options });
			out.result(answer, ({ accounts }) => accountTable(accounts, out));
		},
	);

	bind<{ reason?: string }>(
		budget
			.command("freeze <account>")
			.description("let nothing be charged to an account and what is below it")
			.option("--reason <text>", "why"),
		async ({ client, out }, [account = ""], { reason }) => {
			const params = reason === undefined ? { account } : { account, reason };
			changed(out, await (await client()).call("budget.freeze", params));
		},
	);

	bind(
		budget.command("unfreeze <account>").description("let a frozen account be charged again"),
		async ({ client, out }, [account = ""]) => {
			changed(out, await (await client()).call("budget.unfreeze", { account }));
		},
	);

	bind<{ at?: string }>(
		budget
			.command("expire <account>")
			.description("set the time from which nothing may be charged")
			.option("--at <time>", "e.g. 2027-01-01 (default: now)", parseTime),
		async ({ client, out }, [account = ""], { at = new Date().toISOString() }) => {
			changed(out, await (await client()).call("budget.expire", { account, expiresAt: at }));
		},
	);

	bind(
		budget
			.command("renew <account>")
			.description("begin a new period: limits count anew, the lifetime figure goes on"),
		async ({ client, out }, [account = ""]) => {
			changed(out, await (await client()).call("budget.renew", { account }));
		},
	);

	bind<{ analyst: string; epsilon?: number }>(
		budget
			.command("limit <account>")
			.description("limit what one analyst may spend of an account")
			.requiredOption("--analyst <name>", "the submitting peer's id, or a token's name")
			.option("--epsilon <epsilon>", "the analyst's limit (default: lift it)", parsePositive),
		async ({ client, out }, [account = ""], { analyst, epsilon }) => {
			const params = epsilon === undefined ? { account, analyst } : { account, analyst, epsilon };
			changed(out, await (await client()).call("budget.limit", params));
		},
	);
}

function withLimits(command: Command): Command {
	return command
		.requiredOption("--epsilon <epsilon>", "total epsilon that may be spent", parsePositive)
		.requiredOption("--delta <delta>", "delta at which epsilon is stated, e.g. 1e-6", parseDelta);
}

function budgetTable(budgets: readonly Budget[], out: Output): string {
	return table(
		["DATA SET", "EPSILON", "SPENT", "LEFT", "DELTA", "CHARGES"],
		budgets.map((one) => [
			one.dataset,
			one.epsilon,
			figureOr(one.epsilonSpent),
			Number(figure(one.epsilonRemaining)),
			one.delta,
			one.chargeCount,
		]),
		"No budgets. Set one with althing budget set.",
		out.colors.bold,
	);
}

/** What a table of limits has no room for. */
function about(budget: Budget): string {
	const { method, epsilonSpent, epsilonPlanned, epsilonLifetime, period, analysts, changes = [] } = budget;
	const lines = [
		`Spent epsilon ${figure(epsilonSpent) ?? "unbounded"} by ${method}${
			epsilonPlanned === undefined ? "" : `; ${figure(epsilonPlanned)} if all was fixed in advance`
		}; over all periods ${figure(epsilonLifetime) ?? "unbounded"}.`,
		`Period ${period.number + 1} since ${period.startedAt}${period.endsAt === undefined ? "" : `, ends ${period.endsAt}`}.`,
		...analysts.map(
			({ analyst, epsilon, epsilonSpent: spent }) =>
				`Analyst ${analyst}: spent epsilon ${figure(spent) ?? "unbounded"} of ${epsilon}.`,
		),
		...changes.map(({ at, by, change }) => `${at} ${by}: ${change}`),
	];
	return lines.join("\n");
}

function accountTable(accounts: readonly BudgetAccount[], out: Output): string {
	const depths = new Map<string, number>();
	return table(
		["ACCOUNT", "KIND", "EPSILON", "SPENT", "SET ASIDE", "LEFT", "DELTA", "COMPOSITION", "STATE"],
		accounts.map((one) => {
			const depth = one.parent === undefined ? 0 : (depths.get(one.parent) ?? -1) + 1;
			depths.set(one.account, depth);
			return [
				`${"  ".repeat(depth)}${one.account}`,
				one.kind,
				one.epsilon,
				figureOr(one.epsilonSpent),
				Number(figure(one.epsilonDelegated)),
				Number(figure(one.epsilonRemaining)),
				one.delta,
				one.children === "disjoint" ? "disjoint" : one.composition,
				stateOf(one),
			];
		}),
		"No budgets. Add a data set, or open one with althing budget open.",
		out.colors.bold,
	);
}

function stateOf({ frozen, expiresAt, delegated, period }: BudgetAccount): string {
	const states = [
		...(frozen === undefined ? [] : [frozen === "" ? "frozen" : `frozen: ${frozen}`]),
		...(expiresAt === undefined ? [] : [`expires ${expiresAt}`]),
		...(delegated ? ["delegated"] : []),
		...(period.number === 0 ? [] : [`period ${period.number + 1}`]),
	];
	return states.join(", ") || "open";
}

function chargeTable(budget: Budget, out: Output): string {
	return table(
		["AT", "JOB", "ROUND", "MECHANISM", "PART", "STATE", "SPENT AFTER"],
		budget.charges.map((charge) => [
			charge.at,
			charge.job,
			charge.round,
			charge.mechanism,
			charge.partition,
			charge.state,
			figure(charge.epsilonAfter),
		]),
		"Nothing was charged.",
		out.colors.bold,
	);
}

/** A figure for a column of numbers; a word where nothing finite is proven. */
function figureOr(epsilon: number | undefined): number | string {
	return epsilon === undefined ? "unbounded" : Number(figure(epsilon));
}
