/** What each job takes of this node's worker threads: for the status, the metrics and whoever looks for the heavy one. */
import type { TaskTimes } from "../workers/workerPool.ts";

export interface JobUse {
	readonly job: string;
	/** Tasks handed to the worker threads and not finished: waiting, or being worked on. */
	readonly outstanding: number;
	/** Tasks finished, the seconds they held a thread, and the longest that one waited for it. */
	readonly tasks: number;
	readonly threadSeconds: number;
	readonly longestWaitSeconds: number;
}

type Counted = { -readonly [K in keyof Omit<JobUse, "job">]: JobUse[K] };

export class JobUses {
	readonly #uses = new Map<string, Counted>();

	/** Counts one task of a job, from here until it is over. */
	async count<R>(job: string, run: (onMeasured: (times: TaskTimes) => void) => Promise<R>): Promise<R> {
		const use = this.#uses.get(job) ?? { outstanding: 0, tasks: 0, threadSeconds: 0, longestWaitSeconds: 0 };
		this.#uses.set(job, use);
		use.outstanding += 1;
		try {
			return await run(({ waitedMs, ranMs }) => {
				use.tasks += 1;
				use.threadSeconds += ranMs / 1000;
				use.longestWaitSeconds = Math.max(use.longestWaitSeconds, waitedMs / 1000);
			});
		} finally {
			use.outstanding -= 1;
		}
	}

	all(): JobUse[] {
		return [...this.#uses].map(([job, use]) => ({ job, ...use }));
	}

	/** The job has ended here. */
	forget(job: string): void {
		this.#uses.delete(job);
	}
}
