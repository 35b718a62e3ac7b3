/** Answers to queries, for people: every number with the interval that the noise alone makes of it. */
import type { QueryAnswer } from "../../src/queries/answer.ts";
import type { Estimate } from "../../src/queries/estimate.ts";
import type { NoisyCounts } from "../../src/queries/tables.ts";
import { type Cell, figure, printable, table } from "./text.ts";

type Heading = (text: string) => string;
const ESTIMATE_HEAD = ["", "ANSWER", "95 % INTERVAL OF THE NOISE", "STANDARD ERROR"];
const NOTHING = "The answer is empty.";

export function queryText(answer: QueryAnswer, heading: Heading): string {
	const rows = (lines: readonly (readonly Cell[])[]) => table(ESTIMATE_HEAD, lines, NOTHING, heading);
	switch (answer.kind) {
		case "count":
			return rows([line("count", answer.count)]);
		case "sum":
			return rows([line("sum", answer.sum)]);
		case "mean":
		case "variance":
			return rows([
				answer.estimate === null
					? [answer.kind, "too few records to tell through the noise", undefined, undefined]
					: line(answer.kind, answer.estimate),
				line("records", answer.records),
			]);
		case "histogram":
			return rows([...counted(answer.axis.cells, answer), line("total", answer.total)]);
		case "contingencyTable": {
			const cells = answer.axes.reduce<string[]>(
				(names, axis) =>
					names.flatMap((name) => axis.cells.map((cell) => (name === "" ? cell : `${name} / ${cell}`))),
				[""],
			);
			const title = answer.axes.map(({ column }) => column).join(" / ");
			return `${printable(title)}\n${rows([...counted(cells, answer), line("total", answer.total)])}`;
		}
		case "topK":
			return rows(answer.top.map(({ category, count }) => line(category, count)));
		case "quantiles":
			return answer.quantiles === null
				? "Too few records to tell quantiles through the noise."
				: table(
						["FRACTION", "ANSWER", "95 % INTERVAL OF THE NOISE"],
						answer.quantiles.map(({ fraction, value, interval }) => [
							fraction,
							figure(value),
							intervalText(interval),
						]),
						NOTHING,
						heading,
					);
	}
}

function line(name: string, { value, interval, standardError }: Estimate): Cell[] {
	return [name, figure(value), intervalText(interval), figure(standardError)];
}

function counted(names: readonly string[], { counts, halfWidth95, standardError }: NoisyCounts): Cell[][] {
	return counts.map((count, index) => [
		names[index],
		figure(count),
		intervalText([count - halfWidth95, count + halfWidth95]),
		figure(standardError),
	]);
}

function intervalText([low, high]: readonly [number, number]): string {
	return `${figure(low)} to ${figure(high)}`;
}
