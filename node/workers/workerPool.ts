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
import { FairQueue, type Served } from "./fairQueue.ts";
import { type ReplyMessage, restoreError, type TaskMessage } from "./messages.ts";

export interface RunOptions {
	/** Groups of tasks (say, jobs) share the threads' time evenly, see FairQueue; default one common group. */
	readonly group?: string;
	/** From the start of the computation, not of the wait; default {@link DEFAULT_TIMEOUT_MS}. */
	readonly timeoutMs?: number;
	/** Buffers to move rather than copy; they are unusable here afterwards. */
	readonly transfer?: readonly Transferable[];
	/** Takes a waiting task out of the queue, or ends the worker that runs it. */
	readonly signal?: AbortSignal;
	/** Told when the task leaves its thread, however it ended: how long it waited, and held the thread. */
	readonly onMeasured?: (times: TaskTimes) => void;
}

export interface TaskTimes {
	readonly waitedMs: number;
	readonly ranMs: number;
}

export interface WorkerPool<Task, Result> {
	/**
	 * Runs a task on a free worker. Rejects with the task's own error, or with
	 * `workers.crashed` (the thread died), `workers.timeout`, `workers.memory`, `workers.queue_full`,
	 * `workers.aborted`, `workers.stopped`, `workers.not_transferable`.
	 */
	run(task: Task, options?: RunOptions): Promise<Result>;
	/** Tasks waiting and running. */
	load(): { readonly waiting: number; readonly running: number };
	/**
	 * Tells every thread that has started something, beside its tasks and at once: a notice, whose
	 * answer nobody waits for.
	 */
	tell(notice: Task): void;
	/** Ends all workers; what waits or runs rejects with `workers.stopped`. */
	stop(): Promise<void>;
}

export interface WorkerPoolOptions {
	readonly script: URL;
	/** Number of threads, at least 1; each starts with its first task. */
	readonly threads: number;
	/**
	 * Most memory of one thread, objects and buffers, in MiB: a task that keeps it above that is ended
	 * with its thread. What native libraries take for themselves is not seen. Without it there is no limit.
	 */
	readonly maximumMemoryMiB?: number;
	/** Most tasks of one group that may wait; one more is refused. Other groups do not notice. */
	readonly maximumWaiting?: number;
	/** Default `performance.now`. */
	readonly nowMs?: () => number;
	/** Handed to each worker as its `workerData`. */
	readonly workerData?: unknown;
}

const DEFAULT_TIMEOUT_MS = 300_000;
const DEFAULT_MAXIMUM_WAITING = 1024;
/** How often a thread's memory is looked at, and how many times in a row it may be above its limit: some of it may be garbage. */
const MEMORY_LOOK_MS = 250;
const MEMORY_LOOKS = 4;
/**
 * The heap's own limit, in limits of the watch: a thread that meets it in a bad moment takes the whole process
 * with it, so the watch has to come first.
 */
const HEAP_ROOM = 2;
const MiB = 2 ** 20;
/** Node's code where a thread's objects alone exceed its limit. */
const OUT_OF_MEMORY = "ERR_WORKER_OUT_OF_MEMORY";
/** The id of a notice: no task's. */
const NOTICE = 0;

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
	readonly queuedAtMs: number;
	readonly onMeasured: ((times: TaskTimes) => void) | undefined;
}

/** What a thread works on. */
interface Running<Task, Result> {
	readonly job: Job<Task, Result>;
	readonly settle: (cost: number) => void;
	readonly sinceMs: number;
}

interface Thread<Task, Result> {
	readonly worker: Worker;
	running: Running<Task, Result> | undefined;
	deadline: NodeJS.Timeout | undefined;
	memoryWatch: NodeJS.Timeout | undefined;
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
		const group = options.group ?? "";
		if (this.#waiting.waiting(group) >= maximumWaiting) {
			return Promise.reject(
				new AlthingError(
					"workers.queue_full",
					`${maximumWaiting} such tasks wait for a worker already; this one was not taken. Try again later.`,
					{ maximumWaiting, group },
				),
			);
		}
		return new Promise<Result>((resolve, reject) => {
			const { signal } = options;
			const job: Job<Task, Result> = {
				id: this.#nextId++,
				task,
				group,
				timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
				transfer: options.transfer ?? [],
				queuedAtMs: this.#nowMs(),
				onMeasured: options.onMeasured,
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
		for (const thread of this.#threads) if (thread.running) running += 1;
		return { waiting: this.#waiting.length, running };
	}

	tell(notice: Task): void {
		for (const { worker } of this.#threads)
			worker.postMessage({ id: NOTICE, task: notice } satisfies TaskMessage);
	}

	async stop(): Promise<void> {
		this.#stopped = true;
		for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) next.item.reject(stopped());
		await Promise.all([...this.#threads].map((thread) => this.#end(thread, stopped())));
	}

	/** Gives waiting jobs to idle threads, starting threads up to the limit. */
	#assign(): void {
		while (this.#waiting.length > 0) {
			const thread = this.#idleThread();
			if (thread === undefined) return;
			const next = this.#waiting.shift();
			if (next !== undefined) this.#begin(thread, next);
		}
	}

	#idleThread(): Thread<Task, Result> | undefined {
		for (const thread of this.#threads) if (thread.running === undefined) return thread;
		return this.#threads.size < this.#options.threads ? this.#startThread() : undefined;
	}

	#startThread(): Thread<Task, Result> {
		const { script, workerData, maximumMemoryMiB } = this.#options;
		const resourceLimits =
			maximumMemoryMiB === undefined ? {} : { maxOldGenerationSizeMb: HEAP_ROOM * maximumMemoryMiB };
		const worker = new Worker(asBuilt(script), { workerData, resourceLimits });
		const thread: Thread<Task, Result> = {
			worker,
			running: undefined,
			deadline: undefined,
			memoryWatch: undefined,
		};
		this.#threads.add(thread);
		worker.on("message", (reply: ReplyMessage) => this.#finish(thread, reply));
		worker.on("error", (cause) => {
			const outOfMemory = cause instanceof Error && "code" in cause && cause.code === OUT_OF_MEMORY;
			const error = outOfMemory
				? this.#tooMuchMemory(thread)
				: crashed(`it threw outside a task: ${cause instanceof Error ? cause.message : cause}`, cause);
			void this.#end(thread, error);
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

	#begin(thread: Thread<Task, Result>, { item: job, settle }: Served<Job<Task, Result>>): void {
		try {
			thread.worker.postMessage({ id: job.id, task: job.task } satisfies TaskMessage, [...job.transfer]);
		} catch (cause) {
			settle(0);
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
		thread.running = { job, settle, sinceMs: this.#nowMs() };
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
		this.#watchMemory(thread);
	}

	/** Ends the thread when its memory stays above the limit, whatever it is doing. */
	#watchMemory(thread: Thread<Task, Result>): void {
		const { maximumMemoryMiB } = this.#options;
		if (maximumMemoryMiB === undefined) return;
		const { running } = thread;
		let above = 0;
		let looking = false;
		const look = async () => {
			looking = true;
			const { total_heap_size, external_memory } = await thread.worker.getHeapStatistics();
			looking = false;
			if (thread.running !== running) return;
			above = total_heap_size + external_memory > maximumMemoryMiB * MiB ? above + 1 : 0;
			if (above >= MEMORY_LOOKS) await this.#end(thread, this.#tooMuchMemory(thread));
		};
		thread.memoryWatch = setInterval(() => {
			// A thread that is starting or ending cannot be looked into.
			if (!looking)
				look().catch(() => {
					looking = false;
				});
		}, MEMORY_LOOK_MS).unref();
	}

	#tooMuchMemory({ running }: Thread<Task, Result>): AlthingError {
		const { maximumMemoryMiB } = this.#options;
		return new AlthingError(
			"workers.memory",
			`A worker's task took more than the ${maximumMemoryMiB} MiB of memory that a thread may and was ended.`,
			{ maximumMemoryMiB, ...(running === undefined ? {} : { group: running.job.group }) },
		);
	}

	#finish(thread: Thread<Task, Result>, reply: ReplyMessage): void {
		const job = thread.running?.job;
		if (job === undefined || job.id !== reply.id) return;
		this.#leave(thread);
		thread.worker.unref();
		if ("error" in reply) job.reject(restoreError(reply.error));
		else job.resolve(reply.result as Result);
		this.#assign();
	}

	/** Drops a thread, rejecting its task; a waiting task gets a fresh one in its place. */
	async #end(thread: Thread<Task, Result>, error: AlthingError): Promise<void> {
		if (!this.#threads.delete(thread)) return;
		const job = thread.running?.job;
		this.#leave(thread);
		job?.reject(error);
		if (!this.#stopped) this.#assign();
		await thread.worker.terminate();
	}

	/** The thread's task, if it has one, is over: its group is charged for the time. */
	#leave(thread: Thread<Task, Result>): void {
		clearTimeout(thread.deadline);
		clearInterval(thread.memoryWatch);
		const { running } = thread;
		thread.running = undefined;
		if (running === undefined) return;
		const { job, settle, sinceMs } = running;
		const ranMs = this.#nowMs() - sinceMs;
		settle(ranMs);
		job.onMeasured?.({ waitedMs: sinceMs - job.queuedAtMs, ranMs });
	}

	#nowMs(): number {
		return (this.#options.nowMs ?? performance.now.bind(performance))();
	}

	#abort(job: Job<Task, Result>): void {
		if (this.#waiting.remove(job.group, job)) {
			job.reject(aborted());
			return;
		}
		for (const thread of this.#threads) if (thread.running?.job === job) void this.#end(thread, aborted());
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
