/**
 * A thread that streams records. It is never terminated: the reading engine's native calls would take
 * the whole process with them. It is asked to end, gives up its passes at the next chunk, and leaves by itself.
 */
import { Worker } from "node:worker_threads";
import { AlthingError } from "../../../crypto/error.ts";
import { type ReplyMessage, restoreError, type TaskMessage } from "../../workers/messages.ts";
import type { StreamResult, StreamTask } from "./streamTasks.ts";

/**
 * Small, so that it is collected often: the engine's chunks, half a megabyte each, are given back with
 * the objects that stand for them. Passes then take some 90 MiB less, and no more CPU time.
 */
const YOUNG_GENERATION_MIB = 3;

interface Waiting {
	readonly resolve: (result: StreamResult) => void;
	readonly reject: (error: Error) => void;
}

export class StreamThread {
	readonly #worker: Worker;
	readonly #waiting = new Map<number, Waiting>();
	readonly #exit: Promise<void>;
	#nextId = 1;
	#ended: AlthingError | undefined;

	constructor() {
		const script = new URL("./streamWorker.ts", import.meta.url);
		// A compiled node starts the script's compiled form.
		this.#worker = new Worker(
			import.meta.url.endsWith(".js") ? new URL(script.href.replace(/\.ts$/, ".js")) : script,
			{ resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB } },
		);
		const exit = Promise.withResolvers<void>();
		this.#exit = exit.promise;
		this.#worker.on("message", (reply: ReplyMessage) => this.#reply(reply));
		this.#worker.on("error", (cause) => this.#end(crashed(cause.message, cause)));
		this.#worker.on("exit", (code) => {
			this.#end(crashed(`it exited with code ${code}`));
			exit.resolve();
		});
		this.#worker.unref();
	}

	/**
	 * Runs a task beside those under way. Rejects with its own error, `workers.crashed`, or
	 * `data.pass_ended` once the thread is asked to end.
	 */
	run(task: StreamTask): Promise<StreamResult> {
		if (this.#ended !== undefined) return Promise.reject(this.#ended);
		return new Promise((resolve, reject) => {
			const id = this.#nextId++;
			this.#waiting.set(id, { resolve, reject });
			this.#worker.ref();
			this.#worker.postMessage({ id, task } satisfies TaskMessage);
		});
	}

	/** Ends what runs, and resolves when the thread has left and its memory is given back. */
	async close(): Promise<void> {
		if (this.#ended === undefined) await this.run({ kind: "close" }).catch(() => {});
		await this.#exit;
	}

	#reply(reply: ReplyMessage): void {
		const waiting = this.#waiting.get(reply.id);
		this.#waiting.delete(reply.id);
		if (this.#waiting.size === 0) this.#worker.unref();
		if ("error" in reply) waiting?.reject(restoreError(reply.error));
		else waiting?.resolve(reply.result as StreamResult);
	}

	#end(error: AlthingError): void {
		this.#ended ??= error;
		for (const { reject } of this.#waiting.values()) reject(this.#ended);
		this.#waiting.clear();
	}
}

function crashed(how: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"workers.crashed",
		`The thread that streams records has ended: ${how}. Another one takes its place.`,
		{},
		{ cause },
	);
}
