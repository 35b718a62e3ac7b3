/** Runs experiments on every core: each is a simulation of its own, and nothing is shared between them. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { Experiment, Outcome } from "./simulation.ts";

const WORKER = new URL("./experimentWorker.ts", import.meta.url);

/** Outcomes in the order of the experiments. */
export async function runExperiments(experiments: readonly Experiment[]): Promise<Outcome[]> {
	const outcomes: Outcome[] = new Array(experiments.length);
	let next = 0;
	const threads = Math.min(availableParallelism(), experiments.length);
	await Promise.all(
		Array.from({ length: threads }, async () => {
			const worker = new Worker(WORKER);
			try {
				while (next < experiments.length) {
					const place = next++;
					outcomes[place] = await answer(worker, experiments[place]!);
				}
			} finally {
				await worker.terminate();
			}
		}),
	);
	return outcomes;
}

function answer(worker: Worker, experiment: Experiment): Promise<Outcome> {
	return new Promise((resolve, reject) => {
		const answered = (outcome: Outcome) => {
			worker.off("error", reject);
			resolve(outcome);
		};
		worker.once("message", answered);
		worker.once("error", reject);
		worker.postMessage(experiment);
	});
}
