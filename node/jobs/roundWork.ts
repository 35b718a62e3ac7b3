/**
 * The work that training asks this node for: contributions and their charges, masks, releases.
 * Every contribution has one charge, bound to the very vector that was computed.
 */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import { type GossipTask, type GossipTaskResult, roundsReleased } from "../../protocols/gossip/index.ts";
import {
	ownAttempt,
	type RoundResult,
	type TrainingTask,
	type TrainingTaskResult,
} from "../../protocols/training/index.ts";
import { decodePromise } from "../../protocols/training/promises.ts";
import { type JobPlan, jobPlanOf } from "../../src/jobs/jobPlan.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import type { ResolvedSpecification } from "../../src/jobs/specification.ts";
import type { BackendName } from "../../src/learning/trainer.ts";
import type { ChargeView } from "../../src/privacy/budget/charges.ts";
import { chargesBuried, chargesReleased, STANDING } from "../../src/privacy/budget/settlement.ts";
import type { CorrelationHistory } from "../../src/privacy/correlatedNoise/encoder.ts";
import type { Participation } from "../../src/training/plan.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets } from "../data/datasets.ts";
import type { WorkerPool } from "../workers/workerPool.ts";
import type { JobRuntime } from "./jobRuntime.ts";
import { JobUses } from "./jobUse.ts";
import type { SiteStates } from "./siteStates.ts";
import {
	answerOf,
	historyBuffers,
	type JobContext,
	type StreamedPart,
	streamedBuffers,
	type WorkerResult,
	type WorkerTask,
} from "./trainingTasks.ts";
import { UnsentUpdates } from "./unsentUpdates.ts";

/** Longer than any plan takes: what does not end by then is no job to take part in. */
const PLAN_TIMEOUT_MS = 60_000;

export interface RoundWorkOptions {
	readonly self: { readonly peer: PeerId };
	readonly pool: WorkerPool<WorkerTask, WorkerResult>;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
	readonly siteStates: SiteStates;
	readonly backend: BackendName;
	/** Longest that one task of a job may hold a worker thread. */
	readonly taskTimeoutMs: number;
}

/** A contribution that was computed and may be released. */
interface HeldContribution {
	readonly chargeId: string;
	/** How far the noise drawn is from its exact law. */
	readonly samplerDistance: number;
	/** Of noise that the vector was computed with. */
	readonly level: number;
	readonly participations: readonly string[];
	/** What the site keeps for itself if the contribution is summed. */
	readonly own: Uint8Array | undefined;
	/** Of them, those that this contribution's own charge pays for; the same for every attempt. */
	pays?: readonly string[];
}

/** Buffered rounds: trained, but not in a round yet. */
interface PreparedContribution {
	readonly version: number;
	readonly vector: Uint32Array;
	readonly samplerDistance: number;
}

export class RoundWork {
	readonly #options: RoundWorkOptions;
	readonly uses = new JobUses();
	/** By job and round. */
	readonly #contributions = new Map<string, HeldContribution>();
	/** By job with buffered rounds: what is ready for a round to take, without its noise. */
	readonly #prepared = new Map<string, PreparedContribution>();
	/** By job with correlated noise. */
	readonly #histories = new Map<string, CorrelationHistory>();
	/** By job: names of participations that are charged already. In memory alone: after a restart they are charged again. */
	readonly #paid = new Map<string, Set<string>>();
	readonly #unsent: UnsentUpdates;
	/** Momentum of this site's updates, kept from round to round as what it did not send is. */
	readonly #momenta: UnsentUpdates;

	constructor(options: RoundWorkOptions) {
		this.#options = options;
		this.#unsent = new UnsentUpdates(options.self.peer);
		this.#momenta = new UnsentUpdates(options.self.peer);
	}

	/**
	 * Sizes a job's noise on the pool: a proposal is anybody's, and must not hold up the event loop.
	 * @param submitter whose proposals share a turn, so that many of one member delay no other's
	 */
	async plan(spec: ResolvedSpecification, participation: Participation, submitter: PeerId): Promise<JobPlan> {
		const options = { group: `plans of ${submitter}`, timeoutMs: PLAN_TIMEOUT_MS };
		const answer = await this.#options.pool.run({ kind: "plan", spec, participation }, options);
		return jobPlanOf(spec, participation, answerOf(answer, "planned").work);
	}

	/** Carries out a machine's work: budget charges here, everything else on the worker pool. */
	async execute(job: JobRuntime, task: TrainingTask): Promise<TrainingTaskResult> {
		switch (task.kind) {
			case "charge":
				await this.#charge(job, task.round, task.attempt);
				return { kind: "charged" };
			case "contribute": {
				const { round, state } = task;
				const own = await this.#own(job);
				const streamed = await this.#streamed(job, round, state, own);
				const history = this.#histories.get(job.jobId);
				const unsent = this.#unsent.before(job.jobId, round, job.training?.lastRound);
				const momentum = this.#momenta.before(job.jobId, round, job.training?.lastRound);
				// Moved away: should the worker fail, the next round begins another history.
				this.#histories.delete(job.jobId);
				const answer = await this.#run(
					job,
					{
						kind: "contribute",
						job: this.#context(job),
						round,
						state,
						...(history === undefined ? {} : { history }),
						...(unsent === undefined ? {} : { unsent }),
						...(streamed === undefined ? {} : { streamed }),
						...(momentum === undefined ? {} : { momentum }),
						...(own === undefined ? {} : { own }),
					},
					[...historyBuffers(history), ...streamedBuffers(streamed)],
				);
				const result = answerOf(answer, "contribution");
				this.#contributions.set(`${job.jobId}/${round}`, {
					chargeId: `${job.jobId}/${round}/${toHex(randomBytes(8))}`,
					samplerDistance: result.samplerDistance,
					level: result.level,
					participations: result.participations,
					own: result.own,
				});
				if (result.momentum !== undefined) this.#momenta.after(job.jobId, round, result.momentum);
				if (result.unsent !== undefined) this.#unsent.after(job.jobId, round, result.unsent);
				if (result.history !== undefined) this.#histories.set(job.jobId, result.history);
				return { kind: "contribution", vector: result.vector, publicPart: result.publicPart };
			}
			case "prepare":
				return await this.#prepare(job, task.version, task.state);
			case "finish":
				return await this.#finish(job, task);
			case "apply":
				return answerOf(await this.#run(job, { ...task, job: this.#context(job) }), "applied");
			case "aggregate":
				return answerOf(await this.#run(job, { kind: "aggregate", task: task.task }), "aggregated");
		}
	}

	/** The same for a job without a coordinator. */
	async executeGossip(job: JobRuntime, task: GossipTask): Promise<GossipTaskResult> {
		const { jobId } = job;
		switch (task.kind) {
			case "train": {
				const { round, state } = task;
				const streamed = await this.#streamed(job, round, state);
				const work = {
					kind: "trainOwn" as const,
					job: this.#context(job),
					round,
					state,
					...(streamed === undefined ? {} : { streamed }),
				};
				const answer = await this.#run(job, work, streamedBuffers(streamed));
				const { model, metrics, samplerDistance } = answerOf(answer, "trainedOwn");
				this.#contributions.set(`${jobId}/${round}`, {
					chargeId: `${jobId}/${round}/${toHex(randomBytes(8))}`,
					samplerDistance,
					level: 0,
					participations: [],
					own: undefined,
				});
				return { kind: "trained", model, metrics };
			}
			case "charge":
				await this.#charge(job, task.round, 0);
				return { kind: "charged" };
			case "mix": {
				const { kind: _, round: __, ...exchange } = task;
				const answer = await this.#run(job, { kind: "exchange", job: this.#context(job), exchange });
				return { kind: "mixed", ...answerOf(answer, "exchanged").exchanged };
			}
		}
	}

	/** What the round needs of records that are read in passes, by the job's own thread. */
	async #streamed(
		job: JobRuntime,
		round: number,
		state: Uint8Array,
		own?: Uint8Array,
	): Promise<StreamedPart | undefined> {
		const { datasets, backend } = this.#options;
		const { streams } = datasets;
		const set = datasets.streamed(job.spec.data.set);
		const work = job.plan?.work;
		if (set === undefined || work === undefined) return undefined;
		if (work.kind === "query") return { kind: "sums", sums: await streams.sums(set, work.spec) };
		if (work.kind === "vertical")
			throw new AlthingError("data.cannot_stream", "vertical learning does not read records in passes");
		const { spec, plan } = work;
		return {
			kind: "round",
			round: await streams.round(job.jobId, { set, spec, plan, backend, round, state, own }),
		};
	}

	/** Buffered rounds: trains, and keeps what comes out until a round takes it; in memory alone. */
	async #prepare(job: JobRuntime, version: number, state: Uint8Array): Promise<TrainingTaskResult> {
		const streamed = await this.#streamed(job, version, state);
		const task = {
			kind: "contribute" as const,
			job: this.#context(job),
			round: version,
			state,
			...(streamed === undefined ? {} : { streamed }),
		};
		const answer = await this.#run(job, task, streamedBuffers(streamed));
		const { vector, samplerDistance } = answerOf(answer, "contribution");
		this.#prepared.set(job.jobId, { version, vector, samplerDistance });
		return { kind: "prepared" };
	}

	/** Buffered rounds: what was prepared, once: it is moved away and gone. */
	async #finish(
		job: JobRuntime,
		{ round, version, state }: Extract<TrainingTask, { kind: "finish" }>,
	): Promise<TrainingTaskResult> {
		const prepared = this.#prepared.get(job.jobId);
		this.#prepared.delete(job.jobId);
		if (prepared?.version !== version) {
			throw new AlthingError(
				"training.not_prepared",
				`there is no contribution from version ${version} here any more; the next one is on its way`,
			);
		}
		const task = {
			kind: "weigh" as const,
			job: this.#context(job),
			prepared: prepared.vector,
			staleness: round - version,
			state,
		};
		const answer = await this.#run(job, task, [prepared.vector.buffer as ArrayBuffer]);
		const { vector, samplerDistance } = answerOf(answer, "weighed");
		this.#contributions.set(`${job.jobId}/${round}`, {
			chargeId: `${job.jobId}/${round}/${toHex(randomBytes(8))}`,
			samplerDistance: Math.max(samplerDistance, prepared.samplerDistance),
			// Buffered rounds have one level of noise, and none that is correlated.
			level: 0,
			participations: [],
			own: undefined,
		});
		return { kind: "contribution", vector };
	}

	/** Jobs share the threads' time evenly, whatever the size of their tasks. */
	#run(
		{ jobId }: JobRuntime,
		task: WorkerTask,
		transfer: readonly ArrayBuffer[] = [],
	): Promise<WorkerResult> {
		const { pool, taskTimeoutMs: timeoutMs } = this.#options;
		return this.uses.count(jobId, (onMeasured) =>
			pool.run(task, { group: jobId, timeoutMs, transfer, onMeasured }),
		);
	}

	/** Charges what the round's contribution costs, durably, before it leaves. */
	async #charge(job: JobRuntime, round: number, attempt: number): Promise<void> {
		const { plan, spec, jobId, proposal } = job;
		const contribution = this.#contributions.get(`${jobId}/${round}`);
		if (plan === undefined || contribution === undefined) {
			throw new AlthingError(
				"budget.no_contribution",
				`there is no contribution of round ${round} to charge for`,
			);
		}
		const { chargeId, samplerDistance, level, participations, own } = contribution;
		const paid = this.#paid.get(jobId) ?? new Set<string>();
		this.#paid.set(jobId, paid);
		const pays = contribution.pays ?? participations.filter((name) => !paid.has(name));
		await this.#options.budgets.charge(
			plan
				.charges({ round, level, samplerDistance, newCycles: pays.length })
				.map(({ partition, event, extraDelta, standing = false }) => ({
					partition,
					event,
					extraDelta,
					dataset: spec.data.set,
					jobId,
					round,
					attempt,
					chargeId: `${chargeId}/${partition}${standing ? STANDING : ""}`,
					analyst: proposal.submitter,
				})),
		);
		// A private step of an own part of a vertical job is one draw of noise, even if its round is void.
		const standing = traitsOf(spec).siteState === "standing";
		if (own !== undefined) await this.#options.siteStates.propose(jobId, round, attempt, own, standing);
		contribution.pays = pays;
		for (const name of pays) paid.add(name);
	}

	/** What the site keeps of the job for itself, the last certified round taken into account. */
	async #own(job: JobRuntime): Promise<Uint8Array | undefined> {
		if (traitsOf(job.spec).siteState === "none") return undefined;
		const { siteStates } = this.#options;
		// It may be asked for before the round is told of.
		const last = job.training?.lastRound;
		if (last !== undefined) await siteStates.settle(job.jobId, last);
		return await siteStates.latest(job.jobId);
	}

	/**
	 * What the job leaves to be done for this site's own model when its rounds are over; nothing where that is done.
	 * @returns whether anything was done
	 */
	async personalize(job: JobRuntime): Promise<boolean> {
		const { siteStates } = this.#options;
		const { spec, training, jobId } = job;
		if (!traitsOf(spec).personalizes || training === undefined) return false;
		const own = await this.#own(job);
		if (await siteStates.finished(jobId)) return false;
		const answer = await this.#run(job, {
			kind: "personalize",
			job: this.#context(job),
			rounds: training.round,
			state: training.state,
			...(own === undefined ? {} : { own }),
		});
		await siteStates.finish(jobId, answerOf(answer, "personalized").own);
		return true;
	}

	#context(job: JobRuntime): JobContext {
		const { datasets, backend, self } = this.#options;
		const dataset = datasets.get(job.spec.data.set);
		if (dataset === undefined || job.plan === undefined) {
			throw new AlthingError(
				"job.no_data",
				`data set ${job.spec.data.set} is not registered here any more; add it again and resume the job`,
			);
		}
		return {
			jobId: job.jobId,
			work: job.plan.work,
			description: "description" in job.spec.data ? job.spec.data.description : dataset.description,
			submitted: job.proposal.submitter === self.peer,
			dataPath: dataset.path,
			streamed: dataset.streamed !== undefined,
			splitKey: dataset.splitKey,
			backend,
			threads: 1,
		};
	}

	/**
	 * Takes back an attempt that a Dead certificate proves released nothing: from every charge of it,
	 * those made before a restart included.
	 */
	async refund(jobId: string, round: number, attempt: number): Promise<void> {
		const { budgets } = this.#options;
		for (const { chargeId } of chargesBuried(budgets.ledger.chargesOf(jobId, round), attempt))
			await budgets.refund(chargeId, attempt);
	}

	/**
	 * The round is certified: what the site keeps for itself is settled; if the sum was released with this
	 * site's part, what paid for that is final.
	 * @returns the charges that became final now
	 */
	async settle(
		jobId: string,
		content: Pick<RoundResult, "round" | "outcome" | "attempt" | "survivors">,
	): Promise<readonly ChargeView[]> {
		const { budgets, self, siteStates } = this.#options;
		const { round, outcome, attempt, survivors } = content;
		await siteStates.settle(jobId, content);
		this.#contributions.delete(`${jobId}/${round}`);
		if (outcome !== "released" || !survivors.includes(self.peer)) return [];
		const charges = budgets.ledger.chargesOf(jobId, round);
		const taken = charges.flatMap(({ liveAttempts }) => liveAttempts);
		const released = chargesReleased(charges, ownAttempt(attempt, taken));
		for (const { chargeId } of released) await budgets.finalise(chargeId);
		return released;
	}

	/** Gossip: the model of a round has left, or is promised to; what paid for it is final. */
	settleRelease(jobId: string, round: number): Promise<readonly ChargeView[]> {
		const survivors = [this.#options.self.peer];
		return this.settle(jobId, { round, outcome: "released", attempt: 0, survivors });
	}

	/**
	 * Brings the ledger in line with the models that a gossip job's journal promises, after a restart.
	 * @returns every charge that pays for one of them
	 */
	async reconcileGossip(jobId: string, records: readonly Uint8Array[]): Promise<readonly ChargeView[]> {
		const charges: ChargeView[] = [];
		for (const round of roundsReleased(records)) {
			await this.settleRelease(jobId, round);
			const { ledger } = this.#options.budgets;
			charges.push(...ledger.chargesOf(jobId, round).filter(({ state }) => state === "released"));
		}
		return charges;
	}

	/** The job has ended here: gives back what it holds in memory, here and in every worker. */
	forget(jobId: string): void {
		this.#prepared.delete(jobId);
		this.#histories.delete(jobId);
		this.#paid.delete(jobId);
		this.#unsent.forget(jobId);
		this.#momenta.forget(jobId);
		this.uses.forget(jobId);
		this.#options.pool.tell({ kind: "forget", jobId });
		void this.#options.datasets.streams.forget(jobId);
	}

	/**
	 * Brings the ledger in line with what the job's journal proves, after a restart: a crash may have
	 * come between a certificate and its consequences.
	 * @param records the job's training records, in order
	 * @returns the last certified round with the charges that paid for it
	 */
	async reconcile(
		jobId: string,
		records: readonly Uint8Array[],
	): Promise<{ readonly charges: readonly ChargeView[]; readonly content: RoundResult } | undefined> {
		let content: RoundResult | undefined;
		for (const promise of records.map(decodePromise)) {
			if (promise.kind === "dead") await this.refund(jobId, promise.round, promise.certificate.slot.attempt);
			if (promise.kind !== "result") continue;
			content = promise.content;
			await this.settle(jobId, content);
		}
		if (content === undefined) return undefined;
		const charges = this.#options.budgets.ledger.chargesOf(jobId, content.round);
		return { content, charges: charges.filter(({ state }) => state === "released") };
	}
}
