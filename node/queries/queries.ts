/** Questions to this organization's own records: planned, charged, then answered, in this order. */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { epsilonBounds } from "../../src/privacy/accounting/accountant.ts";
import { parseQuerySpec, type QuerySpec } from "../../src/queries/spec.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets } from "../data/datasets.ts";
import { answerOf, type WorkerResult, type WorkerTask } from "../jobs/trainingTasks.ts";
import type { CallContext, JsonObject, LocalAnswer, QueryService } from "../rpc/services.ts";
import type { Store } from "../store/index.ts";
import type { WorkerPool } from "../workers/workerPool.ts";
import type { QueryCost } from "./queryWork.ts";

export interface QueriesOptions {
	readonly store: Pick<Store, "mechanismExecutions">;
	readonly pool: () => WorkerPool<WorkerTask, WorkerResult>;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
}

/** A query reads training and held-out records alike, and every record is one or the other. */
const PARTITIONS = ["train", "heldOut"] as const;

export class Queries implements QueryService {
	readonly #options: QueriesOptions;

	constructor(options: QueriesOptions) {
		this.#options = options;
	}

	/**
	 * @throws AlthingError `query.invalid`, `query.unknown_column`, `data.not_found`, `budget.exceeded`:
	 *   then nothing was charged
	 */
	async ask(
		params: { readonly dataset: string; readonly query: JsonObject },
		context: CallContext,
	): Promise<LocalAnswer> {
		const { pool, datasets } = this.#options;
		const spec = parseQuerySpec(params.query);
		const registered = datasets.get(params.dataset);
		if (registered === undefined) {
			throw new AlthingError(
				"data.not_found",
				`there is no data set named ${params.dataset}; \`althing data ls\` lists them`,
				{ name: params.dataset },
			);
		}
		const data = {
			path: registered.path,
			description: registered.description,
			columns: registered.columns,
		};
		const startedMs = performance.now();
		const { cost } = answerOf(await pool().run({ kind: "costOfQuery", data, spec }), "queryCost");
		const id = `query-${toHex(randomBytes(8))}`;
		const charged = await this.#charge(id, params.dataset, spec, cost, context.caller.tokenName);
		const { answer } = answerOf(await pool().run({ kind: "answerQuery", data, spec }), "queryAnswer");
		await this.#record(id, params.dataset, spec, cost, charged, performance.now() - startedMs);
		return { id, answer: JSON.parse(JSON.stringify(answer)) as JsonObject, charged };
	}

	async #charge(
		id: string,
		dataset: string,
		spec: QuerySpec,
		cost: QueryCost,
		analyst: string,
	): Promise<LocalAnswer["charged"]> {
		const { budgets } = this.#options;
		const { event, totalVariationDistance: distance } = cost;
		const stated = statedCost(spec, cost);
		const extraDelta = distance === 0 ? 0 : (1 + Math.exp(stated.epsilon)) * distance;
		await budgets.charge(
			PARTITIONS.map((partition) => ({
				dataset,
				partition,
				jobId: id,
				round: 0,
				attempt: 0,
				chargeId: `${id}/${partition}`,
				event,
				extraDelta,
				analyst,
			})),
		);
		// Nothing can take the answer back: whatever happens from here on, it stays charged.
		for (const partition of PARTITIONS) await budgets.finalise(`${id}/${partition}`);
		return stated;
	}

	async #record(
		id: string,
		dataset: string,
		spec: QuerySpec,
		{ mechanism, event }: QueryCost,
		charged: LocalAnswer["charged"],
		durationMs: number,
	): Promise<void> {
		await this.#options.store.mechanismExecutions.put(id, {
			id,
			budgetId: dataset,
			mechanism,
			parameters: JSON.parse(JSON.stringify({ query: spec.kind, event, privacyUnit: "record" })),
			epsilonConsumed: charged.epsilon,
			deltaConsumed: charged.delta,
			utilityMetrics: {},
			durationMs,
			executedAt: new Date().toISOString(),
		});
	}
}

/** What the answer costs by itself, as it was asked for; a given noise is stated at a delta of 1e-6. */
function statedCost({ privacy }: QuerySpec, { event }: QueryCost): LocalAnswer["charged"] {
	if ("epsilon" in privacy) return { epsilon: privacy.epsilon, delta: privacy.delta ?? 0 };
	const delta = 1e-6;
	return { epsilon: epsilonBounds(event, delta).upper, delta };
}
