/** A thread that simulates one experiment after the other. */
import { parentPort } from "node:worker_threads";
import { type Experiment, simulate } from "./simulation.ts";

parentPort!.on("message", (experiment: Experiment) => {
	parentPort!.postMessage(simulate(experiment));
});
