/**
 * Planning and auditing for the admin RPC: figures from the ledger, the arithmetic on a worker
 * thread. Nothing here charges a budget; what-if questions leave no trace.
 */
import { AlthingError } from "../../crypto/error.ts";
import { roundEvent } from "../../src/privacy/accounting/calibration.ts";
import { selfComposed } from "../../src/privacy/accounting/events.ts";
import type { BudgetLedger } from "../../src/privacy/budget/ledger.ts";
import { PARTITIONS } from "../../src/privacy/budget/records.ts";
import type { Strategy } from "../../src/privacy/planning/allocation.ts";
import type { BudgetState } from "../../src/privacy/planning/forecast.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../src/training/jobSpec.ts";
import type { RegisteredDataset } from "../data/datasets.ts";
import type { CallContext, PrivacyService } from "../rpc/services.ts";
import { createWorkerPool, type WorkerPool } from "../workers/workerPool.ts";
import type { PrivacyResult, PrivacyResults, PrivacyTask } from "./privacyTasks.ts";

export interface PrivacyParts {
	readonly ledger: BudgetLedger;
	readonly datasets: { get(name: string): RegisteredDataset | undefined };
	readonly engine: { readonly backend: "onnx" | "tfjs"; readonly threads: number };
	readonly nowMs: () => number;
}

const DAY_MS = 86_400_000;
const LONGEST_TASK_MS = 3_600_000;
const MOST_AUDITED_ROUNDS = 200;
/** Passes over the records that an optimization may spend unless told otherwise. */
const DEFAULT_PASSES = 100;

type Params<Name extends keyof PrivacyService> = Parameters<PrivacyService[Name]>[0];
type Result<Name extends keyof PrivacyService> = ReturnType<PrivacyService[Name]>;

export class Privacy implements PrivacyService {
	readonly #parts: PrivacyParts;
	readonly #pool: WorkerPool<PrivacyTask, PrivacyResult>;

	constructor(parts: PrivacyParts) {
		this.#parts = parts;
		// Threads of their own: planning must not wait for a job's training, nor for an audit.
		this.#pool = createWorkerPool({ script: new URL("./privacyWorker.ts", import.meta.url), threads: 2 });
	}

	stop(): Promise<void> {
		return this.#pool.stop();
	}

	async plan(params: Params<"plan">, context: CallContext): Result<"plan"> {
		const { epsilon, delta, phases, strategy, ratio } = params;
		const chosen =
			strategy === "geometric"
				? { kind: strategy, ratio }
				: { kind: strategy === "sensitivity_proportional" ? "sensitivityProportional" : strategy };
		const request = { epsilon, delta, phases, strategy: chosen as Strategy };
		const allocation = await this.#ask("plan", { request }, context);
		return { ...allocation, phases: [...allocation.phases] };
	}

	async cost(params: Params<"cost">, context: CallContext): Result<"cost"> {
		const { dataset, samplingProbability, noiseMultiplier, rounds } = params;
		const [state] = this.#states(dataset);
		const event = roundEvent(samplingProbability, noiseMultiplier);
		const answer = await this.#ask("cost", { state: state!, event, rounds }, context);
		const whole = { partition: "train" as const, event: selfComposed(event, rounds), extraDelta: 0 };
		// The ledger has the last word: it knows delegations and the accounts above.
		return { ...answer, fits: this.#parts.ledger.affords(dataset, [whole]) };
	}

	async forecast(params: Params<"forecast">, context: CallContext): Result<"forecast"> {
		const states = this.#states(params.dataset);
		const task = { states, nowMs: this.#parts.nowMs(), windowMs: params.windowDays * DAY_MS };
		const { course, exhaustedAtMs, ...rest } = await this.#ask("forecast", task, context);
		return {
			...rest,
			epsilonLimit: states[0]!.epsilonLimit,
			...(exhaustedAtMs === undefined ? {} : { exhaustedAt: isoTime(exhaustedAtMs) }),
			course: course.map(({ atMs, epsilon }) => ({ at: isoTime(atMs), epsilon })),
		};
	}

	async optimize(params: Params<"optimize">, context: CallContext): Result<"optimize"> {
		const { frontier, rounds, largestWork, ...rest } = params;
		const request = { ...rest, steps: rounds, largestWork: largestWork ?? DEFAULT_PASSES * params.records };
		const found = await this.#ask("optimize", { request, frontier }, context);
		const { wouldMeet } = found;
		const settingOf = <T extends { steps: number }>({ steps, ...setting }: T) => ({
			...setting,
			rounds: steps,
		});
		return {
			best: settingOf(found.best),
			meetsLimit: found.meetsLimit,
			excess: found.excess,
			...(wouldMeet === undefined ? {} : { wouldMeet }),
			frontier: found.frontier.map(settingOf),
		};
	}

	audit(params: Params<"audit">, context: CallContext): Result<"audit"> {
		const dataset = this.#parts.datasets.get(params.dataset);
		if (dataset === undefined) throw noDataset(params.dataset);
		if (dataset.streamed !== undefined) throw notInMemory(dataset.name);
		const { participants, corruption, attacker, canaries, significance } = params;
		const spec = checkJobSpec(params.spec);
		// The site's own records under the job's settings, whatever the job calls its data.
		const data = { set: dataset.name, description: dataset.description };
		return this.#ask(
			"audit",
			{
				spec: withRoom(resolveJobSpec({ ...spec, data }), dataset.trainingRows + canaries),
				who: { participants, corruption, minimumSurvivors: participants },
				dataPath: dataset.path,
				splitKey: dataset.splitKey,
				engine: this.#parts.engine,
				attacker,
				canaries,
				rounds: Math.min(params.rounds ?? MOST_AUDITED_ROUNDS, spec.training.rounds),
				significance,
			},
			context,
		);
	}

	/** What the ledger holds for each partition of a data set in the account's present period. */
	#states(dataset: string): BudgetState[] {
		const { ledger } = this.#parts;
		const account = ledger.account(dataset);
		if (account === undefined) throw noDataset(dataset);
		const { limits, composition, period } = account;
		const { delegated } = ledger.spent(dataset);
		const delta =
			composition === "adaptive" ? limits.delta - delegated.delta : ledger.remaining(dataset).delta;
		const counting = ledger
			.history(dataset)
			.filter(({ state, at }) => state !== "refunded" && at >= period.startedAt);
		return PARTITIONS.map((partition) => ({
			epsilonLimit: limits.epsilon - delegated.epsilon,
			filterEpsilon: period.filterEpsilon,
			delta,
			composition,
			charged: counting
				.filter((charge) => charge.partition === partition)
				.map(({ at, event }) => ({ atMs: Date.parse(at), event })),
		}));
	}

	async #ask<Kind extends PrivacyTask["kind"]>(
		kind: Kind,
		task: Omit<Extract<PrivacyTask, { kind: Kind }>, "kind">,
		{ signal }: CallContext,
	): Promise<PrivacyResults[Kind]> {
		// The call's own time limit ends the task through its signal.
		const options = { signal, group: kind, timeoutMs: LONGEST_TASK_MS };
		const result = await this.#pool.run({ kind, ...task } as never, options);
		if (result.kind !== kind) {
			throw new AlthingError("workers.protocol", `a worker answered ${result.kind} where ${kind} was asked`);
		}
		return result.value as PrivacyResults[Kind];
	}
}

/** Canaries come on top of the records: the public expected batch has to hold a sample of both. */
function withRoom(spec: ResolvedJobSpec, records: number): ResolvedJobSpec {
	const { privacy, training } = spec;
	if (privacy.mechanism !== "distributed_gaussian" || training.expectedBatch === undefined) return spec;
	const expectedBatch = Math.max(training.expectedBatch, records * (privacy.samplingRate ?? 1));
	return { ...spec, training: { ...training, expectedBatch } };
}

function isoTime(atMs: number): string {
	return new Date(atMs).toISOString();
}

function notInMemory(name: string): AlthingError {
	return new AlthingError(
		"data.cannot_stream",
		`data set ${name} is read in passes, and an audit needs its records in memory; add a part of it that fits as a data set of its own`,
		{ name },
	);
}

function noDataset(name: string): AlthingError {
	return new AlthingError(
		"data.not_found",
		`there is no data set named ${name}; \`althing data ls\` lists them`,
		{ name },
	);
}
