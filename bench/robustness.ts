/**
 * Attacks against ways to aggregate: accuracy over several seeds, and whether what must hold does
 * (acceptance), each with an attack that must succeed where nothing is done about it.
 */
import type { Bench, Table } from "./bench.ts";
import { type Part, type PartName, parts, type Requirement } from "./robustness/acceptance.ts";
import { runExperiments } from "./robustness/parallel.ts";
import { protocolPart } from "./robustness/protocolPart.ts";
import type { Experiment, Outcome } from "./robustness/simulation.ts";

/** Seeds up to here were looked at when rules and settings were chosen; these figures are of later ones. */
const FIRST_SEED = 1;
const PROTOCOL = "protocol";
const QUICK = { rounds: 3, seeds: 1 };

type Results = ReadonlyMap<string, readonly Outcome[]>;

function key({ defence, attack }: Pick<Experiment, "defence" | "attack">): string {
	return `${defence}/${attack}`;
}

async function measure(part: Part, seeds: number): Promise<Results> {
	const { task, defences, attacks, only } = part;
	const experiments = defences.flatMap((defence) =>
		(only?.[defence] ?? attacks).flatMap((attack) =>
			Array.from({ length: seeds }, (_, i) => ({ task, attack, defence, seed: FIRST_SEED + i })),
		),
	);
	const outcomes = await runExperiments(experiments);
	const results = new Map<string, Outcome[]>();
	for (const [place, outcome] of outcomes.entries()) {
		const name = key(experiments[place]!);
		results.set(name, [...(results.get(name) ?? []), outcome]);
	}
	return results;
}

function points(
	outcomes: readonly Outcome[],
	of: keyof Outcome,
): { mean: number; least: number; most: number } {
	const values = outcomes.map((outcome) => 100 * outcome[of]);
	return {
		mean: values.reduce((sum, value) => sum + value, 0) / values.length,
		least: Math.min(...values),
		most: Math.max(...values),
	};
}

function accuracyTable({ title, defences, attacks }: Part, results: Results): Table {
	const cell = (outcomes: readonly Outcome[] | undefined) => {
		if (outcomes === undefined) return "";
		const { mean, least } = points(outcomes, "accuracy");
		return `${mean.toFixed(1)} (${least.toFixed(1)})`;
	};
	const rows = attacks.map((attack) => ({
		attack,
		...Object.fromEntries(
			defences.map((defence) => [`${defence} %`, cell(results.get(key({ defence, attack })))]),
		),
	}));
	return { title: `${title}: accuracy, mean (least) over the seeds`, rows };
}

function exclusionTable({ title, defences, attacks }: Part, results: Results): Table {
	const selecting = defences.filter((defence) =>
		attacks.some((attack) =>
			results
				.get(key({ defence, attack }))
				?.some(({ honestExcluded, attackersExcluded }) => honestExcluded + attackersExcluded > 0),
		),
	);
	const rows = attacks.map((attack) => ({
		attack,
		...Object.fromEntries(
			selecting.map((defence) => {
				const outcomes = results.get(key({ defence, attack }));
				if (outcomes === undefined) return [defence, ""];
				const share = (of: keyof Outcome) => points(outcomes, of).mean.toFixed(0);
				return [defence, `${share("attackersExcluded")} / ${share("honestExcluded")}`];
			}),
		),
	}));
	return { title: `${title}: left out, % of the attackers' vectors / of the honest ones`, rows };
}

function acceptanceTable(part: Part, results: Results): Table & { readonly failed: number } {
	const clean = points(results.get(key({ defence: "mean", attack: "none" }))!, "accuracy").mean;
	const rows = part.requirements.flatMap((requirement) => judged(requirement, results, clean));
	const failed = rows.filter(({ holds }) => holds === "NO").length;
	return { title: `${part.title}: acceptance; clean is ${clean.toFixed(1)}`, rows, failed };
}

function judged(requirement: Requirement, results: Results, clean: number) {
	const { defence, attack, accuracy, fails, backdoorBelow } = requirement;
	const outcomes = results.get(key(requirement))!;
	const lines: { wanted: string; measured: number; holds: boolean }[] = [];
	const reached = points(outcomes, "accuracy").mean;
	if (accuracy !== undefined) {
		const least = "atLeast" in accuracy ? accuracy.atLeast : clean - accuracy.belowClean;
		lines.push({ wanted: `accuracy >= ${least.toFixed(1)}`, measured: reached, holds: reached >= least });
	}
	const success = points(outcomes, "backdoorSuccess");
	if (backdoorBelow !== undefined)
		lines.push({
			wanted: `every backdoor success < ${backdoorBelow}`,
			measured: success.most,
			holds: success.most < backdoorBelow,
		});
	if (fails !== undefined && "accuracyBelow" in fails)
		lines.push({
			wanted: `control: accuracy < ${fails.accuracyBelow}`,
			measured: reached,
			holds: reached < fails.accuracyBelow,
		});
	if (fails !== undefined && "backdoorAbove" in fails)
		lines.push({
			wanted: `control: every backdoor success > ${fails.backdoorAbove}`,
			measured: success.least,
			holds: success.least > fails.backdoorAbove,
		});
	return lines.map(({ wanted, measured, holds }) => ({
		defence,
		attack,
		wanted,
		measured: measured.toFixed(1),
		holds: holds ? "yes" : "NO",
	}));
}

export const robustness: Bench<{ part: string; seeds: readonly number[]; quick: string }> = {
	name: "robustness",
	summary: "attacks against ways to aggregate, and their acceptance; exit code 1 when a line of it fails",
	options: {
		part: {
			description: `which experiments: ${[...Object.keys(parts), PROTOCOL].join(", ")}, or all`,
			default: "all",
			choices: ["all", ...Object.keys(parts), PROTOCOL],
		},
		seeds: { description: "how many deals of the records, from seed 1", default: [5] },
		quick: {
			description: "yes: three rounds of one seed, to see that it runs; nothing is accepted or refused",
			default: "no",
			choices: ["no", "yes"],
		},
	},
	libraries: ["onnxruntime-node"],
	notes: [
		"Settings, rules and their constants were chosen on seeds 101 to 103; what is shown is of seeds 1 and up.",
		"The attackers know every honest vector of the round and collude; under norm_bound they use all of the bound, and vote for a larger one.",
		"mnist10k: images at half width (means of 2 x 2 squares), sorted by label and cut among the honest sites; attackers have records of every label. Batches of 32, momentum 0.9, 600 rounds whose step falls in a line from 3 to nothing; centred clipping with radius 10, buckets of two drawn anew in each round. mimic_farthest is our own, harder mimic; the _bare attackers keep no momentum, as in the published experiments.",
		"Clean is the plain mean without attack. A fifth of the records is for the test and nobody's.",
		"Vectors are summed in the clear, but for the part protocol, which shows that sums and selections under masks are the same.",
		"aligned_drift is our own attack on norm_bound_reputation, by somebody who knows the rule: nothing is required against it.",
	],
	async run({ part, seeds, quick }) {
		const names = (part === "all" ? Object.keys(parts) : part === PROTOCOL ? [] : [part]) as PartName[];
		const tables: Table[] = [];
		let failed = 0;
		if (part === "all" || part === PROTOCOL) {
			const { failed: unequal, ...table } = protocolPart(quick === "yes");
			failed += unequal;
			tables.push(table);
		}
		for (const name of names) {
			const whole: Part = parts[name];
			const hasty = quick === "yes";
			const chosen = hasty ? { ...whole, task: { ...whole.task, rounds: QUICK.rounds } } : whole;
			const results = await measure(chosen, hasty ? QUICK.seeds : seeds[0]!);
			tables.push(accuracyTable(chosen, results), exclusionTable(chosen, results));
			if (hasty || chosen.requirements.length === 0) continue;
			const acceptance = acceptanceTable(chosen, results);
			failed += acceptance.failed;
			tables.push(acceptance);
		}
		if (failed > 0) process.exitCode = 1;
		return tables;
	},
};
