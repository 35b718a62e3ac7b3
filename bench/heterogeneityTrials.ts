/** The worker thread of the heterogeneity benchmark: whole trainings, one after the other. */
import { serveTasks } from "../node/workers/serveTasks.ts";
import { type Experiment, jobOf, type Method } from "./heterogeneityMethods.ts";
import { dealUnevenly, trainTogether } from "./sitesInOneProcess.ts";

export interface Trial {
	readonly method: Method;
	readonly experiment: Omit<Experiment, "trainingRecords" | "largestSite">;
	readonly sites: number;
	readonly records: number;
	readonly alpha: number;
	readonly seed: number;
}

export interface TrialResult {
	/** Mean over the sites of each one's accuracy on its own held-out records, and the least of them. */
	readonly mean: number;
	readonly worst: number;
}

async function run({ method, experiment, sites, records, alpha, seed }: Trial): Promise<TrialResult> {
	const plain = jobOf(method, { ...experiment, privacy: "none", trainingRecords: 1, largestSite: 1 });
	const data = dealUnevenly(plain, { sites, alpha, records, seed });
	const rows = data.map(({ train }) => train.rows);
	const spec = jobOf(method, {
		...experiment,
		trainingRecords: rows.reduce((sum, count) => sum + count, 0),
		largestSite: Math.max(...rows),
	});
	const who = { participants: sites, corruption: 1, minimumSurvivors: sites };
	const { ownAccuracies } = await trainTogether(spec, who, data, seed);
	return {
		mean: ownAccuracies.reduce((sum, one) => sum + one, 0) / sites,
		worst: Math.min(...ownAccuracies),
	};
}

serveTasks<Trial, TrialResult>(async (task) => ({ result: await run(task) }));
