/**
 * Tuning of a job's settings on this organization's own records: planned, charged, then run in the
 * background; the outcome is kept with the record of what was charged, so a restart loses at most
 * one that was still running, never its charge.
 */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { checkSpecification } from "../../src/jobs/specificationText.ts";
import type { BackendName } from "../../src/learning/trainer.ts";
import { PARTITIONS } from "../../src/privacy/budget/records.ts";
import { checkJobSpec, resolveJobSpec } from "../../src/training/jobSpec.ts";
import { type Tuned, type Tuning, type TuningPlan, tuningSchema } from "../../src/training/tuning.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets, RegisteredDataset } from "../data/datasets.ts";
import type { Logger } from "../logging/logger.ts";
import type { CallContext, JsonObject, TuningService, TuningView } from "../rpc/services.ts";
import type { Store } from "../store/index.ts";
import { createWorkerPool, type WorkerPool } from "../workers/workerPool.ts";
import type { TuningResult, TuningTask } from "./tuningTasks.ts";

export interface TuningsOptions {
	readonly store: Pick<Store, "mechanismExecutions">;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
	readonly backend: BackendName;
	readonly log: Logger;
}

/** Trainings by the dozen; a tuning that takes longer than a day is ended. */
const RUN_TIMEOUT_MS = 86_400_000;
const MECHANISM = "repeat_and_select";

export class Tunings implements TuningService {
	readonly #options: TuningsOptions;
	readonly #pool: WorkerPool<TuningTask, TuningResult>;
	readonly #running = new Map<string, Promise<void>>();

	constructor(options: TuningsOptions) {
		this.#options = options;
		// A thread of its own: trials must not hold up the rounds of jobs.
		this.#pool = createWorkerPool({ script: new URL("./tuningWorker.ts", import.meta.url), threads: 1 });
	}

	/** Ends what runs; its outcome says so. */
	async stop(): Promise<void> {
		await this.#pool.stop();
		await Promise.all(this.#running.values());
	}

	/**
	 * Charges the whole tuning and begins it.
	 * @throws AlthingError `job.invalid`, `tuning.unsupported`, `tuning.unreachable_target`, `data.not_found`,
	 *   `budget.exceeded`: then nothing was charged
	 */
	async start(
		{ spec, tuning: asked }: { readonly spec: JsonObject; readonly tuning: JsonObject },
		{ caller }: CallContext,
	): Promise<TuningView> {
		const tuning = checkSpecification(asked, tuningSchema);
		const job = checkJobSpec(spec);
		const data = this.#options.datasets.requireInMemory(job.data.set, "tuning");
		const { description } = data;
		const resolved = resolveJobSpec({ ...job, data: { ...job.data, description } });
		const { plan } = (await this.#pool.run({
			kind: "plan",
			spec: resolved,
			tuning,
			rows: data.trainingRows,
		})) as Extract<TuningResult, { kind: "plan" }>;
		const id = `tuning-${toHex(randomBytes(8))}`;
		await this.#options.budgets.chargeForGood(data.name, id, caller.tokenName, plan.charges);
		const startedAt = new Date().toISOString();
		const record = (outcome: Outcome) => this.#record(id, data.name, plan, tuning, outcome, startedAt);
		await record({ state: "running" });
		this.#running.set(
			id,
			this.#run(id, data, plan, tuning, record).finally(() => this.#running.delete(id)),
		);
		return this.show({ tuning: id });
	}

	/** @throws AlthingError `tuning.not_found` */
	async show({ tuning: id }: { readonly tuning: string }): Promise<TuningView> {
		const execution = await this.#options.store.mechanismExecutions.get(`${id}/${PARTITIONS[0]}`);
		if (execution === undefined || execution.mechanism !== MECHANISM)
			throw new AlthingError("tuning.not_found", `there is no tuning ${id}`, { tuning: id });
		const { dataset, epsilon, delta, outcome } = execution.parameters as unknown as Recorded;
		const common = { id, dataset, charged: { epsilon, delta } };
		if (outcome.state !== "running" || this.#running.has(id)) return { ...common, ...outcome };
		const reason = "the node was stopped while it ran; what was charged stays charged";
		return { ...common, state: "failed", reason };
	}

	async #run(
		id: string,
		data: RegisteredDataset,
		plan: TuningPlan,
		tuning: Tuning,
		record: (outcome: Outcome) => Promise<void>,
	): Promise<void> {
		const { log, backend } = this.#options;
		const { path, splitKey } = data;
		let outcome: Outcome;
		try {
			const { tuned } = (await this.#pool.run(
				{ kind: "run", plan, data: { path, splitKey }, backend },
				{ timeoutMs: RUN_TIMEOUT_MS },
			)) as Extract<TuningResult, { kind: "run" }>;
			outcome = found(tuned, tuning);
		} catch (error) {
			const reason = error instanceof Error ? error.message : String(error);
			outcome = { state: "failed", reason };
		}
		try {
			await record(outcome);
		} catch (error) {
			log.error({ err: error, tuning: id }, "the outcome of a tuning could not be kept");
		}
	}

	/**
	 * An execution for each charge, as the audit of the ledger wants it, with the outcome. When it ended is
	 * not kept: how long a tuning took tells how many trials there were, and records are read by many.
	 */
	async #record(
		id: string,
		dataset: string,
		plan: TuningPlan,
		{ epsilon, delta, candidates }: Tuning,
		outcome: Outcome,
		startedAt: string,
	): Promise<void> {
		for (const { partition, event } of plan.charges) {
			const execution = `${id}/${partition}`;
			const parameters = {
				event,
				partition,
				dataset,
				candidates,
				epsilon,
				delta,
				outcome,
				privacyUnit: "record",
			};
			await this.#options.store.mechanismExecutions.put(execution, {
				id: execution,
				budgetId: dataset,
				mechanism: MECHANISM,
				parameters: JSON.parse(JSON.stringify(parameters)),
				epsilonConsumed: epsilon,
				deltaConsumed: delta,
				utilityMetrics:
					outcome.state === "done" && outcome.score !== undefined ? { score: outcome.score } : {},
				durationMs: 0,
				executedAt: startedAt,
			});
		}
	}
}

type Outcome = Omit<TuningView, "id" | "dataset" | "charged">;

/** What {@link Tunings} keeps beside the event. */
interface Recorded {
	readonly dataset: string;
	readonly epsilon: number;
	readonly delta: number;
	readonly outcome: Outcome;
}

function found({ candidate, score }: Tuned, { candidates }: Tuning): Outcome {
	if (candidate === undefined) return { state: "done" };
	return {
		state: "done",
		chosen: { index: candidate, settings: JSON.parse(JSON.stringify(candidates[candidate])) },
		...(score === undefined || !Number.isFinite(score) ? {} : { score }),
	};
}
