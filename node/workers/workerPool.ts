/**
 * A small pool of worker threads for everything that would hold up the event loop for more
 * than about 5 ms: training, mask expansion, share checks, hashing of big vectors.
 *
 *     const pool = createWorkerPool<Task, Result>({ script: new URL("./taskWorker.ts", import.meta.url), threads: 2 });
 *     const result = await pool.run(task, { group: jobId, timeoutMs: 60_000, transfer: [task.input.buffer] });
 *
 * The script answers through `serveTasks` (serveTasks.ts). Scripts are TypeScript run by
 * Node's type stripping, or their compiled form.
 */
import { type Transferable, Worker } from "node:worker_threads";
import { AlthingError } from "../../crypto/error.ts";
import { FairQueue } from "./fairQueue.ts";
import { type ReplyMessage, restoreError, type TaskMessage } from "./messages.ts";

export interface RunOptions {
	/** Tasks of different groups (say, jobs) take turns; default one common group. */
	readonly group?: string;
	/** From the start of the computation, not of the wait; default {@link DEFAULT_TIMEOUT_MS}. */
	readonly timeoutMs?: number;
	/** Buffers to move rather than copy; they are unusable here afterwards. */
	readonly transfer?: readonly Transferable[];
	/** Takes a waiting task out of the queue, or ends the worker that runs it. */
	readonly signal?: AbortSignal;
}

export interface WorkerPool<Task, Result> {
	/**
	 * Runs a task on a free worker. Rejects with the task's own error, or with
	 * `workers.crashed` (the thread died), `workers.timeout`, `workers.queue_full`,
	 * `workers.aborted`, `workers.stopped`, `workers.not_transferable`.
	 */
	run(task: Task, options?: RunOptions): Promise<Result>;
	/** Tasks waiting and running. */
	load(): { readonly waiting: number; readonly running: number };
	/** Ends all workers; what waits or runs rejects with `workers.stopped`. */
	stop(): Promise<void>;
}

export interface WorkerPoolOptions {
	readonly script: URL;
	/** Number of threads, at least 1; each starts with its first task. */
	readonly threads: number;
	/** Most tasks that may wait; one more is refused. */
	readonly maximumWaiting?: number;
	/** Handed to each worker as its `workerData`. */
	readonly workerData?: unknown;
}

const DEFAULT_TIMEOUT_MS = 300_000;
const DEFAULT_MAXIMUM_WAITING = 1024;

export function createWorkerPool<Task, Result>(options: WorkerPoolOptions): WorkerPool<Task, Result> {
	if (!Number.isInteger(options.threads) || options.threads < 1) {
		throw new AlthingError(
			"workers.bad_threads",
			`A worker pool has at least one thread, not ${options.threads}.`,
		);
	}
	return new ThreadPool<Task, Result>(options);
}

interface Job<Task, Result> {
	readonly id: number;
	readonly task: Task;
	readonly group: string;
	readonly timeoutMs: number;
	readonly transfer: readonly Transferable[];
	readonly resolve: (result: Result) => void;
	readonly reject: (error: Error) => void;
}

interface Thread<Task, Result> {
	readonly worker: Worker;
	job: Job<Task, Result> | undefined;
	deadline: NodeJS.Timeout | undefined;
}

class ThreadPool<Task, Result> implements WorkerPool<Task, Result> {
	readonly #options: WorkerPoolOptions;
	readonly #threads = new Set<Thread<Task, Result>>();
	readonly #waiting = new FairQueue<Job<Task, Result>>();
	#nextId = 1;
	#stopped = false;

	constructor(options: WorkerPoolOptions) {
		this.#options = options;
	}

	run(task: Task, options: RunOptions = {}): Promise<Result> {
		const maximumWaiting = this.#options.maximumWaiting ?? DEFAULT_MAXIMUM_WAITING;
		if (this.#stopped) return Promise.reject(stopped());
		if (options.signal?.aborted) return Promise.reject(aborted());
		if (this.#waiting.length >= maximumWaiting) {
			return Promise.reject(
				new AlthingError(
					"workers.queue_full",
					`${maximumWaiting} tasks wait for a worker already; this one was not taken. Try again later.`,
					{ maximumWaiting },
				),
			);
		}
		return new Promise<Result>((resolve, reject) => {
			const { signal } = options;
			const job: Job<Task, Result> = {
				id: this.#nextId++,
				task,
				group: options.group ?? "",
				timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
				transfer: options.transfer ?? [],
				resolve: (result) => {
					signal?.removeEventListener("abort", abort);
					resolve(result);
				},
				reject: (error) => {
					signal?.removeEventListener("abort", abort);
					reject(error);
				},
			};
			const abort = () => this.#abort(job);
			signal?.addEventListener("abort", abort);
			this.#waiting.push(job.group, job);
			this.#assign();
		});
	}

	load(): { waiting: number; running: number } {
		let running = 0;
		for (const thread of this.#threads) if (thread.job) running += 1;
		return { waiting: this.#waiting.length, running };
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		for (let job = this.#waiting.shift(); job; job = this.#waiting.shift()) job.reject(stopped());
		await Promise.all([...this.#threads].map((thread) => this.#end(thread, stopped())));
	}

	/** Gives waiting jobs to idle threads, starting threads up to the limit. */
	#assign(): void {
		while (this.#waiting.length > 0) {
			const thread = this.#idleThread();
			if (thread === undefined) return;
			const job = this.#waiting.shift();
			if (job !== undefined) this.#begin(thread, job);
		}
	}

	#idleThread(): Thread<Task, Result> | undefined {
		for (const thread of this.#threads) if (thread.job === undefined) return thread;
		return this.#threads.size < this.#options.threads ? this.#startThread() : undefined;
	}

	#startThread(): Thread<Task, Result> {
		const worker = new Worker(asBuilt(this.#options.script), { workerData: this.#options.workerData });
		const thread: Thread<Task, Result> = { worker, job: undefined, deadline: undefined };
		this.#threads.add(thread);
		worker.on("message", (reply: ReplyMessage) => this.#finish(thread, reply));
		worker.on("error", (cause) => {
			void this.#end(
				thread,
				crashed(`it threw outside a task: ${cause instanceof Error ? cause.message : cause}`, cause),
			);
		});
		worker.on("messageerror", (cause) => {
			void this.#end(thread, crashed("its answer could not be read", cause));
		});
		worker.on("exit", (exitCode) => {
			void this.#end(thread, crashed(`it exited with code ${exitCode}`));
		});
		// An idle pool does not keep the process alive.
		worker.unref();
		return thread;
	}

	#begin(thread: Thread<Task, Result>, job: Job<Task, Result>): void {
		try {
			thread.worker.postMessage({ id: job.id, task: job.task } satisfies TaskMessage, [...job.transfer]);
		} catch (cause) {
			job.reject(
				new AlthingError(
					"workers.not_transferable",
					`The task cannot be handed to a worker: ${cause instanceof Error ? cause.message : cause}.`,
					{},
					{ cause },
				),
			);
			return;
		}
		thread.job = job;
		thread.worker.ref();
		// A computation cannot be interrupted from outside, so the thread goes with its task.
		thread.deadline = setTimeout(() => {
			void this.#end(
				thread,
				new AlthingError(
					"workers.timeout",
					`A worker's task took longer than ${job.timeoutMs} ms and was ended.`,
					{
						timeoutMs: job.timeoutMs,
						group: job.group,
					},
				),
			);
		}, job.timeoutMs);
	}

	#finish(thread: Thread<Task, Result>, reply: ReplyMessage): void {
		const { job } = thread;
		if (job === undefined || job.id !== reply.id) return;
		clearTimeout(thread.deadline);
		thread.job = undefined;
		thread.worker.unref();
		if ("error" in reply) job.reject(restoreError(reply.error));
		else job.resolve(reply.result as Result);
		this.#assign();
	}

	/** Drops a thread, rejecting its task; a waiting task gets a fresh one in its place. */
	async #end(thread: Thread<Task, Result>, error: AlthingError): Promise<void> {
		if (!this.#threads.delete(thread)) return;
		clearTimeout(thread.deadline);
		thread.job?.reject(error);
		thread.job = undefined;
		if (!this.#stopped) this.#assign();
		await thread.worker.terminate();
	}

	#abort(job: Job<Task, Result>): void {
		if (this.#waiting.remove(job.group, job)) {
			job.reject(aborted());
			return;
		}
		for (const thread of this.#threads) if (thread.job === job) void this.#end(thread, aborted());
	}
}

/** The compiler rewrites imports, not URLs: a compiled pool (dist/) starts the script's compiled form. */
function asBuilt(script: URL): URL {
	return import.meta.url.endsWith(".js") ? new URL(script.href.replace(/\.ts$/, ".js")) : script;
}

function crashed(how: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"workers.crashed",
		`The worker running this task crashed: ${how}. Another one takes its place; the task was not finished.`,
		{},
		{ cause },
	);
}

function stopped(): AlthingError {
	return new AlthingError("workers.stopped", "The worker pool is stopped; the task was not run to its end.");
}

function aborted(): AlthingError {
	return new AlthingError("workers.aborted", "The task was aborted by its caller.");
}
