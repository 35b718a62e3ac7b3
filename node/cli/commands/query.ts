/** `althing query ...` */
import { Argument, type Command } from "commander";
import { AlthingError } from "../../../crypto/error.ts";
import type { QueryAnswer } from "../../../src/queries/answer.ts";
import type { RpcClient } from "../../rpc/client.ts";
import { parseInteger, parsePositive } from "../arguments.ts";
import { exitCodes } from "../exitCodes.ts";
import { type HoldsClasses, type QueryOptions, querySpecOf } from "../queryArguments.ts";
import { queryText } from "../queryText.ts";
import type { Bind, Outcome, Session } from "../session.ts";
import { figure, table } from "../text.ts";

const KINDS = ["count", "sum", "mean", "variance", "histogram", "quantiles", "topK", "contingencyTable"];

const EXAMPLES = `
Needed beside --data and --epsilon: count nothing; sum, mean, variance --column --bounds;
quantiles --column --bounds; histogram --by; topK --by (categories) --top; contingencyTable --by --by.

Examples:
  althing query count --data letter-recognition --where lettr=A --epsilon 0.5
  althing query mean --data breast-cancer --column radius_mean --bounds 5,30 --epsilon 1
  althing query quantiles --data breast-cancer --column radius_mean --bounds 0,40 --fractions 0.1,0.5,0.9 --epsilon 1
  althing query contingencyTable --data breast-cancer --by diagnosis=benign,malignant --by radius_mean:0,10,15,20,40 \\
    --federation --epsilon 1 --delta 1e-6`;

interface AskOptions extends QueryOptions {
	readonly data: string;
	readonly federation?: boolean;
	readonly timeout?: number;
}

const repeated = (value: string, before: readonly string[] = []): string[] => [...before, value];

export function registerQuery(program: Command, bind: Bind): void {
	const query = program
		.command("query")
		.description("ask questions of the records, answered with noise and charged to the privacy budget");

	bind<AskOptions>(
		query
			.command("ask", { isDefault: true })
			.description("ask one question; `ask` may be left out")
			.addArgument(new Argument("<kind>", "what to ask").choices(KINDS))
			.requiredOption("--data <set>", "name of the data set")
			.option("--federation", "ask every organization that takes part, under secure aggregation")
			.option("--column <name>", "the column of a sum, mean, variance or quantiles")
			.option("--bounds <least,largest>", "public bounds; values beyond are clamped to them")
			.option(
				"--by <dimension>",
				"column=value,value,... or column:edge,edge,...; again for each dimension of a table",
				repeated,
			)
			.option("--where <condition>", "column=value or column:least..largest; all must hold", repeated)
			.option("--fractions <list>", "fractions of the quantiles; 0.25,0.5,0.75 by default")
			.option("--top <k>", "how many categories topK names", parseInteger)
			.option(
				"--levels <levels>",
				"quantiles are told to 1 / 4^levels of the bounds; 5 by default",
				parseInteger,
			)
			.option(
				"--maximum-records <count>",
				"public: no site has more records than this; 1000000 by default",
				parseInteger,
			)
			.requiredOption("--epsilon <epsilon>", "privacy loss that the answer may cost", parsePositive)
			.option("--delta <delta>", "e.g. 1e-6; needed with --federation", parsePositive)
			.option("--timeout <seconds>", "wait no longer for the federation; exit code 7", parsePositive)
			.addHelpText("after", EXAMPLES),
		(session, [kind = ""], options) => ask(session, kind, options),
	);

	bind<{ data: string }>(
		query
			.command("release <file>")
			.description("answers to a file of queries, each chosen by the exponential mechanism")
			.requiredOption("--data <set>", "name of the data set"),
		async ({ client, out }, [file = ""], { data }) => {
			const { readReleaseFile } = await import("../jobFile.ts");
			const release = await readReleaseFile(file);
			const answer = await (await client()).call("query.release", { dataset: data, release });
			out.result(answer, ({ answers, charged }) =>
				[
					table(
						["QUERY", "ANSWER", "WITHIN (95 %)"],
						answers.map((one) => [one.kind, one.answer, figure(one.error95)]),
						"No answers.",
						out.colors.bold,
					),
					`Charged to ${data}: epsilon ${charged.epsilon}, delta ${charged.delta}.`,
				].join("\n\n"),
			);
		},
	);
}

async function ask(session: Session, kind: string, options: AskOptions): Promise<Outcome> {
	const { out } = session;
	const client = await session.client();
	const query = querySpecOf(kind, options, await classColumnsOf(client, options.data));
	if (options.federation !== true) {
		const answer = await client.call("query.ask", { dataset: options.data, query });
		out.result(answer, ({ answer: found, charged }) =>
			[
				queryText(found as unknown as QueryAnswer, out.colors.bold),
				`Charged to ${options.data}: epsilon ${charged.epsilon}, delta ${charged.delta}.`,
			].join("\n\n"),
		);
		return exitCodes.ok;
	}
	const spec = {
		name: `query-${kind.toLowerCase()}`,
		technique: "query",
		data: { set: options.data },
		query,
	};
	const { id } = await client.call("job.submit", { spec });
	out.note(`Proposed as job ${id}.`);
	const { watchJob } = await import("../watch.ts");
	const code = await watchJob({ ...session, out: { ...out, line: () => undefined } }, id, options.timeout);
	if (code === exitCodes.interrupted) return code;
	const detail = await client.call("job.show", { job: id });
	if (detail.answer === undefined) {
		throw new AlthingError(
			detail.state === "rejected" ? "policy.query_refused" : "query.not_answered",
			`Job ${id} ended as ${detail.state} without an answer${detail.reason === undefined ? "" : `: ${detail.reason}`}.`,
			{ job: id, state: detail.state },
		);
	}
	const survivors = detail.history.at(-1)?.survivors.length ?? 0;
	out.result({ job: id, survivors, answer: detail.answer }, ({ answer }) =>
		[
			queryText(answer as unknown as QueryAnswer, out.colors.bold),
			`Answered by ${survivors} organizations together.`,
		].join("\n\n"),
	);
	return exitCodes.ok;
}

/** A data set that is not registered here has columns that only the other organizations know: numbers then. */
async function classColumnsOf(client: RpcClient, dataset: string): Promise<HoldsClasses> {
	try {
		const { columns } = await client.call("data.show", { name: dataset });
		const classes = new Set(columns.filter(({ kind }) => kind === "label (class)").map(({ name }) => name));
		return (column) => classes.has(column);
	} catch (error) {
		if (error instanceof AlthingError && error.code === "data.not_found") return () => false;
		throw error;
	}
}
