/**
 * Streamed data sets at work: a thread for each job, question and registration under way, ended with
 * it. Passes take minutes to hours, so nothing else waits behind them.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { BackendName } from "../../../src/learning/trainer.ts";
import type { QuerySpec } from "../../../src/queries/spec.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import type { TrainingPlan } from "../../../src/training/plan.ts";
import type { StreamedRound } from "../../../src/training/streamedRound.ts";
import type { RegisteredStream, StreamedSet, StreamResult, StreamTask } from "./streamTasks.ts";
import { StreamThread } from "./streamThread.ts";

export class DataStreams {
	readonly #jobs = new Map<string, StreamThread>();
	/** Of questions and registrations. */
	readonly #passing = new Set<StreamThread>();

	/**
	 * A round's batches and sums, computed in the job's own thread.
	 * @throws AlthingError `data.*`, `learning.*`
	 */
	async round(
		jobId: string,
		task: {
			readonly set: RegisteredStream;
			readonly spec: ResolvedJobSpec;
			readonly plan: TrainingPlan;
			readonly backend: BackendName;
			readonly round: number;
			readonly state: Uint8Array;
			readonly own?: Uint8Array | undefined;
		},
	): Promise<StreamedRound> {
		let thread = this.#jobs.get(jobId);
		if (thread === undefined) {
			thread = new StreamThread();
			this.#jobs.set(jobId, thread);
		}
		try {
			return answer(await thread.run({ kind: "round", ...task }), "round").round;
		} catch (error) {
			// A thread that crashed is replaced in the next round.
			if (
				error instanceof AlthingError &&
				error.code === "workers.crashed" &&
				this.#jobs.get(jobId) === thread
			)
				this.#jobs.delete(jobId);
			throw error;
		}
	}

	/** Reads a set that is to be registered, once. @throws AlthingError `data.*` */
	async survey(set: StreamedSet): Promise<Extract<StreamResult, { kind: "surveyed" }>> {
		return answer(await this.#once({ kind: "survey", set }), "surveyed");
	}

	/** The exact sums of a query, before noise. @throws AlthingError `data.*`, `query.*` */
	async sums(set: RegisteredStream, query: QuerySpec): Promise<Float64Array> {
		return answer(await this.#once({ kind: "sums", set, query }), "sums").sums;
	}

	/** The job has ended: its thread and all it held are given back. */
	async forget(jobId: string): Promise<void> {
		const thread = this.#jobs.get(jobId);
		this.#jobs.delete(jobId);
		await thread?.close();
	}

	async stop(): Promise<void> {
		await Promise.all([...this.#jobs.values(), ...this.#passing].map((thread) => thread.close()));
		this.#jobs.clear();
	}

	async #once(task: StreamTask): Promise<StreamResult> {
		const thread = new StreamThread();
		this.#passing.add(thread);
		try {
			return await thread.run(task);
		} finally {
			this.#passing.delete(thread);
			await thread.close();
		}
	}
}

function answer<Kind extends StreamResult["kind"]>(
	result: StreamResult,
	kind: Kind,
): Extract<StreamResult, { kind: Kind }> {
	if (result.kind !== kind)
		throw new AlthingError(
			"workers.protocol",
			`a stream answered ${result.kind} where ${kind} was asked for`,
		);
	return result as Extract<StreamResult, { kind: Kind }>;
}
