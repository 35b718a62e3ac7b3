/** All jobs of this node: proposals in, decisions by policy or a person, training, and what the admin RPC shows of it. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import {
	decodeAgreementMessage,
	type JobProposal,
	jobIdOf,
	proposalAmong,
	signProposal,
	verifyProposal,
} from "../../protocols/agreement/index.ts";
import { type Charter, charterHash } from "../../protocols/federation/index.ts";
import type { GossipOutput } from "../../protocols/gossip/index.ts";
import { type CoordinationTiming, type RoundResult, resultHash } from "../../protocols/training/index.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import { answerIn } from "../../src/jobs/queryRound.ts";
import {
	checkAnyJob,
	privacyPromiseOf,
	resolveSpecification,
	roundsOf,
} from "../../src/jobs/specification.ts";
import type { BackendName } from "../../src/learning/trainer.ts";
import type { Characteristics } from "../../src/selection/selectionChoice.ts";
import type { Budgets } from "../budget/budgets.ts";
import type { Datasets } from "../data/datasets.ts";
import type { Logger } from "../logging/logger.ts";
import type { NodeMetrics } from "../metrics.ts";
import { MAX_ANNOUNCEMENT_BYTES, type Network } from "../network/port.ts";
import { roundView } from "../rpc/schemas.ts";
import type { JobDetail, JobService, JobState, JobSummary, JsonObject, RoundView } from "../rpc/services.ts";
import type { Collection, Store } from "../store/index.ts";
import type { WorkerPool } from "../workers/workerPool.ts";
import { type JobPolicy, judgeJob, requireCharter } from "./acceptance.ts";
import { AttendedClock } from "./attendedClock.ts";
import { cohortSecurityOf } from "./cohortSecurity.ts";
import { gossipKind } from "./gossipRun.ts";
import { agreementEvent, gossipEvent, trainingEvent } from "./jobEvents.ts";
import {
	endsJobHere,
	type JobEvent,
	JobRuntime,
	promisesKind,
	type RoundUsage,
	trainingKind,
} from "./jobRuntime.ts";
import { JobSlots } from "./jobSlots.ts";
import type { JobUse } from "./jobUse.ts";
import { RecordKeeping } from "./recordKeeping.ts";
import { RoundWork } from "./roundWork.ts";
import type { SiteStates } from "./siteStates.ts";
import type { WorkerResult, WorkerTask } from "./trainingTasks.ts";

/** What the jobs need of the daemon. */
export interface JobsOptions {
	readonly self: SigningKey;
	readonly network: Network;
	readonly store: Store;
	readonly pool: WorkerPool<WorkerTask, WorkerResult>;
	readonly datasets: Datasets;
	readonly budgets: Budgets;
	readonly siteStates: SiteStates;
	readonly policy: JobPolicy;
	/** What this organization declares about itself, for jobs that select by it. */
	readonly characteristics: Characteristics;
	readonly backend: BackendName;
	readonly limits: JobLimits;
	readonly timing: CoordinationTiming;
	readonly gatherMs: number;
	readonly federationId: string;
	/** The charter in force, and any earlier version by its hash. */
	readonly charter: () => Charter;
	readonly charterByHash: (hash: Uint8Array) => Charter | undefined;
	/** Journal records by kind, as read at start. */
	readonly records: ReadonlyMap<string, readonly Uint8Array[]>;
	readonly log: Logger;
	readonly nowMs: () => number;
	readonly metrics: NodeMetrics;
	readonly publish: (event: { type: string; job?: string; data: JsonObject }) => void;
	readonly onRound: (
		job: JobRuntime,
		content: Pick<RoundResult, "round" | "metrics">,
		stateHash: string,
		resultHash: string,
	) => Promise<void>;
	readonly onFatal: (error: unknown) => void;
}

/** What jobs may take of this node, from its configuration. */
interface JobLimits {
	/** Jobs that train at the same time. */
	readonly running: number;
	readonly taskSeconds: number;
}

const decisionSchema = z.strictObject({
	state: z.enum(["proposed", "queued", "running", "waiting", "completed", "failed", "aborted", "rejected"]),
	reason: z.string().optional(),
	createdAt: z.string(),
});
type Standing = z.infer<typeof decisionSchema>;

/** A job that certified no round for this long lends its place to the next, while others are queued. */
const SLOT_PATIENCE_MS = 120_000;
const SLOT_CHECK_MS = 5_000;
/** Undecided jobs of one member that are kept: each costs memory and a place in the journal. */
const MAX_OPEN_PROPOSALS = 32;
/** Taken up again by a person alone. */
const STOPPED: readonly JobState[] = ["aborted", "failed"];
/** Nothing is computed for it here any more, unless it is resumed. */
const ENDED: readonly JobState[] = ["completed", "failed", "aborted", "rejected"];
/** Gossip topic on which coordinators announce certified rounds. */
const ROUNDS_TOPIC = "rounds";
const roundAnnouncementSchema = z.strictObject({ jobId: z.string().max(64), round: z.int().min(0) });

export class Jobs implements JobService {
	readonly #options: JobsOptions;
	readonly #jobs = new Map<string, JobRuntime>();
	readonly #standing = new Map<string, Standing>();
	readonly #history = new Map<string, RoundView[]>();
	readonly #standings: Collection<Standing>;
	readonly #rounds: Collection<RoundView>;
	readonly #work: RoundWork;
	/** Jobs that wait for no more than links to participants. */
	readonly #outOfReach = new Set<string>();
	readonly #unsubscribe: (() => void)[] = [];
	readonly #keeping: RecordKeeping;
	readonly #slots: JobSlots;
	readonly #clock = new AttendedClock();
	#stopping = false;

	private constructor(options: JobsOptions) {
		this.#options = options;
		const { running, taskSeconds } = options.limits;
		this.#keeping = new RecordKeeping(options.store, options.budgets);
		this.#work = new RoundWork({ ...options, taskTimeoutMs: taskSeconds * 1000 });
		this.#slots = new JobSlots(running, SLOT_PATIENCE_MS);
		this.#standings = options.store.collection("job-standing", decisionSchema);
		this.#rounds = options.store.collection("job-rounds", roundView, "index");
	}

	/** Takes up every job that the journal knows. */
	static async open(options: JobsOptions): Promise<Jobs> {
		const jobs = new Jobs(options);
		for await (const [id, standing] of jobs.#standings.entries()) jobs.#standing.set(id, standing);
		for await (const [key, view] of jobs.#rounds.entries()) {
			const id = key.split("/")[0] ?? "";
			jobs.#history.set(id, [...(jobs.#history.get(id) ?? []), view]);
		}
		const { network } = options;
		jobs.#unsubscribe.push(
			network.onMessage("agreement/", (from, channel, packet) => {
				const job = jobs.#jobs.get(channel.slice("agreement/".length));
				if (job !== undefined) job.receiveAgreement(from, packet);
				else jobs.#receiveUnknown(from, packet.body);
			}),
			network.onMessage("training/", (from, channel, packet) => {
				jobs.#jobs.get(channel.slice("training/".length))?.receiveTraining(from, packet);
			}),
			network.onMessage("gossip/", (from, channel, packet) => {
				jobs.#jobs.get(channel.slice("gossip/".length))?.receiveGossip(from, packet);
			}),
			network.onAnnouncement(ROUNDS_TOPIC, (from, body) => jobs.#heardOfRound(from, body)),
			network.onPeerChange((peer, connected) => {
				for (const job of jobs.#jobs.values()) {
					job.connectivity(peer, connected);
					jobs.#noteReach(job).catch(options.onFatal);
				}
			}),
		);
		jobs.#clock.start();
		jobs.#unsubscribe.push(() => jobs.#clock.stop());
		const slotCheck = setInterval(() => jobs.#admitNext(), SLOT_CHECK_MS);
		jobs.#unsubscribe.push(() => clearInterval(slotCheck));
		for (const [kind, records] of options.records) {
			if (kind.startsWith("training/")) {
				const last = await jobs.#work.reconcile(kind.slice("training/".length), records);
				if (last !== undefined) await jobs.#keeping.recover(last.charges, last.content.metrics);
			}
			if (kind.startsWith("gossip/")) {
				const charges = await jobs.#work.reconcileGossip(kind.slice("gossip/".length), records);
				await jobs.#keeping.recover(charges, {});
			}
			if (!kind.startsWith("agreement/")) continue;
			const proposal = proposalAmong(records);
			if (proposal !== undefined) jobs.#take(proposal, records);
		}
		return jobs;
	}

	async stop(): Promise<void> {
		this.#stopping = true;
		for (const unsubscribe of this.#unsubscribe) unsubscribe();
		await Promise.all([...this.#jobs.values()].map((job) => job.stop()));
	}

	get running(): number {
		return [...this.#standing.values()].filter(({ state }) => state === "running" || state === "waiting")
			.length;
	}

	/** What each job takes of the worker threads, and which ones wait for a place. */
	load(): { readonly uses: readonly JobUse[]; readonly queued: readonly string[] } {
		return { uses: this.#work.uses.all(), queued: this.#slots.queue };
	}

	/** Jobs that used a data set. */
	using(dataset: string): string[] {
		return [...this.#jobs.values()].filter((job) => job.spec.data.set === dataset).map((job) => job.jobId);
	}

	find(prefix: string): JobRuntime {
		const exact = this.#jobs.get(prefix);
		if (exact !== undefined) return exact;
		const found = [...this.#jobs.values()].filter((job) => job.jobId.startsWith(prefix));
		const [only] = found;
		if (only === undefined || found.length > 1) {
			const why =
				found.length > 1
					? `"${prefix}" begins the ids of ${found.length} jobs; give more of it`
					: `there is no job ${prefix}`;
			throw new AlthingError("job.not_found", `${why}; \`althing job ls\` lists them`, { job: prefix });
		}
		return only;
	}

	async submit(params: { spec: JsonObject }): Promise<JobSummary> {
		const { self, federationId, datasets } = this.#options;
		const charter = this.#options.charter();
		const spec = checkAnyJob(params.spec);
		const own = datasets.get(spec.data.set);
		const resolved = resolveSpecification(spec, own?.description);
		await this.#work.plan(resolved, requireCharter(resolved, charter), self.peer);
		const proposal = signProposal(self, {
			federationId,
			charterHash: charterHash(charter),
			spec: encodeCanonical(resolved as never),
			createdAt: new Date().toISOString(),
			nonce: randomBytes(16),
		});
		return this.#summary(this.#take(proposal, []));
	}

	async list(): Promise<JobSummary[]> {
		return [...this.#jobs.values()]
			.map((job) => this.#summary(job))
			.sort((a, b) => (a.createdAt < b.createdAt ? 1 : -1));
	}

	async show(params: { job: string }): Promise<JobDetail> {
		const job = this.find(params.job);
		const members = job.charter.members;
		const history = this.#history.get(job.jobId) ?? [];
		return {
			...this.#summary(job),
			spec: JSON.parse(JSON.stringify(job.spec)) as JsonObject,
			...(job.training === undefined
				? {}
				: { term: job.training.term, coordinator: job.training.coordinator }),
			...(job.gossip === undefined
				? {}
				: { neighbours: [...job.gossip.neighbours], spectralGap: job.gossip.spectralGap }),
			participants: members.map(({ peer, organization }) => {
				const response = job.agreement.responses.find((known) => known.peer === peer);
				return {
					peer,
					organization,
					decision: response === undefined ? "pending" : response.accept ? "accepted" : "rejected",
					...(response === undefined || response.accept ? {} : { reason: response.reason }),
				};
			}),
			history,
			secureSum: job.participation && cohortSecurityOf(job.spec, job.participation),
			...(traitsOf(job.spec).trainsModel && history.length > 0 ? { model: job.jobId } : {}),
			...this.#answer(job),
		};
	}

	async approve(params: { job: string }): Promise<JobSummary> {
		const job = this.#undecided(params.job);
		const verdict = await this.#judge(job);
		if (verdict.decision === "refuse") {
			throw new AlthingError("job.refused_by_policy", `this job cannot be approved here: ${verdict.reason}`, {
				job: job.jobId,
				because: verdict.code,
			});
		}
		job.respond(true, "approved by a person");
		return this.#summary(job);
	}

	async reject(params: { job: string; reason?: string | undefined }): Promise<JobSummary> {
		const job = this.#undecided(params.job);
		job.respond(false, params.reason ?? "rejected by a person");
		await this.#setState(job, "rejected", params.reason ?? "rejected by a person");
		return this.#summary(job);
	}

	/** The submitter's abort ends the job everywhere; another organization's takes only itself out. */
	async abort(params: { job: string; reason?: string | undefined }): Promise<JobSummary> {
		const job = this.find(params.job);
		const reason = params.reason ?? "aborted by its operator";
		this.#requireOpen(job);
		if (job.proposal.submitter === this.#options.self.peer) job.abort(reason);
		else {
			if (job.agreement.ownResponse === undefined) job.respond(false, reason);
			await job.pause();
		}
		await this.#setState(job, "aborted", reason);
		return this.#summary(job);
	}

	async resume(params: { job: string }): Promise<JobSummary> {
		const job = this.find(params.job);
		const state = this.#standing.get(job.jobId)?.state;
		const ended = state === "completed" || state === "rejected";
		if (ended || job.agreement.aborted !== undefined || job.agreement.ownResponse?.accept === false) {
			throw new AlthingError("job.ended", `job ${params.job} is ${state} and cannot be resumed`, {
				job: job.jobId,
				state,
			});
		}
		if (state === "running" || state === "proposed" || state === "queued") return this.#summary(job);
		await job.pause();
		const started = job.agreement.started !== undefined;
		if (started && this.#slots.enter(job.jobId, this.#nowMs)) await this.#takeUp(job);
		else {
			await this.#setState(job, started ? "queued" : "proposed");
			job.unpause();
		}
		return this.#summary(job);
	}

	/** Training begins, or goes on from what the journal holds by now. */
	async #takeUp(job: JobRuntime): Promise<void> {
		const records: Uint8Array[] = [];
		for await (const record of this.#options.store.journal.replay(promisesKind(job.spec, job.jobId)))
			records.push(record.body);
		await this.#setState(job, "running");
		await job.resume(records);
	}

	/** Jobs whose turn has come begin. */
	#admitNext(): void {
		if (this.#stopping) return;
		for (const id of this.#slots.next(this.#nowMs)) {
			const job = this.#jobs.get(id);
			if (job === undefined) continue;
			this.#takeUp(job)
				.catch((error: unknown) => this.#onEvent(job, { kind: "failed", error }))
				.catch(this.#options.onFatal);
		}
	}

	get #nowMs(): number {
		return this.#options.nowMs();
	}

	/** What a query found, once its round is certified. */
	#answer(job: JobRuntime): Pick<JobDetail, "answer"> {
		if (job.spec.technique !== "query" || job.training === undefined) return {};
		const answer = answerIn(job.training.state);
		return answer === undefined ? {} : { answer: JSON.parse(JSON.stringify(answer)) as JsonObject };
	}

	#undecided(prefix: string): JobRuntime {
		const job = this.find(prefix);
		if (job.agreement.ownResponse !== undefined || job.agreement.started !== undefined) {
			throw new AlthingError("job.decided", `job ${prefix} has been decided here already`, {
				job: job.jobId,
			});
		}
		return job;
	}

	#requireOpen(job: JobRuntime): void {
		const state = this.#standing.get(job.jobId)?.state;
		if (state === "completed" || state === "aborted" || state === "rejected") {
			throw new AlthingError("job.ended", `job ${job.jobId} is ${state} already`, { job: job.jobId, state });
		}
	}

	#take(proposal: JobProposal, agreementRecords: readonly Uint8Array[]): JobRuntime {
		const options = this.#options;
		const charter = options.charterByHash(proposal.charterHash);
		if (charter === undefined) {
			throw new AlthingError(
				"job.unknown_charter",
				"the job names a charter version that this node does not know; it will once it has caught up",
			);
		}
		const jobId = jobIdOf(proposal);
		const job = new JobRuntime(
			proposal,
			{
				self: options.self,
				network: options.network,
				log: options.log.child({ job: jobId.slice(0, 12) }),
				nowMs: options.nowMs,
				attendedMs: () => this.#clock.nowMs(),
				charter,
				characteristics: options.characteristics,
				timing: options.timing,
				gatherMs: options.gatherMs,
				journal: options.store.journal,
				blobs: options.store.blobs,
				plan: (spec, who) => this.#work.plan(spec, who, proposal.submitter),
				admitted: ({ jobId: id }) => this.#slots.holds(id) || this.#standing.get(id)?.state === "completed",
				execute: (runtime, task) => this.#work.execute(runtime, task),
				executeGossip: (runtime, task) => this.#work.executeGossip(runtime, task),
				onEvent: (runtime, event) => this.#onEvent(runtime, event),
				onFatal: options.onFatal,
			},
			{
				agreement: agreementRecords,
				training: options.records.get(trainingKind(jobId)) ?? options.records.get(gossipKind(jobId)) ?? [],
			},
			// What this organization stopped, or what failed here, stays stopped over a restart.
			{ paused: STOPPED.includes(this.#standing.get(jobId)?.state ?? "proposed") },
		);
		this.#jobs.set(jobId, job);
		if (!this.#standing.has(jobId)) {
			this.#standing.set(jobId, { state: "proposed", createdAt: proposal.createdAt });
		}
		job.open();
		return job;
	}

	#receiveUnknown(from: PeerId, body: Uint8Array): void {
		const { log, federationId } = this.#options;
		try {
			const message = decodeAgreementMessage(body);
			if (message.kind !== "proposal") return;
			const { proposal } = message;
			if (proposal.federationId !== federationId || !verifyProposal(proposal)) {
				log.warn({ peer: from }, "a job proposal that does not verify was dropped");
				return;
			}
			if (this.#jobs.has(jobIdOf(proposal))) return;
			const charter = this.#options.charterByHash(proposal.charterHash);
			if (charter !== undefined && charter.version < this.#options.charter().version - 1) {
				log.warn({ peer: from }, "a job proposal under a superseded charter was dropped");
				return;
			}
			const open = [...this.#jobs.values()].filter(
				(job) =>
					job.proposal.submitter === proposal.submitter &&
					this.#standing.get(job.jobId)?.state === "proposed",
			);
			if (open.length >= MAX_OPEN_PROPOSALS) {
				log.warn(
					{ peer: from, submitter: proposal.submitter },
					"a member has too many open proposals: dropped",
				);
				return;
			}
			this.#take(proposal, []);
		} catch (error) {
			log.warn({ peer: from, err: error }, "a job message was dropped");
		}
	}

	/** A certified round announced by its coordinator: a node that is behind asks for it. */
	#heardOfRound(from: PeerId, body: Uint8Array): void {
		let announced: z.infer<typeof roundAnnouncementSchema>;
		try {
			announced = roundAnnouncementSchema.parse(decodeCanonical(body, MAX_ANNOUNCEMENT_BYTES));
		} catch (error) {
			this.#options.log.warn({ peer: from, err: error }, "a malformed announcement was dropped");
			return;
		}
		this.#jobs.get(announced.jobId)?.heardOfRound(from, announced.round);
	}

	#judge(job: JobRuntime) {
		const { policy, budgets, datasets, self } = this.#options;
		return judgeJob({
			spec: job.spec,
			charter: job.charter,
			policy,
			ledger: budgets.ledger,
			plan: (spec, who) => this.#work.plan(spec, who, job.proposal.submitter),
			dataset: (name) => datasets.offered(name),
			jobId: job.jobId,
			submitter: job.proposal.submitter,
			self: self.peer,
		});
	}

	async #onEvent(job: JobRuntime, event: JobEvent): Promise<void> {
		const { log, publish } = this.#options;
		const jobId = job.jobId;
		switch (event.kind) {
			case "fault":
				log.warn({ job: jobId, peer: event.fault.peer, code: event.fault.code }, event.fault.message);
				this.#options.metrics.faults.inc({ code: event.fault.code });
				publish({
					type: "job.fault",
					job: jobId,
					data: {
						peer: event.fault.peer,
						code: event.fault.code,
						message: event.fault.message,
						proof: event.fault.proof,
					},
				});
				return;
			case "failed":
				log.error({ job: jobId, err: event.error }, "the job cannot run here");
				await this.#setState(
					job,
					"failed",
					event.error instanceof Error ? event.error.message : String(event.error),
				);
				return;
			case "round":
				await this.#onRound(job, event.content, event.invited, event.usage);
				return;
			case "restored":
				// A crash between a certificate and the model's record: recording again changes nothing.
				await this.#options.onRound(
					job,
					event.content,
					toHex(event.content.stateHash),
					toHex(resultHash(event.content)),
				);
				return;
			case "agreement":
				await this.#onAgreement(job, event.output);
				return;
			case "training":
				await this.#onTraining(job, event.output);
				return;
			case "gossip":
				await this.#onGossip(job, event);
				return;
		}
	}

	async #onAgreement(
		job: JobRuntime,
		output: Extract<JobEvent, { kind: "agreement" }>["output"],
	): Promise<void> {
		const { publish } = this.#options;
		const event = agreementEvent(job.charter, job.spec.name, output);
		if (event !== undefined) publish({ ...event, job: job.jobId });
		switch (output.kind) {
			case "proposed": {
				const verdict = await this.#judge(job);
				// Decided by a person, or this node is being stopped, while it was planned.
				if (job.agreement.ownResponse !== undefined || job.paused) return;
				if (verdict.decision === "accept") job.respond(true, "within our policy");
				else if (verdict.decision === "refuse") {
					job.respond(false, verdict.reason);
					await this.#setState(job, "rejected", verdict.reason);
				} else {
					const { name } = job.spec;
					const data = { message: `job ${name} waits for a person's approval`, name };
					publish({ type: "job.approval_wanted", job: job.jobId, data });
				}
				return;
			}
			case "response":
				return;
			case "started":
				if (job.participates && !job.paused && this.#standing.get(job.jobId)?.state !== "completed")
					await this.#setState(job, this.#slots.enter(job.jobId, this.#nowMs) ? "running" : "queued");
				return;
			case "refused":
				await this.#setState(job, "rejected", output.reason);
				return;
			case "aborted":
				await this.#setState(job, "aborted", output.reason);
				return;
		}
	}

	async #onTraining(
		job: JobRuntime,
		output: Extract<JobEvent, { kind: "training" }>["output"],
	): Promise<void> {
		const { publish } = this.#options;
		const id = job.jobId;
		const event = trainingEvent(job.charter, output);
		if (event !== undefined) publish({ ...event, job: id });
		switch (output.kind) {
			case "retry": {
				this.#options.metrics.retries.inc();
				if (output.dead) await this.#work.refund(id, output.round, output.attempt);
				// One attempt may end by a dropout; two in a row are worth a look.
				if (output.attempt > 0 && this.#standing.get(id)?.state === "running") {
					const reason = `attempt ${output.attempt + 1} at round ${output.round} ended: ${output.reason}`;
					await this.#setState(job, "waiting", reason);
				}
				return;
			}
			case "withdrawn":
				await this.#onWithdrawn(job, output);
				return;
			case "done":
				await this.#setState(job, "completed");
				// Not waited for: the others may still need answers of this participant.
				this.#personalize(job).catch(this.#options.onFatal);
				return;
		}
	}

	async #onWithdrawn(job: JobRuntime, { code, reason }: { readonly code: string; readonly reason: string }) {
		if (endsJobHere(code)) job.endFor(new AlthingError(code, reason));
		else await this.#setState(job, "waiting", reason);
	}

	/** The site's own model, after the last round; a failure leaves it as it was, and the next start tries again. */
	async #personalize(job: JobRuntime): Promise<void> {
		const { log, publish } = this.#options;
		const { jobId } = job;
		try {
			if (await this.#work.personalize(job)) {
				const message = "this organization's own model is ready: `althing model show` tells how it does";
				publish({ type: "job.personal", job: jobId, data: { message } });
			}
		} catch (error) {
			log.error({ job: jobId, err: error }, "this organization's own model could not be finished");
		}
		this.#work.forget(jobId);
	}

	async #onRound(
		job: JobRuntime,
		content: RoundResult,
		invited: readonly PeerId[],
		usage: RoundUsage,
	): Promise<void> {
		const id = job.jobId;
		this.#slots.progressed(id, this.#nowMs);
		const released = await this.#work.settle(id, content);
		await this.#keeping.round(job, content, invited, usage, released);
		const view = await this.#noteRound(job, usage, { ...content, cohort: invited });
		const stateHash = toHex(content.stateHash);
		this.#measure(job, content, usage);
		if (usage.coordinator === this.#options.self.peer) this.#announceRound(id, content.round);
		await this.#options.onRound(job, content, stateHash, toHex(resultHash(content)));
		if (this.#standing.get(id)?.state === "waiting") await this.#setState(job, "running");
		this.#publishRound(job, view, { outcome: content.outcome, stateHash, cpuSeconds: usage.cpuSeconds });
	}

	async #onGossip(job: JobRuntime, { output, usage }: Extract<JobEvent, { kind: "gossip" }>): Promise<void> {
		const id = job.jobId;
		const event = gossipEvent(output);
		if (event !== undefined) this.#options.publish({ ...event, job: id });
		switch (output.kind) {
			case "released": {
				const { round } = output;
				const released = await this.#work.settleRelease(id, round);
				await this.#keeping.executed(job, { round, metrics: {}, seconds: 0 }, released);
				return;
			}
			case "round":
				if (usage !== undefined) await this.#onExchange(job, output, usage);
				return;
			case "isolated":
				await this.#setState(job, "waiting", "no neighbour is in reach; it goes on by itself");
				return;
			case "withdrawn":
				await this.#onWithdrawn(job, output);
				return;
			case "skipped":
				return;
			case "done":
				await this.#setState(job, "completed");
				return;
		}
	}

	/** An exchange of a job without a coordinator is over: its state is this node's own model, which nobody else has. */
	async #onExchange(
		job: JobRuntime,
		output: Extract<GossipOutput, { kind: "round" }>,
		usage: RoundUsage,
	): Promise<void> {
		const { round, metrics, mixed, released, state } = output;
		const { self, onRound } = this.#options;
		this.#slots.progressed(job.jobId, this.#nowMs);
		const neighbours = job.gossip?.neighbours.map(({ peer }) => peer) ?? [];
		const view = await this.#noteRound(job, usage, {
			round,
			metrics,
			attempt: 0,
			cohort: [self.peer, ...neighbours],
			survivors: [self.peer, ...mixed],
		});
		const stateHash = toHex(sha256(state));
		this.#measure(job, { outcome: "released" }, usage);
		// The figures are of this site's own records, without noise: they stay out of the model's card.
		await onRound(job, { round, metrics: {} }, stateHash, stateHash);
		if (released && this.#standing.get(job.jobId)?.state === "waiting") await this.#setState(job, "running");
		this.#publishRound(job, view, { outcome: "released", stateHash, cpuSeconds: usage.cpuSeconds });
	}

	/** What `job show` tells of a round, from now on and after a restart. */
	async #noteRound(
		job: JobRuntime,
		usage: RoundUsage,
		content: Pick<RoundResult, "round" | "attempt" | "survivors" | "excluded" | "leftOut" | "metrics"> & {
			readonly cohort: readonly PeerId[];
		},
	): Promise<RoundView> {
		const id = job.jobId;
		const { round, attempt, cohort, survivors, excluded, leftOut, metrics } = content;
		const { loss, accuracy } = metrics;
		const { term, coordinator, bytesSent, bytesReceived, seconds } = usage;
		const view: RoundView = {
			round,
			attempt,
			...(term === undefined ? {} : { term }),
			...(coordinator === undefined ? {} : { coordinator }),
			cohort: [...cohort],
			survivors: [...survivors],
			...(excluded === undefined ? {} : { excluded: [...excluded] }),
			...(leftOut === undefined ? {} : { leftOut: [...leftOut] }),
			...(loss === undefined ? {} : { evaluationLoss: loss }),
			...(accuracy === undefined ? {} : { accuracy }),
			// At the delta that the job promises, like the records of its executions.
			epsilonSpent: await this.#options.budgets.spentBy(job.spec.data.set, id, privacyPromiseOf(job.spec)),
			bytesSent,
			bytesReceived,
			seconds,
			finishedAt: new Date().toISOString(),
		};
		const earlier = (this.#history.get(id) ?? []).filter((known) => known.round !== round);
		this.#history.set(id, [...earlier, view]);
		await this.#rounds.put(`${id}/${String(round).padStart(7, "0")}`, view);
		return view;
	}

	#publishRound(
		job: JobRuntime,
		view: RoundView,
		more: { readonly outcome: string; readonly stateHash: string; readonly cpuSeconds: number },
	): void {
		const data = { ...view, ...more, rounds: roundsOf(job.spec) };
		this.#options.publish({ type: "job.round", job: job.jobId, data });
	}

	#measure(job: JobRuntime, content: Pick<RoundResult, "outcome">, usage: RoundUsage): void {
		const { metrics, budgets } = this.#options;
		metrics.rounds.inc({ outcome: content.outcome });
		metrics.roundSeconds.observe(usage.seconds);
		metrics.roundBytes.inc({ direction: "sent" }, usage.bytesSent);
		metrics.roundBytes.inc({ direction: "received" }, usage.bytesReceived);
		const dataset = job.spec.data.set;
		if (budgets.has(dataset)) metrics.epsilonSpent.set({ dataset }, budgets.ledger.spent(dataset).epsilon);
	}

	#announceRound(jobId: string, round: number): void {
		this.#options.network
			.announce(ROUNDS_TOPIC, encodeCanonical({ jobId, round }))
			.catch((error: unknown) => {
				// Only a hint: members learn of the round from heartbeats as well.
				this.#options.log.debug({ err: error }, "a round could not be announced");
			});
	}

	/** Says that a job waits when too few participants are connected, and that it runs when they are back. */
	async #noteReach(job: JobRuntime): Promise<void> {
		const id = job.jobId;
		const state = this.#standing.get(id)?.state;
		const reason = job.outOfReach();
		if (reason !== undefined && state === "running") {
			this.#outOfReach.add(id);
			await this.#setState(job, "waiting", reason);
		} else if (reason === undefined && this.#outOfReach.delete(id) && state === "waiting") {
			await this.#setState(job, "running");
		}
	}

	#summary(job: JobRuntime): JobSummary {
		const standing = this.#standing.get(job.jobId);
		const own = job.agreement.ownResponse;
		const history = this.#history.get(job.jobId) ?? [];
		return {
			id: job.jobId,
			name: job.spec.name,
			technique: job.spec.technique,
			state: standing?.state ?? "proposed",
			decision: own === undefined ? "pending" : own.accept ? "accepted" : "rejected",
			proposer: job.proposal.submitter,
			createdAt: job.proposal.createdAt,
			round: job.training?.round ?? job.gossip?.job.round ?? history.length,
			rounds: roundsOf(job.spec),
			...(standing?.reason === undefined ? {} : { reason: standing.reason }),
		};
	}

	async #setState(job: JobRuntime, state: JobState, reason?: string): Promise<void> {
		const before = this.#standing.get(job.jobId);
		const standing: Standing = {
			state,
			createdAt: before?.createdAt ?? job.proposal.createdAt,
			...(reason === undefined ? {} : { reason }),
		};
		this.#standing.set(job.jobId, standing);
		await this.#standings.put(job.jobId, standing);
		if (ENDED.includes(state)) this.#giveBack(job.jobId);
		await this.#keeping.job(job, state, state === "completed" ? new Date().toISOString() : undefined);
		this.#options.publish({
			type: "job.state",
			job: job.jobId,
			data: { state, ...(reason === undefined ? {} : { reason }) },
		});
	}

	/** An ended job gives back its place and its memory. */
	#giveBack(jobId: string): void {
		this.#work.forget(jobId);
		this.#slots.leave(jobId);
		this.#admitNext();
	}
}
