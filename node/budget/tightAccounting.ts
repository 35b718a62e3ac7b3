/** The tight accountant, away from the event loop: a composition may take it tens of milliseconds. */
import type { Stated, TightQuestion } from "../../src/privacy/budget/statement.ts";
import { createWorkerPool, type WorkerPool } from "../workers/workerPool.ts";

/**
 * @returns a pool with a thread of its own, started by the first question: a release that has to be
 *   charged must not wait for another job's training
 */
export function createTightAccountant(): WorkerPool<TightQuestion, Stated> {
	const script = new URL("./tightAccountingWorker.ts", import.meta.url);
	return createWorkerPool<TightQuestion, Stated>({ script, threads: 1 });
}
