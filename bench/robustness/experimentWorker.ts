/** A thread that simulates one experiment after the other. */
import { parentPort } from "node:worker_threads";
import { type Experiment, simulate } from "./simulation.ts";

parentPort!.on("message", async (experiment: Experiment) => {
	parentPort!.postMessage(await simulate(experiment));
});
