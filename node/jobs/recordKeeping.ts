/**
 * The records an auditor reads: jobs, participants, aggregation sessions, mechanism
 * executions and budgets, in the documents' schema. They describe; the journal decides.
 */
import { toHex } from "../../crypto/encoding.ts";
import { quorum } from "../../protocols/certificate/index.ts";
import type { RoundResult } from "../../protocols/training/index.ts";
import type { JobWork } from "../../src/jobs/jobPlan.ts";
import { privacyPromiseOf } from "../../src/jobs/specification.ts";
import type { ChargeView } from "../../src/privacy/budget/charges.ts";
import { noiseOf } from "../../src/training/plan.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { MechanismExecution, Store } from "../store/index.ts";
import type { JobRuntime, RoundUsage } from "./jobRuntime.ts";

type Facts = MechanismExecution["parameters"];

export class RecordKeeping {
	readonly #store: Store;
	readonly #budgets: Budgets;

	constructor(store: Store, budgets: Budgets) {
		this.#store = store;
		this.#budgets = budgets;
	}

	/** The job as it stands. */
	async job(job: JobRuntime, status: string, completedAt?: string): Promise<void> {
		const { spec, proposal } = job;
		const before = await this.#store.jobs.get(job.jobId);
		const startedAt =
			before?.startedAt ?? (job.agreement.started === undefined ? undefined : new Date().toISOString());
		await this.#store.jobs.put(job.jobId, {
			id: job.jobId,
			name: spec.name,
			technique: spec.technique,
			privacyParameters: facts(spec.technique === "query" ? spec.query.privacy : spec.privacy),
			dataSet: facts(spec.data),
			modelConfig: facts(spec.technique === "query" ? spec.query : spec.model),
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
		usage: RoundUsage,
		released: readonly ChargeView[],
	): Promise<void> {
		const at = new Date().toISOString();
		await this.#participants(job, content, usage, at);
		await this.#session(job, content, at);
		if (released.length === 0) return;
		for (const charge of released) await this.#execution(job, content, usage, charge, at);
		await this.#budget(job, at);
	}

	async #participants(job: JobRuntime, content: RoundResult, usage: RoundUsage, at: string): Promise<void> {
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
				status: survived ? "active" : "missed the last round",
				registeredAt: before?.registeredAt ?? at,
				lastSeenAt: survived ? at : (before?.lastSeenAt ?? at),
			});
		}
	}

	async #session(job: JobRuntime, content: RoundResult, at: string): Promise<void> {
		const id = `${job.jobId}/${content.round}/${content.attempt}`;
		const { participation, plan, participants = [] } = job;
		if (participation === undefined || plan === undefined) return;
		await this.#store.sessions.put(id, {
			id,
			jobId: job.jobId,
			type: "secure_aggregation",
			parties: [...content.survivors],
			securityParameters: {
				participants: participation.participants,
				assumedCorrupt: participation.corruption,
				quorum: quorum({ members: participants, corruption: participation.corruption }),
				minimumSurvivors: participation.minimumSurvivors,
				modulusBits: plan.modulusBits,
				length: plan.length,
			},
			resultHash: toHex(content.stateHash),
			status: content.outcome,
			createdAt: at,
			completedAt: at,
		});
	}

	async #execution(
		job: JobRuntime,
		content: RoundResult,
		usage: RoundUsage,
		charge: ChargeView,
		at: string,
	): Promise<void> {
		const { spec, plan } = job;
		const promise = privacyPromiseOf(spec);
		if (promise === undefined || plan === undefined) return;
		const dataset = spec.data.set;
		const spent = this.#budgets.spentBy(dataset, job.jobId);
		const earlier = (await this.#store.budgets.get(budgetId(dataset, job.jobId)))?.consumedEpsilon ?? 0;
		await this.#store.mechanismExecutions.put(charge.chargeId, {
			id: charge.chargeId,
			budgetId: budgetId(dataset, job.jobId),
			mechanism: promise.mechanism,
			parameters: { round: content.round, ...mechanismFacts(plan.work, content.round) },
			epsilonConsumed: Math.max(0, spent - earlier),
			deltaConsumed: 0,
			utilityMetrics: facts(content.metrics),
			durationMs: usage.seconds * 1000,
			executedAt: at,
		});
	}

	async #budget(job: JobRuntime, at: string): Promise<void> {
		const { spec } = job;
		const promise = privacyPromiseOf(spec);
		if (promise === undefined) return;
		const id = budgetId(spec.data.set, job.jobId);
		const before = await this.#store.budgets.get(id);
		const { epsilon, delta } = promise;
		await this.#store.budgets.put(id, {
			id,
			jobId: job.jobId,
			totalEpsilon: epsilon,
			totalDelta: delta,
			consumedEpsilon: this.#budgets.spentBy(spec.data.set, job.jobId),
			consumedDelta: delta,
			compositionMethod: "rdp",
			allocation: { training: { epsilon, delta }, evaluation: { epsilon, delta } },
			createdAt: before?.createdAt ?? at,
			updatedAt: at,
		});
	}
}

/** Parameters of the mechanism that a round ran. */
function mechanismFacts(work: JobWork, round: number): Facts {
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
	const { privacy, training } = work.spec;
	const noise = noiseOf(work.plan, round, training.rounds);
	return facts({
		...common,
		noiseMultiplier: noise.noiseMultiplier,
		sigmaLocal: noise.parameterSigma,
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
