/** The privacy accountant: cold and warm CPU time per epsilon and per calibration, beside the library's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { calibrateNoiseMultiplier, roundEvent } from "../src/privacy/accounting/calibration.ts";
import { selfComposed } from "../src/privacy/accounting/events.ts";
import { pldEpsilon } from "../src/privacy/accounting/pld/index.ts";
import { type Bench, median, type Table } from "./bench.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly repeat: readonly number[];
}

/** One setting of the published runtimes: an epsilon to find, or a noise multiplier to calibrate. */
interface Runtime {
	readonly q: number;
	readonly steps: number;
	readonly delta: number;
	readonly sigma?: number;
	readonly epsilon?: number;
	readonly epsilon_pld?: number;
	readonly sigma_pld?: number;
	readonly dp_accounting_pld_compose_cpu_ms?: number;
	readonly dp_accounting_pld_get_epsilon_cpu_ms?: number;
	readonly calibrate_pld_cpu_ms?: number;
}

const RUNTIMES = join(import.meta.dirname, "../test/vectors/dp-accounting/dp-accounting.runtimes.json");

export const accounting: Bench<Options> = {
	name: "accounting",
	summary: "privacy-loss distributions: CPU per epsilon and per calibration, and the library's figures",
	options: { repeat: { description: "warm runs, of which the median counts", default: [5] } },
	libraries: [],
	notes: [
		"Library figures are those of test/vectors/dp-accounting/dp-accounting.runtimes.json, measured on another day on a shared machine: orders of magnitude, not a race.",
		"Cold is the first evaluation of a setting in this process, warm the median of repeats; both bounds are computed each time. One more step is a warm evaluation of steps + 1.",
		"The grid is that of test/vectors/dp-accounting/dp-accounting.public.json (sampling probability, noise multiplier, delta) at 100000 steps; calibrations are for every such probability and epsilon 0.1, 1 and 10.",
		"CPU time of the process; with other work on the machine it is several times too high.",
	],
	async run({ repeat }) {
		const { rows } = JSON.parse(readFileSync(RUNTIMES, "utf8")) as { rows: readonly Runtime[] };
		const times = repeat[0] ?? 1;
		const epsilons: Table["rows"][number][] = [];
		const calibrations: Table["rows"][number][] = [];
		for (const row of rows) {
			const { q, steps, delta } = row;
			if (row.sigma !== undefined) {
				const { sigma } = row;
				const evaluate = (count: number) => pldEpsilon(selfComposed(roundEvent(q, sigma), count), delta);
				const cold = cpuMs(() => evaluate(steps));
				const warm = Array.from({ length: times }, () => cpuMs(() => evaluate(steps)));
				const next = Array.from({ length: times }, () => cpuMs(() => evaluate(steps + 1)));
				const { lower, upper } = evaluate(steps);
				epsilons.push({
					q,
					sigma,
					steps,
					"cold ms": cold,
					"warm ms": median(warm),
					"one more step ms": median(next),
					"library ms":
						(row.dp_accounting_pld_compose_cpu_ms ?? 0) + (row.dp_accounting_pld_get_epsilon_cpu_ms ?? 0),
					epsilon: upper.toPrecision(6),
					"upper/lower - 1": (upper / lower - 1).toExponential(1),
					"library epsilon": (row.epsilon_pld ?? Number.NaN).toPrecision(6),
				});
			} else if (row.epsilon !== undefined) {
				const plan = { epsilon: row.epsilon, delta, samplingProbability: q, steps };
				const cold = cpuMs(() => calibrateNoiseMultiplier(plan));
				calibrations.push({
					q,
					steps,
					epsilon: row.epsilon,
					"cold ms": cold,
					"library ms": row.calibrate_pld_cpu_ms ?? Number.NaN,
					"noise multiplier": calibrateNoiseMultiplier(plan).toPrecision(6),
					"library's": (row.sigma_pld ?? Number.NaN).toPrecision(6),
				});
			}
		}
		return [
			{ title: "medians and worst cases over the grid", rows: gridTimes() },
			{ title: "epsilon of a run", rows: epsilons },
			{ title: "calibration", rows: calibrations },
		];
	},
};

/** Every setting once: none has been evaluated before in this process. */
function gridTimes(): Table["rows"] {
	const { entries } = JSON.parse(readFileSync(VECTORS, "utf8")) as {
		readonly entries: readonly { readonly family: string; readonly params: Setting }[];
	};
	const settings = new Map<string, Setting>();
	for (const { family, params } of entries) {
		const { q, sigma, delta } = params;
		if (family === "dpsgd_poisson_gaussian" && q < 1) settings.set(`${q} ${sigma} ${delta}`, params);
	}
	const cold: number[] = [];
	const next: number[] = [];
	const calibrated: number[] = [];
	for (const { q, sigma, delta } of settings.values()) {
		const evaluate = (count: number) => pldEpsilon(selfComposed(roundEvent(q, sigma), count), delta);
		cold.push(cpuMs(() => evaluate(GRID_STEPS)));
		next.push(cpuMs(() => evaluate(GRID_STEPS + 1)));
	}
	for (const q of new Set([...settings.values()].map((setting) => setting.q))) {
		for (const epsilon of [0.1, 1, 10]) {
			const plan = { epsilon, delta: 1e-6, samplingProbability: q, steps: GRID_STEPS };
			calibrated.push(cpuMs(() => calibrateNoiseMultiplier(plan)));
		}
	}
	const row = (what: string, times: readonly number[]) => ({
		what,
		settings: times.length,
		"median ms": median(times),
		"worst ms": Math.max(...times),
	});
	return [row("epsilon, cold", cold), row("one more step", next), row("calibration", calibrated)];
}

interface Setting {
	readonly q: number;
	readonly sigma: number;
	readonly delta: number;
}

const GRID_STEPS = 100_000;
const VECTORS = join(import.meta.dirname, "../test/vectors/dp-accounting/dp-accounting.public.json");

function cpuMs(run: () => unknown): number {
	const before = process.cpuUsage();
	run();
	const { user, system } = process.cpuUsage(before);
	return (user + system) / 1000;
}
