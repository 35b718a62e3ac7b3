/** Questions to this organization's own records: planned, charged, then answered, in this order. */
import { toHex } from "../../crypto/encoding.ts";
import { randomBytes } from "../../crypto/random.ts";
import { epsilonBounds } from "../../src/privacy/accounting/accountant.ts";
import { PARTITIONS } from "../../src/privacy/budget/records.ts";
import { accountedDelta, slackEpsilon } from "../../src/privacy/slack.ts";
import type { QueryAnswer } from "../../src/queries/answer.ts";
import { parseQueryRelease, type ReleasedAnswer } from "../../src/queries/release.ts";
import { parseQuerySpec } from "../../src/queries/spec.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets } from "../data/datasets.ts";
import { answerOf, type WorkerResult, type WorkerTask } from "../jobs/trainingTasks.ts";
import type { CallContext, JsonObject, LocalAnswer, LocalRelease, QueryService } from "../rpc/services.ts";
import type { Store } from "../store/index.ts";
import type { WorkerPool } from "../workers/workerPool.ts";
import type { QueriedData, Question, QuestionAnswer, QuestionCost } from "./queryWork.ts";

export interface QueriesOptions {
	readonly store: Pick<Store, "mechanismExecutions">;
	readonly pool: () => WorkerPool<WorkerTask, WorkerResult>;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
}

type Charged = LocalAnswer["charged"];

export class Queries implements QueryService {
	readonly #options: QueriesOptions;

	constructor(options: QueriesOptions) {
		this.#options = options;
	}

	/**
	 * One query, answered with noise.
	 * @throws AlthingError `query.invalid`, `query.unknown_column`, `data.not_found`, `budget.exceeded`:
	 *   then nothing was charged
	 */
	async ask(
		{ dataset, query }: { readonly dataset: string; readonly query: JsonObject },
		context: CallContext,
	): Promise<LocalAnswer> {
		const spec = parseQuerySpec(query);
		const { id, answer, charged } = await this.#answer(dataset, { kind: "query", spec }, context);
		return { id, answer: plain(answer as QueryAnswer), charged };
	}

	/** Several queries, each answered by the exponential mechanism. @throws AlthingError as {@link Queries.ask} */
	async release(
		{ dataset, release }: { readonly dataset: string; readonly release: JsonObject },
		context: CallContext,
	): Promise<LocalRelease> {
		const spec = parseQueryRelease(release);
		const { id, answer, charged } = await this.#answer(dataset, { kind: "release", spec }, context);
		const answers = (answer as readonly ReleasedAnswer[]).map(({ kind, answer: found, error95 }) => ({
			kind,
			answer: found,
			error95,
		}));
		return { id, answers, charged };
	}

	async #answer(
		dataset: string,
		question: Question,
		{ caller }: CallContext,
	): Promise<{ id: string; answer: QuestionAnswer; charged: Charged }> {
		const { pool, datasets } = this.#options;
		const { path, description, columns } = datasets.require(dataset);
		const data: QueriedData = { path, description, columns };
		const streamed = datasets.streamed(dataset);
		if (streamed !== undefined && question.kind === "release")
			datasets.requireInMemory(dataset, "a release of several queries");
		const startedMs = performance.now();
		const { cost } = answerOf(await pool().run({ kind: "costOfQuestion", data, question }), "questionCost");
		const id = `query-${toHex(randomBytes(8))}`;
		const charged = await this.#charge(id, dataset, question, cost, caller.tokenName);
		const sums =
			streamed === undefined || question.kind === "release"
				? undefined
				: await datasets.streams.sums(streamed, question.spec);
		const { answer } = answerOf(
			await pool().run({ kind: "answerQuestion", data, question, ...(sums === undefined ? {} : { sums }) }),
			"questionAnswer",
		);
		await this.#record(id, dataset, question, cost, charged, performance.now() - startedMs);
		return { id, answer, charged };
	}

	async #charge(
		id: string,
		dataset: string,
		question: Question,
		{ event, totalVariationDistance: distance }: QuestionCost,
		analyst: string,
	): Promise<Charged> {
		const stated = statedCost(question, event);
		const extraDelta = distance === 0 ? 0 : (1 + Math.exp(slackEpsilon(stated.epsilon))) * distance;
		const costs = PARTITIONS.map((partition) => ({ partition, event, extraDelta }));
		await this.#options.budgets.chargeForGood(dataset, id, analyst, costs);
		return stated;
	}

	/** An execution for each charge, as the audit of the ledger wants it. */
	async #record(
		id: string,
		dataset: string,
		question: Question,
		{ mechanism, event }: QuestionCost,
		charged: Charged,
		durationMs: number,
	): Promise<void> {
		const asked =
			question.kind === "query" ? question.spec.kind : question.spec.queries.map(({ kind }) => kind);
		const parameters = plain({ query: asked, event, privacyUnit: "record" });
		for (const partition of PARTITIONS) {
			const execution = `${id}/${partition}`;
			await this.#options.store.mechanismExecutions.put(execution, {
				id: execution,
				budgetId: dataset,
				mechanism,
				parameters: { ...parameters, partition },
				epsilonConsumed: charged.epsilon,
				deltaConsumed: charged.delta,
				utilityMetrics: {},
				durationMs,
				executedAt: new Date().toISOString(),
			});
		}
	}
}

/** What the answer costs by itself, as it was asked for; a given noise is stated at a delta of 1e-6. */
function statedCost(question: Question, event: QuestionCost["event"]): Charged {
	if (question.kind === "release") return { epsilon: question.spec.epsilon, delta: 0 };
	const { privacy } = question.spec;
	if ("epsilon" in privacy) return { epsilon: privacy.epsilon, delta: privacy.delta ?? 0 };
	const delta = 1e-6;
	return { epsilon: epsilonBounds(event, accountedDelta(delta)).upper, delta };
}

/** JSON's idea of a value: no undefined keys. */
function plain(value: object): JsonObject {
	return JSON.parse(JSON.stringify(value)) as JsonObject;
}
