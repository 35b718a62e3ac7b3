/** The worker's side of the pool. */
import { parentPort, type Transferable } from "node:worker_threads";
import { AlthingError } from "../../crypto/error.ts";
import { describeError, type ReplyMessage, type TaskMessage } from "./messages.ts";

/** A task's result and the buffers to move, not copy, to the other side. */
export interface TaskOutcome<Result> {
	readonly result: Result;
	readonly transfer?: readonly Transferable[];
}

/**
 * Answers the pool's tasks one after another; called once, from the worker script.
 * An error `handle` throws rejects that task alone.
 */
export function serveTasks<Task, Result>(
	handle: (task: Task) => TaskOutcome<Result> | Promise<TaskOutcome<Result>>,
): void {
	const port = parentPort;
	if (port === null)
		throw new AlthingError("workers.not_a_worker", "serveTasks runs in a worker thread only.");
	port.on("message", async ({ id, task }: TaskMessage) => {
		try {
			const { result, transfer = [] } = await handle(task as Task);
			port.postMessage({ id, result } satisfies ReplyMessage, [...transfer]);
		} catch (error) {
			port.postMessage({ id, error: describeError(error) } satisfies ReplyMessage);
		}
	});
}
