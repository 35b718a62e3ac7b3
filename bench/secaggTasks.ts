/** Worker thread of the secagg bench: vector work of a thread's participants, as a node has it done by its workers. */
import { parentPort } from "node:worker_threads";
import {
	type AggregationTask,
	type AggregationTaskResult,
	runAggregationTask,
} from "../protocols/aggregation/index.ts";

export interface ToTasks {
	readonly id: number;
	readonly task: AggregationTask;
}

export type FromTasks =
	| "ready"
	| { readonly id: number; readonly result: AggregationTaskResult; readonly seconds: number };

const port = parentPort;
if (port === null) throw new Error("this script runs as a worker thread");

port.on("message", ({ id, task }: ToTasks) => {
	const before = process.threadCpuUsage();
	const result = runAggregationTask(task);
	const { user, system } = process.threadCpuUsage(before);
	port.postMessage({ id, result, seconds: (user + system) / 1e6 } satisfies FromTasks);
});
port.postMessage("ready" satisfies FromTasks);
