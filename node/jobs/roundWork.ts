/**
 * The work that training asks this node for: contributions and their charges, masks, releases.
 * Every contribution has one charge, bound to the very vector that was computed.
 */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import type { TrainingTask, TrainingTaskResult } from "../../protocols/training/index.ts";
import type { BackendName } from "../../src/learning/trainer.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets } from "../data/datasets.ts";
import type { WorkerPool } from "../workers/workerPool.ts";
import type { JobRuntime } from "./jobRuntime.ts";
import { answerOf, type JobContext, type WorkerResult, type WorkerTask } from "./trainingTasks.ts";

/** A record is charged in one of two parts of the data set (src/privacy/budget/ledger.ts). */
const PARTITIONS = ["train", "heldOut"] as const;

export interface RoundWorkOptions {
	readonly pool: WorkerPool<WorkerTask, WorkerResult>;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
	readonly backend: BackendName;
}

export class RoundWork {
	readonly #options: RoundWorkOptions;
	/** By job and round: the charge's id, and how far the noise drawn is from its exact law. */
	readonly #contributions = new Map<
		string,
		{ readonly chargeId: string; readonly samplerDistance: number }
	>();

	constructor(options: RoundWorkOptions) {
		this.#options = options;
	}

	/** Carries out a machine's work: budget charges here, everything else on the worker pool. */
	async execute(job: JobRuntime, task: TrainingTask): Promise<TrainingTaskResult> {
		const { pool } = this.#options;
		const group = job.jobId;
		switch (task.kind) {
			case "charge":
				await this.#charge(job, task.round, task.attempt);
				return { kind: "charged" };
			case "contribute": {
				const answer = await pool.run(
					{ kind: "contribute", job: this.#context(job), round: task.round, state: task.state },
					{ group },
				);
				const result = answerOf(answer, "contribution");
				this.#contributions.set(`${job.jobId}/${task.round}`, {
					chargeId: `${job.jobId}/${task.round}/${toHex(randomBytes(8))}`,
					samplerDistance: result.samplerDistance,
				});
				return { kind: "contribution", vector: result.vector };
			}
			case "apply":
				return answerOf(await pool.run({ ...task, job: this.#context(job) }, { group }), "applied");
			case "aggregate":
				return answerOf(await pool.run({ kind: "aggregate", task: task.task }, { group }), "aggregated");
		}
	}

	/** Charges what the round's contribution costs, durably, before it leaves. */
	async #charge(job: JobRuntime, round: number, attempt: number): Promise<void> {
		const { plan, spec, jobId } = job;
		const contribution = this.#contributions.get(`${jobId}/${round}`);
		if (plan === undefined || contribution === undefined) {
			throw new AlthingError(
				"budget.no_contribution",
				`there is no contribution of round ${round} to charge for`,
			);
		}
		const { chargeId, samplerDistance } = contribution;
		await this.#options.budgets.charge(
			plan.charges(round, samplerDistance).map((charge) => ({
				...charge,
				dataset: spec.data.set,
				jobId,
				round,
				attempt,
				chargeId: `${chargeId}/${charge.partition}`,
			})),
		);
	}

	#context(job: JobRuntime): JobContext {
		const { datasets, backend } = this.#options;
		const dataset = datasets.get(job.spec.data.set);
		if (dataset === undefined || job.participation === undefined) {
			throw new AlthingError(
				"job.no_data",
				`data set ${job.spec.data.set} is not registered here any more; add it again and resume the job`,
			);
		}
		return {
			jobId: job.jobId,
			spec: job.spec,
			participation: job.participation,
			dataPath: dataset.path,
			splitKey: dataset.splitKey,
			backend,
			threads: 1,
		};
	}

	/** Takes back an attempt that a Dead certificate proves released nothing. */
	async refund(jobId: string, round: number, attempt: number): Promise<void> {
		const contribution = this.#contributions.get(`${jobId}/${round}`);
		if (contribution === undefined) return;
		for (const partition of PARTITIONS)
			await this.#options.budgets.refund(`${contribution.chargeId}/${partition}`, attempt);
	}

	/** The round is certified: its charge is final if its sum was released. @returns the charge's id, if there was one */
	async settle(jobId: string, round: number, released: boolean): Promise<string | undefined> {
		const key = `${jobId}/${round}`;
		const chargeId = this.#contributions.get(key)?.chargeId;
		this.#contributions.delete(key);
		if (chargeId !== undefined && released) await this.#finalise(chargeId);
		return chargeId;
	}

	async #finalise(chargeId: string): Promise<void> {
		for (const partition of PARTITIONS) {
			await this.#options.budgets.finalise(`${chargeId}/${partition}`).catch((error: unknown) => {
				// Nothing was charged for this partition in this round.
				if (!(error instanceof AlthingError) || error.code !== "budget.unknown_charge") throw error;
			});
		}
	}
}
