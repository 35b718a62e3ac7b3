/** `althing privacy ...`: planning and auditing; nothing here charges a budget. */
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { allocationStrategies } from "../../rpc/allocationStrategies.ts";
import type { ParamsOf, ResultOf } from "../../rpc/methods/index.ts";
import { parseInteger, parsePositive } from "../arguments.ts";
import { exitCodes } from "../exitCodes.ts";
import type { Output } from "../output.ts";
import type { Bind, Session } from "../session.ts";
import { fields, figure, table } from "../text.ts";

/** A plan by rounds is made of so many phases at most. */
const MOST_PHASES = 20;

interface PlanOptions {
	readonly epsilon: number;
	readonly delta: number;
	readonly strategy: (typeof allocationStrategies)[number];
	readonly ratio?: number;
	readonly rounds?: number;
	readonly sampling?: number;
	readonly phases?: string;
}

interface RoundsOptions {
	readonly rounds: number;
	readonly noise: number;
	readonly sampling: number;
}

interface OptimizeOptions {
	readonly epsilon: number;
	readonly delta: number;
	readonly records: number;
	readonly parameters: number;
	readonly limit?: number;
	readonly signal?: number;
	readonly work?: number;
	readonly frontier?: number[];
}

interface AuditOptions {
	readonly data: string;
	readonly job: string;
	readonly attacker: "sums" | "model";
	readonly canaries?: number;
	readonly rounds?: number;
	readonly participants?: number;
	readonly significance?: number;
}

export function registerPrivacy(program: Command, bind: Bind): void {
	const privacy = program.command("privacy").description("plan privacy budgets and audit privacy claims");

	bind<PlanOptions>(
		privacy
			.command("plan")
			.description("divide epsilon and delta over rounds or named phases")
			.requiredOption("--epsilon <epsilon>", "total epsilon", parsePositive)
			.requiredOption("--delta <delta>", "total delta, e.g. 1e-6", parsePositive)
			.addOption(
				new Option("--strategy <strategy>", "how the shares develop")
					.choices(allocationStrategies)
					.default("uniform"),
			)
			.option("--ratio <ratio>", "geometric: each round's share over that of the one before", parsePositive)
			.option("--rounds <rounds>", "number of rounds", parseInteger)
			.option("--sampling <probability>", "with which each record joins a round; default 1", parsePositive)
			.option(
				"--phases <file>",
				"instead of rounds: YAML with phases, each of name, rounds, samplingProbability, sensitivity, weight",
			),
		plan,
	);

	bind<RoundsOptions>(
		privacy
			.command("cost")
			.addArgument(new Argument("<dataset>", "data set whose budget is asked about"))
			.description("what more rounds would cost a data set's budget, and how many still fit")
			.requiredOption("--rounds <rounds>", "number of rounds", parseInteger)
			.requiredOption("--noise <multiplier>", "noise multiplier of a round", parsePositive)
			.option("--sampling <probability>", "with which each record joins a round", parsePositive, 1),
		async ({ client, out }, [dataset = ""], { rounds, noise, sampling }) => {
			const asked = { dataset, rounds, noiseMultiplier: noise, samplingProbability: sampling };
			const answer = await (await client()).call("privacy.cost", asked);
			out.result(answer, (cost) =>
				fields([
					["epsilon now", figure(cost.before)],
					[`after ${rounds} rounds`, figure(cost.after)],
					["cost", figure(cost.cost)],
					["fits", cost.fits],
					["rounds that fit", cost.largestRounds],
				]),
			);
		},
	);

	bind<{ windowDays?: number }>(
		privacy
			.command("forecast <dataset>")
			.description("when a data set's budget is gone if charges go on as lately")
			.option("--window-days <days>", "the past that stands for the future; default 30", parsePositive),
		async ({ client, out }, [dataset = ""], { windowDays }) => {
			const answer = await (await client()).call("privacy.forecast", { dataset, ...given({ windowDays }) });
			out.result(answer, (forecast) => forecastText(forecast, out));
		},
	);

	bind<OptimizeOptions>(
		privacy
			.command("optimize")
			.description("the sampling, rounds and noise that keep most of the signal within a target")
			.requiredOption("--epsilon <epsilon>", "total epsilon", parsePositive)
			.requiredOption("--delta <delta>", "total delta, e.g. 1e-6", parsePositive)
			.requiredOption("--records <count>", "records over all sites, public or estimated", parseInteger)
			.requiredOption("--parameters <count>", "parameters of the model", parseInteger)
			.option("--limit <ratio>", "noise-to-signal ratio wanted at most; default 1", parsePositive)
			.option(
				"--signal <share>",
				"norm of the mean clipped gradient over the clipping norm; default 0.3",
				parsePositive,
			)
			.option(
				"--work <gradients>",
				"gradients over the whole job at most; default 100 a record",
				parsePositive,
			)
			.option("--frontier <epsilons>", "list the best settings for these epsilons, e.g. 0.5,1,2", parseList),
		optimize,
	);

	bind<AuditOptions>(
		privacy
			.command("audit")
			.description(
				"train with canaries on this node's own records and test the job's claim; exit code 1 on a violation",
			)
			.requiredOption("--data <set>", "this organization's data set")
			.requiredOption("--job <file>", "the job whose settings are audited")
			.addOption(
				new Option(
					"--attacker <attacker>",
					"sums: reads every round's sum, canaries are single gradients; model: sees the final model, canaries are mislabelled records",
				)
					.choices(["sums", "model"])
					.default("sums"),
			)
			.option("--canaries <count>", "default 2000, at most one a parameter or record", parseInteger)
			.option("--rounds <rounds>", "default the job's, at most 200", parseInteger)
			.option("--participants <count>", "sites assumed in each sum; default 3", parseInteger)
			.option("--significance <p>", "chance of calling a sound job a violation; default 0.01", parsePositive),
		audit,
	);
}

async function plan({ client, out }: Session, _: string[], options: PlanOptions): Promise<void> {
	const { epsilon, delta, strategy, ratio } = options;
	const phases = (await phasesOf(options)) as ParamsOf<"privacy.plan">["phases"];
	const asked = { epsilon, delta, strategy, phases, ...given({ ratio }) };
	const answer = await (await client()).call("privacy.plan", asked);
	out.result(answer, (allocation) =>
		[
			table(
				["PHASE", "ROUNDS", "NOISE", "SIGMA", "EPSILON ALONE"],
				allocation.phases.map((phase) => [
					phase.name,
					phase.rounds,
					Number(figure(phase.noiseMultiplier)),
					Number(figure(phase.sigma)),
					Number(figure(phase.epsilonAlone)),
				]),
				"No phases.",
				out.colors.bold,
			),
			fields([
				["together", `epsilon ${figure(allocation.epsilon)} at delta ${allocation.delta}`],
				["expected loss", figure(allocation.loss)],
			]),
		].join("\n\n"),
	);
}

/** Phases of a file, or rounds cut into phases of nearly equal length. */
async function phasesOf({ rounds, sampling = 1, phases }: PlanOptions): Promise<unknown> {
	if (phases !== undefined) {
		const { readObjectFile } = await import("../inputFile.ts");
		return (await readObjectFile(phases)).phases;
	}
	const total = rounds ?? 1;
	const count = Math.min(MOST_PHASES, total);
	let done = 0;
	return Array.from({ length: count }, (_, i) => {
		const end = Math.round((total * (i + 1)) / count);
		const first = done + 1;
		done = end;
		const name = first === end ? `round ${end}` : `rounds ${first} to ${end}`;
		return { name, rounds: end - first + 1, samplingProbability: sampling };
	});
}

function forecastText(forecast: ResultOf<"privacy.forecast">, out: Output): string {
	const head = fields([
		["epsilon spent", `${figure(forecast.epsilonSpent)} of ${forecast.epsilonLimit}`],
		["recent charges", forecast.recentCharges],
		[
			"budget gone",
			forecast.exhaustedAt ?? (forecast.recentCharges === 0 ? "nothing was charged lately" : "not in sight"),
		],
	]);
	const course = table(
		["AT", "EPSILON"],
		forecast.course.map(({ at, epsilon }) => [at, Number(figure(epsilon))]),
		"",
		out.colors.bold,
	);
	return course === "" ? head : `${head}\n\n${course}`;
}

async function optimize({ client, out }: Session, _: string[], options: OptimizeOptions): Promise<void> {
	const { epsilon, delta, records, parameters, limit, signal, work, frontier } = options;
	const answer = await (await client()).call("privacy.optimize", {
		epsilon,
		delta,
		records,
		parameters,
		...given({ utilityLimit: limit, largestWork: work, frontier }),
		...(signal === undefined ? {} : { clipping: [{ norm: 1, signal }] }),
	});
	out.result(answer, ({ best, meetsLimit, excess, wouldMeet, frontier: settings }) => {
		const rows = [{ ...best, epsilon }, ...settings];
		const text = table(
			["EPSILON", "SAMPLING", "ROUNDS", "NOISE", "NOISE TO SIGNAL"],
			rows.map((row) => [
				row.epsilon,
				row.samplingProbability,
				row.rounds,
				Number(figure(row.noiseMultiplier)),
				Number(figure(row.noiseToSignal)),
			]),
			"No settings.",
			out.colors.bold,
		);
		const verdict = meetsLimit
			? "The limit is met."
			: `The limit is missed by a factor of ${figure(excess)}. ${wouldMeet?.records} records would meet it${
					wouldMeet?.epsilon === undefined ? "" : `, or epsilon ${figure(wouldMeet.epsilon)}`
				}.`;
		return `${text}\n\n${verdict}`;
	});
}

async function audit({ client, out }: Session, _: string[], options: AuditOptions): Promise<number> {
	const { data, job, attacker, canaries, rounds, participants, significance } = options;
	const { readJobFile } = await import("../jobFile.ts");
	const spec = await readJobFile(job);
	if (!out.json) out.note("Training once with canaries; this takes as long as the job's rounds do.");
	const answer = await (await client()).call("privacy.audit", {
		dataset: data,
		spec,
		attacker,
		...given({ canaries, rounds, participants, significance }),
	});
	out.result(answer, (result) =>
		[
			fields([
				["claimed epsilon", `${figure(result.claimedEpsilon)} at delta ${result.delta}`],
				["rounds", result.rounds],
				["canaries", result.canaries],
				["epsilon at least", `${figure(result.oneRun.epsilonLower)}, whatever the mechanism does`],
				[
					"measured",
					`at least ${figure(result.independent.gaussianEpsilonLower)}, if canaries do not touch each other and noise is Gaussian`,
				],
				["wrong with probability", `at most ${result.significance}`],
			]),
			...(result.violated ? [] : ["No violation found. That is no proof of privacy: see docs/auditing.md."]),
		].join("\n\n"),
	);
	// The verdict is part of the JSON document; people get it as an error.
	if (out.json) return answer.violated ? exitCodes.failed : exitCodes.ok;
	const { requireNoViolation } = await import("../../../src/privacy/auditing/violation.ts");
	requireNoViolation(answer);
	return exitCodes.ok;
}

/** The options that were given: absent ones take the node's defaults. */
function given<T extends Record<string, unknown>>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
	return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

function parseList(text: string): number[] {
	const values = text.split(",").map(Number);
	if (values.some((value) => !(value > 0))) {
		throw new InvalidArgumentError("It must be positive numbers, separated by commas.");
	}
	return values;
}
