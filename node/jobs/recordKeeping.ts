/**
 * The records an auditor reads: jobs, participants, aggregation sessions, mechanism
 * executions and budgets, in the documents' schema. They describe; the journal decides.
 */
import { toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { packedSize } from "../../crypto/ringPacking.ts";
import type { RoundResult } from "../../protocols/training/index.ts";
import type { JobWork } from "../../src/jobs/jobPlan.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import { privacyPromiseOf, type Specification } from "../../src/jobs/specification.ts";
import type { ChargeView } from "../../src/privacy/budget/charges.ts";
import type { Partition } from "../../src/privacy/budget/records.ts";
import { mechanismOf } from "../../src/privacy/budget/report.ts";
import { levelCharged } from "../../src/training/charges.ts";
import { noiseLevelOf } from "../../src/training/plan.ts";
import { stepOf } from "../../src/vertical/schedule.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { MechanismExecution, Store } from "../store/index.ts";
import { cohortSecurityOf } from "./cohortSecurity.ts";
import type { JobRuntime, RoundUsage } from "./jobRuntime.ts";

type Facts = MechanismExecution["parameters"];

export class RecordKeeping {
	readonly #store: Store;
	readonly #budgets: Budgets;
	/** Epsilon recorded so far, by budget and part: what a further execution adds is the rest. */
	readonly #consumed = new Map<string, number>();

	constructor(store: Store, budgets: Budgets) {
		this.#store = store;
		this.#budgets = budgets;
	}

	/** The job as it stands. */
	async job(job: JobRuntime, status: string, completedAt?: string): Promise<void> {
		const { spec, proposal } = job;
		const { recorded } = traitsOf(spec);
		const before = await this.#store.jobs.get(job.jobId);
		const startedAt =
			before?.startedAt ?? (job.agreement.started === undefined ? undefined : new Date().toISOString());
		await this.#store.jobs.put(job.jobId, {
			id: job.jobId,
			name: spec.name,
			technique: spec.technique,
			privacyParameters: facts(recorded.privacy),
			dataSet: facts(spec.data),
			modelConfig: facts(recorded.model),
			status,
			createdBy: proposal.submitter,
			createdAt: proposal.createdAt,
			...(startedAt === undefined ? {} : { startedAt }),
			...(completedAt === undefined ? {} : { completedAt }),
		});
	}

	/** A certified round: who was in it, the session that opened its sum, and what it spent here. */
	async round(
		job: JobRuntime,
		content: RoundResult,
		invited: readonly PeerId[],
		usage: RoundUsage,
		released: readonly ChargeView[],
	): Promise<void> {
		const at = new Date().toISOString();
		await this.#participants(job, content, invited, usage, at);
		await this.#session(job, content, at);
		await this.executed(job, { ...content, seconds: usage.seconds }, released);
	}

	/** What a release ran and spent here. @param released charges that paid for it and became final now */
	async executed(
		job: JobRuntime,
		{ round, metrics, seconds }: Pick<RoundResult, "round" | "metrics"> & { readonly seconds: number },
		released: readonly ChargeView[],
	): Promise<void> {
		if (released.length === 0) return;
		const at = new Date().toISOString();
		const { spec, plan, jobId } = job;
		await this.#settle(spec, jobId);
		for (const charge of released) {
			const parameters = plan === undefined ? {} : mechanismFacts(plan.work, round, released);
			await this.#execution(charge, {
				mechanism: traitsOf(spec).recorded.mechanism,
				delta: this.#deltaOf(spec),
				filterEpsilon: privacyPromiseOf(spec)?.filterEpsilon,
				parameters,
				metrics,
				durationMs: seconds * 1000,
				at,
			});
		}
		await this.#budget(spec, jobId, at);
	}

	/**
	 * Writes what a crash kept from being written after a round was certified. How long the round
	 * took is not known any more: its duration is 0, and the parameters say that it was recovered.
	 */
	async recover(charges: readonly ChargeView[], metrics: RoundResult["metrics"]): Promise<void> {
		for (const charge of charges) {
			if ((await this.#store.mechanismExecutions.get(charge.chargeId)) !== undefined) continue;
			await this.#execution(charge, {
				mechanism: mechanismOf(charge.event),
				delta: this.#budgets.ledger.account(charge.dataset)?.limits.delta ?? 0,
				filterEpsilon: undefined,
				parameters: { recovered: true },
				metrics,
				durationMs: 0,
				at: new Date().toISOString(),
			});
		}
	}

	/** Has the tight accountant state what the job has spent at the delta it promises. */
	async #settle(spec: Specification, jobId: string): Promise<void> {
		await this.#budgets.settleJob(spec.data.set, jobId, this.#deltaOf(spec));
	}

	/** The delta that the job promises; the data set's limit where it promises none. */
	#deltaOf(spec: Specification): number {
		return privacyPromiseOf(spec)?.delta ?? this.#budgets.ledger.account(spec.data.set)?.limits.delta ?? 0;
	}

	async #participants(
		job: JobRuntime,
		content: RoundResult,
		invited: readonly PeerId[],
		usage: RoundUsage,
		at: string,
	): Promise<void> {
		for (const peer of job.participants ?? []) {
			const id = `${job.jobId}/${peer}`;
			const before = await this.#store.participants.get(id);
			const survived = content.survivors.includes(peer);
			const member = job.charter.members.find((known) => known.peer === peer);
			await this.#store.participants.put(id, {
				id,
				jobId: job.jobId,
				peer,
				type: peer === usage.coordinator ? "coordinator" : "client",
				connection: { addresses: [...(member?.addresses ?? [])] },
				dataCharacteristics: facts(member?.declared ?? {}),
				participationRounds: (before?.participationRounds ?? 0) + (survived ? 1 : 0),
				status: survived
					? "active"
					: invited.includes(peer)
						? "missed the last round"
						: "not selected for the last round",
				registeredAt: before?.registeredAt ?? at,
				lastSeenAt: survived ? at : (before?.lastSeenAt ?? at),
			});
		}
	}

	async #session(job: JobRuntime, content: RoundResult, at: string): Promise<void> {
		const id = `${job.jobId}/${content.round}/${content.attempt}`;
		const { participation, plan } = job;
		if (participation === undefined || plan === undefined) return;
		await this.#store.sessions.put(id, {
			id,
			jobId: job.jobId,
			type: "secure_aggregation",
			parties: [...content.survivors],
			securityParameters: {
				...cohortSecurityOf(job.spec, participation),
				modulusBits: plan.modulusBits,
				length: plan.length,
				vectorBytes: packedSize(plan.length, plan.modulusBits),
				wrapProbability: plan.work.plan.encoding.wrapProbability,
			},
			resultHash: toHex(content.stateHash),
			status: content.outcome,
			createdAt: at,
			completedAt: at,
		});
	}

	/** One mechanism that ran on one part of the data, and what it added to what its job had spent there. */
	async #execution(charge: ChargeView, ran: Execution): Promise<void> {
		const { chargeId, dataset, jobId, partition, round, event } = charge;
		const id = budgetId(dataset, jobId);
		const spent = this.#budgets.ledger.jobSpent(dataset, jobId, ran.delta, ran.filterEpsilon)[partition]
			.epsilon;
		const part = `${id}/${partition}`;
		const earlier = this.#consumed.get(part) ?? (await this.#consumedEarlier(id, partition));
		this.#consumed.set(part, Math.max(spent, earlier));
		await this.#store.mechanismExecutions.put(chargeId, {
			id: chargeId,
			budgetId: id,
			mechanism: ran.mechanism,
			parameters: { ...ran.parameters, round, partition, event: facts(event) },
			epsilonConsumed: Math.max(0, spent - earlier),
			deltaConsumed: charge.extraDelta,
			utilityMetrics: facts(ran.metrics),
			durationMs: ran.durationMs,
			executedAt: ran.at,
		});
	}

	async #consumedEarlier(id: string, partition: Partition): Promise<number> {
		let consumed = 0;
		for await (const [, execution] of this.#store.mechanismExecutions.entries()) {
			if (execution.budgetId === id && execution.parameters.partition === partition)
				consumed += execution.epsilonConsumed;
		}
		return consumed;
	}

	async #budget(spec: Specification, jobId: string, at: string): Promise<void> {
		const promise = privacyPromiseOf(spec);
		if (promise === undefined) return;
		const dataset = spec.data.set;
		const id = budgetId(dataset, jobId);
		const before = await this.#store.budgets.get(id);
		const { epsilon, delta, filterEpsilon } = promise;
		const { train, heldOut } = this.#budgets.ledger.jobSpent(dataset, jobId, delta, filterEpsilon);
		const larger = heldOut.epsilon > train.epsilon ? heldOut : train;
		await this.#store.budgets.put(id, {
			id,
			jobId,
			totalEpsilon: epsilon,
			totalDelta: delta,
			consumedEpsilon: larger.epsilon,
			consumedDelta: delta,
			compositionMethod: larger.method,
			// Disjoint records, so the phases run in parallel: each may spend all.
			allocation: { training: { epsilon, delta }, evaluation: { epsilon, delta } },
			createdAt: before?.createdAt ?? at,
			updatedAt: at,
		});
	}
}

/** What is written down of a mechanism that ran. */
interface Execution {
	readonly mechanism: string;
	/** At which its epsilon is stated. */
	readonly delta: number;
	/** See PrivacyPromise. */
	readonly filterEpsilon: number | undefined;
	readonly parameters: Facts;
	readonly metrics: RoundResult["metrics"];
	readonly durationMs: number;
	readonly at: string;
}

/** Parameters of the mechanism that a round ran. */
function mechanismFacts(work: JobWork, round: number, charges: readonly ChargeView[]): Facts {
	const { encoding } = work.plan;
	const common = { sensitivity: encoding.sensitivity };
	if (work.kind === "query")
		return facts({
			...common,
			noiseMultiplier: work.plan.noiseMultiplier,
			query: work.spec.kind,
			sigmaLocal: work.plan.sigmaLocal,
			privacyUnit: "record",
		});
	if (work.kind === "vertical")
		return facts({
			...common,
			noiseMultiplier: work.plan.noiseMultiplier,
			sigmaLocal: work.plan.sigmaLocal,
			step: stepOf(work.plan.schedule, round).kind,
			privacyUnit: "record",
		});
	const { spec, plan } = work;
	const { privacy, training } = spec;
	const level =
		plan.allocation === undefined
			? noiseLevelOf(plan, round, training.rounds, {})
			: levelCharged(spec, plan, charges);
	const noise = level === undefined ? undefined : plan.noise[level];
	return facts({
		...common,
		noiseMultiplier: noise?.noiseMultiplier,
		sigmaLocal: noise?.parameterSigma,
		...(privacy.mechanism === "none"
			? {}
			: {
					samplingRate: privacy.samplingRate,
					clippingNorm: privacy.clippingNorm,
					privacyUnit: privacy.unit,
				}),
	});
}

function budgetId(dataset: string, jobId: string): string {
	return `${dataset}/${jobId}`;
}

/** A plain JSON copy without keys that have no value. */
function facts(value: object): Facts {
	return JSON.parse(JSON.stringify(value)) as Facts;
}
