/** One job on this node: drives its agreement and, once started, its training over the network. */
import { decodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import {
	type AgreementMessage,
	type AgreementOutput,
	decodeAgreementMessage,
	encodeAgreementMessage,
	JobAgreement,
	type JobProposal,
	type JobStart,
	startBeacon,
} from "../../protocols/agreement/index.ts";
import { quorum } from "../../protocols/certificate/index.ts";
import type { Fault } from "../../protocols/contract.ts";
import { type Charter, charterHash, corruptionOf, electorateOf } from "../../protocols/federation/index.ts";
import type { GossipOutput, GossipTask, GossipTaskResult } from "../../protocols/gossip/index.ts";
import {
	type CoordinationTiming,
	decodeTrainingMessage,
	encodeTrainingMessage,
	type PersistedStep,
	type RoundResult,
	statesNeeded,
	TrainingJob,
	type TrainingMessage,
	type TrainingOutput,
	type TrainingTask,
	type TrainingTaskResult,
} from "../../protocols/training/index.ts";
import type { JobPlan } from "../../src/jobs/jobPlan.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import {
	checkAnyJob,
	type ResolvedSpecification,
	resolveSpecification,
} from "../../src/jobs/specification.ts";
import type { Characteristics } from "../../src/selection/selectionChoice.ts";
import type { Participation } from "../../src/training/plan.ts";
import type { Logger } from "../logging/logger.ts";
import type { Network, Packet } from "../network/port.ts";
import type { Planner } from "./acceptance.ts";
import { cohortTreeOf } from "./cohortTree.ts";
import { GossipRun, gossipKind } from "./gossipRun.ts";
import { MachineDriver } from "./machineDriver.ts";
import { declaredFor, participationOf, patientTiming, selectionFor } from "./selection.ts";

/** Rounds after which the coordinator's role moves on. */
const ROUNDS_PER_EPOCH = 10;
/** In buffered rounds a coordinator can prefer some of those that are ready: it moves on after each. */
const BUFFERED_ROUNDS_PER_EPOCH = 1;

/** What a job needs of the node around it. */
export interface JobSurroundings {
	readonly self: SigningKey;
	readonly network: Network;
	readonly log: Logger;
	readonly nowMs: () => number;
	/** The protocols' clock: without the time in which this node attended to nothing. */
	readonly attendedMs: () => number;
	/** The charter version that a proposal names. */
	readonly charter: Charter;
	/** What this organization declares about itself. */
	readonly characteristics: Characteristics;
	readonly timing: CoordinationTiming;
	readonly gatherMs: number;
	/** Durable writes: the journal under a kind, and states by hash. */
	readonly journal: { append(kind: string, body: Uint8Array): Promise<unknown> };
	readonly blobs: {
		put(bytes: Uint8Array): Promise<string>;
		get(hash: string): Promise<Uint8Array | undefined>;
	};
	readonly plan: Planner;
	/** Whether a started job may train at once; otherwise {@link JobRuntime.resume} comes when its turn does. */
	readonly admitted: (job: JobRuntime) => boolean;
	/** Runs a task of this job; `charge` goes to the ledger, the rest to the worker pool. */
	readonly execute: (job: JobRuntime, task: TrainingTask) => Promise<TrainingTaskResult>;
	/** The same for a job without a coordinator. */
	readonly executeGossip: (job: JobRuntime, task: GossipTask) => Promise<GossipTaskResult>;
	readonly onEvent: (job: JobRuntime, event: JobEvent) => void | Promise<void>;
	readonly onFatal: (error: unknown) => void;
}

export type JobEvent =
	| { readonly kind: "agreement"; readonly output: AgreementOutput }
	| { readonly kind: "training"; readonly output: TrainingOutput }
	| { readonly kind: "gossip"; readonly output: GossipOutput; readonly usage: RoundUsage | undefined }
	| {
			readonly kind: "round";
			readonly content: RoundResult;
			/** Who was asked to contribute. */
			readonly invited: readonly PeerId[];
			readonly usage: RoundUsage;
	  }
	/** Training was taken up again after this certified round, whose consequences may not all have been recorded. */
	| { readonly kind: "restored"; readonly content: RoundResult }
	| { readonly kind: "fault"; readonly fault: Fault }
	| { readonly kind: "failed"; readonly error: unknown };

/** What a round took at this node. */
export interface RoundUsage {
	readonly bytesSent: number;
	readonly bytesReceived: number;
	readonly seconds: number;
	readonly cpuSeconds: number;
	/** None in a job without one. */
	readonly coordinator?: PeerId;
	readonly term?: number;
}

function agreementKind(jobId: string): string {
	return `agreement/${jobId}`;
}

export function trainingKind(jobId: string): string {
	return `training/${jobId}`;
}

/** Journal kind of what a started job promises. */
export function promisesKind(spec: ResolvedSpecification, jobId: string): string {
	return traitsOf(spec).schedule === "gossip" ? gossipKind(jobId) : trainingKind(jobId);
}

/** The resolved specification inside a proposal. @throws AlthingError `job.invalid`, `encoding.*` */
function specOf(proposal: JobProposal): ResolvedSpecification {
	return resolveSpecification(checkAnyJob(decodeCanonical(proposal.spec)));
}

/**
 * A sum that leads to no finite model is a job's own doing, its step size for one, and the same at every
 * participant; a computation that exceeds its time or memory is too. It ends the job here. Whatever else stops
 * training stops the node.
 * @returns what an error of the training machine comes of, if that is the job's alone
 */
export function ownFailureIn(error: unknown): AlthingError | undefined {
	if (!(error instanceof AlthingError)) return undefined;
	// Nothing of others depends on a node's own model.
	if (error.code === "gossip.mixing_failed") return error;
	if (error.code !== "training.apply_failed") return undefined;
	const { cause } = error;
	const own = cause instanceof AlthingError && OWN_FAILURES.includes(cause.code);
	return own ? cause : undefined;
}

/**
 * Whether a contribution that came to nothing ends the job here: one that takes too much memory would
 * take it again in every round, from all that runs beside it. A late one may be in time the next time.
 */
export function endsJobHere(code: string): boolean {
	return code === "workers.memory";
}

const OWN_FAILURES = ["learning.not_finite", "workers.timeout", "workers.memory", "vertical.misaligned"];

export class JobRuntime {
	readonly jobId: string;
	readonly proposal: JobProposal;
	readonly spec: ResolvedSpecification;
	readonly agreement: JobAgreement;
	readonly #around: JobSurroundings;
	readonly #agreementDriver: MachineDriver<AgreementMessage, never, never, AgreementOutput, Uint8Array>;
	readonly #trainingRecords: readonly Uint8Array[];
	#training:
		| {
				readonly job: TrainingJob;
				readonly driver: MachineDriver<
					TrainingMessage,
					TrainingTask,
					TrainingTaskResult,
					TrainingOutput,
					PersistedStep
				>;
		  }
		| undefined;
	#gossip: GossipRun | undefined;
	#start: JobStart | undefined;
	/** Training is stopped here by this organization, also for a start still to come. */
	#paused = false;
	#participation: Participation | undefined;
	#plan: JobPlan | undefined;
	#usage = { bytesSent: 0, bytesReceived: 0, sinceMs: 0, cpu: process.cpuUsage() };

	constructor(
		proposal: JobProposal,
		around: JobSurroundings,
		records: { readonly agreement: readonly Uint8Array[]; readonly training: readonly Uint8Array[] },
		options: { readonly paused: boolean },
	) {
		this.#paused = options.paused;
		this.proposal = proposal;
		this.spec = specOf(proposal);
		this.#around = around;
		this.#trainingRecords = records.training;
		this.agreement = new JobAgreement({
			self: around.self,
			proposal,
			electorate: electorateOf(around.charter),
			characteristics: declaredFor(traitsOf(this.spec).selection, around.characteristics),
			minimumCohort: around.charter.rules.minimumCohort,
			gatherMs: around.gatherMs,
			leaderTimeoutMs: 3000,
			random: randomBytes,
			promises: records.agreement,
		});
		this.jobId = this.agreement.jobId;
		this.#agreementDriver = new MachineDriver(this.agreement, {
			persist: async (record) => {
				await around.journal.append(agreementKind(this.jobId), record);
			},
			send: (to, message) =>
				around.network.send(to, agreementKind(this.jobId), { body: encodeAgreementMessage(message) }),
			execute: () => Promise.reject(new Error("an agreement has no work")),
			onOutput: (output) => this.#agreementOutput(output),
			onFault: (fault) => around.onEvent(this, { kind: "fault", fault }),
			onFatal: around.onFatal,
			onUndelivered: (to, error) =>
				around.log.debug({ peer: to, err: error }, "agreement message not delivered"),
			nowMs: around.attendedMs,
		});
	}

	get charter(): Charter {
		return this.#around.charter;
	}

	/** Certified participants, once the job has started. */
	get participants(): readonly PeerId[] | undefined {
		return this.#start?.participants.map(({ response }) => response.peer);
	}

	get participates(): boolean {
		return this.participants?.includes(this.#around.self.peer) ?? false;
	}

	get participation(): Participation | undefined {
		return this.#participation;
	}

	/** Whether this organization has stopped its own part. */
	get paused(): boolean {
		return this.#paused;
	}

	get plan(): JobPlan | undefined {
		return this.#plan;
	}

	get training(): TrainingJob | undefined {
		return this.#training?.job;
	}

	/** In place of {@link training} for a job without a coordinator. */
	get gossip(): GossipRun | undefined {
		return this.#gossip;
	}

	open(): void {
		this.#agreementDriver.step((nowMs) => this.agreement.start(nowMs));
	}

	respond(accept: boolean, reason: string): void {
		this.#agreementDriver.step((nowMs) => this.agreement.respond(accept, reason, nowMs));
	}

	/** The submitter's abort: ends the job for everybody. */
	abort(reason: string): void {
		this.#agreementDriver.step(() => this.agreement.abort(reason));
	}

	receiveAgreement(from: PeerId, packet: Packet): void {
		this.#decoded(
			from,
			() => decodeAgreementMessage(packet.body),
			(message) => {
				const taken = this.#agreementDriver.deliver(packet.body.length, (nowMs) =>
					this.agreement.receive(from, message, nowMs),
				);
				if (!taken) throw busy(this.jobId);
			},
		);
	}

	receiveTraining(from: PeerId, packet: Packet): void {
		const training = this.#training;
		if (training === undefined) return;
		this.#usage.bytesReceived += packet.body.length + (packet.blob?.length ?? 0);
		this.#decoded(
			from,
			() => decodeTrainingMessage(packet.body),
			(message) => {
				const sizeBytes = packet.body.length + (packet.blob?.length ?? 0);
				const taken = training.driver.deliver(sizeBytes, (nowMs) =>
					training.job.receive(from, message, nowMs, packet.blob),
				);
				if (!taken) throw busy(this.jobId);
			},
		);
	}

	receiveGossip(from: PeerId, packet: Packet): void {
		const gossip = this.#gossip;
		if (gossip === undefined) return;
		this.#usage.bytesReceived += packet.body.length + (packet.blob?.length ?? 0);
		this.#decoded(
			from,
			() => gossip.receive(from, packet),
			(taken) => {
				if (!taken) throw busy(this.jobId);
			},
		);
	}

	/** Somebody says that this round is certified: if we are behind, ask it. */
	heardOfRound(from: PeerId, round: number): void {
		const training = this.#training;
		if (training === undefined || training.job.round > round || !this.participants?.includes(from)) return;
		training.driver.step((nowMs) =>
			training.job.receive(from, { kind: "heartbeat", term: 0, round: round + 1, attempt: 0 }, nowMs),
		);
	}

	connectivity(peer: PeerId, connected: boolean): void {
		this.#agreementDriver.step(() => this.agreement.connectivity(peer, connected));
		const training = this.#training;
		training?.driver.step((nowMs) => training.job.connectivity(peer, connected, nowMs));
		this.#gossip?.connectivity(peer, connected);
	}

	/** Why no round can end at present, as far as this node's links tell: too few participants are connected. */
	outOfReach(): string | undefined {
		const { participation, participants, charter } = this;
		if (participation === undefined || participants === undefined || this.#training?.job.done !== false)
			return undefined;
		const { network, self } = this.#around;
		const linked = new Set(network.peers().flatMap(({ peer, connected }) => (connected ? [peer] : [])));
		const connected = participants.filter((peer) => peer === self.peer || linked.has(peer)).length;
		const corruption = Math.min(corruptionOf(charter), participants.length);
		const needed = Math.max(quorum({ members: participants, corruption }), participation.minimumSurvivors);
		if (connected >= needed) return undefined;
		return `${connected} of ${participants.length} participants are connected, ${needed} are needed; it goes on by itself`;
	}

	/** Stops training on this node; the job goes on elsewhere. {@link resume} takes it up again. */
	async pause(): Promise<void> {
		this.#paused = true;
		const [training, gossip] = [this.#training, this.#gossip];
		this.#training = undefined;
		this.#gossip = undefined;
		await Promise.all([training?.driver.stop(), gossip?.stop()]);
	}

	/** Not stopped here any more: {@link resume} comes when the job's turn does. */
	unpause(): void {
		this.#paused = false;
	}

	/** @param records the job's training records, all that the journal holds by now */
	async resume(records: readonly Uint8Array[]): Promise<void> {
		this.#paused = false;
		if (this.#start !== undefined && this.#training === undefined && this.#gossip === undefined)
			await this.#beginTraining(this.#start, records);
	}

	async stop(): Promise<void> {
		await this.pause();
		await this.#agreementDriver.stop();
	}

	async #agreementOutput(output: AgreementOutput): Promise<void> {
		if (output.kind === "started") {
			this.#start = output.start;
			await this.#around.onEvent(this, { kind: "agreement", output });
			if (!this.participates || this.#paused || !this.#around.admitted(this)) return;
			try {
				await this.#beginTraining(output.start, this.#trainingRecords);
			} catch (error) {
				await this.#around.onEvent(this, { kind: "failed", error });
			}
			return;
		}
		if (output.kind === "aborted") await this.pause();
		await this.#around.onEvent(this, { kind: "agreement", output });
	}

	async #beginTraining(start: JobStart, records: readonly Uint8Array[]): Promise<void> {
		const { self, charter, network, log, attendedMs, journal, blobs } = this.#around;
		const members = start.participants.map(({ response }) => response.peer);
		this.#participation = participationOf(this.spec, charter, members.length);
		const corruption = Math.min(corruptionOf(charter), members.length);
		const plan = await this.#around.plan(this.spec, this.#participation);
		this.#plan = plan;
		const seed = startBeacon(start);
		if (plan.work.kind === "training" && plan.work.spec.training.schedule === "gossip") {
			await this.#beginGossip(plan, plan.work, members, seed, records);
			return;
		}
		const states = new Map<string, Uint8Array>();
		for (const hash of statesNeeded(records)) {
			const state = await blobs.get(hash);
			if (state !== undefined) states.set(hash, state);
		}
		// Stopped, or stopped and taken up again, while it was planned.
		if (this.#paused || this.#training !== undefined) return;
		const job = new TrainingJob({
			self,
			federationId: this.proposal.federationId,
			charterHash: charterHash(charter),
			jobId: this.jobId,
			configHash: plan.hash,
			electorate: { members, corruption },
			...selectionFor(this.spec, start, this.#participation),
			tree: cohortTreeOf(this.spec, charter, members.length),
			rounds: plan.rounds,
			roundsPerEpoch:
				traitsOf(this.spec).schedule === "buffered" ? BUFFERED_ROUNDS_PER_EPOCH : ROUNDS_PER_EPOCH,
			minimumSurvivors: this.#participation.minimumSurvivors,
			length: plan.length,
			modulusBits: plan.modulusBits,
			phaseTimeoutMs: this.spec.aggregation.phaseTimeoutMs,
			...(plan.publicBytes === undefined ? {} : { publicBytes: plan.publicBytes }),
			screening: plan.screening,
			bucketRules: plan.buckets,
			setAside: plan.setAside,
			seed,
			initialState: plan.initialState(this.jobId, seed),
			promises: records,
			states,
			random: randomBytes,
			timing: patientTiming(this.spec, this.#around.timing),
		});
		const driver = new MachineDriver<
			TrainingMessage,
			TrainingTask,
			TrainingTaskResult,
			TrainingOutput,
			PersistedStep
		>(job, {
			persist: async ({ record, state }) => {
				if (state !== undefined) await blobs.put(state);
				await journal.append(trainingKind(this.jobId), record);
			},
			send: (to, message, blob) => {
				const body = encodeTrainingMessage(message);
				this.#usage.bytesSent += body.length + (blob?.length ?? 0);
				return network.send(to, trainingKind(this.jobId), blob === undefined ? { body } : { body, blob });
			},
			execute: (task) => this.#around.execute(this, task),
			onOutput: (output) => this.#trainingOutput(job, output),
			onFault: (fault) => this.#around.onEvent(this, { kind: "fault", fault }),
			onFatal: (error) => this.#trainingEnded(error),
			onUndelivered: (to, error) => log.debug({ peer: to, err: error }, "training message not delivered"),
			nowMs: attendedMs,
		});
		this.#training = { job, driver };
		this.#resetUsage();
		if (job.lastRound !== undefined)
			await this.#around.onEvent(this, { kind: "restored", content: job.lastRound });
		for (const { peer, connected } of network.peers())
			driver.step((now) => job.connectivity(peer, connected, now));
		driver.step((now) => job.start(now));
	}

	async #beginGossip(
		plan: JobPlan,
		{ spec, plan: training }: Extract<JobPlan["work"], { kind: "training" }>,
		participants: readonly PeerId[],
		seed: Uint8Array,
		records: readonly Uint8Array[],
	): Promise<void> {
		const run = await GossipRun.open({
			...this.#around,
			federationId: this.proposal.federationId,
			jobId: this.jobId,
			spec,
			plan: training,
			planHash: plan.hash,
			charterHash: charterHash(this.charter),
			participants,
			seed,
			initialState: plan.initialState(this.jobId, seed),
			records,
			execute: (task) => this.#around.executeGossip(this, task),
			onOutput: (output) => {
				const usage = output.kind === "round" ? this.#takeUsage() : undefined;
				return this.#around.onEvent(this, { kind: "gossip", output, usage });
			},
			onFault: (fault) => this.#around.onEvent(this, { kind: "fault", fault }),
			onFatal: (error) => this.#trainingEnded(error),
			onSent: (sizeBytes) => {
				this.#usage.bytesSent += sizeBytes;
			},
		});
		// Stopped, or stopped and taken up again, in the meantime.
		if (this.#paused || this.#gossip !== undefined) return;
		this.#gossip = run;
		this.#resetUsage();
		run.start();
	}

	#trainingEnded(error: unknown): void {
		const own = ownFailureIn(error);
		if (own === undefined) {
			this.#around.onFatal(error);
			return;
		}
		this.endFor(own);
	}

	/** Ends the job here, once what is under way is done: whatever the reason is, it would be there again. */
	endFor(error: AlthingError): void {
		const { onEvent, onFatal } = this.#around;
		this.pause()
			.then(() => onEvent(this, { kind: "failed", error }))
			.catch(onFatal);
	}

	async #trainingOutput(job: TrainingJob, output: TrainingOutput): Promise<void> {
		if (output.kind === "round") {
			await this.#around.onEvent(this, {
				kind: "round",
				content: output.content,
				invited: output.invited,
				usage: this.#takeUsage(job),
			});
		}
		await this.#around.onEvent(this, { kind: "training", output });
	}

	/** @param job what the round was run by, which may have been paused since; none without a coordinator */
	#takeUsage(job?: TrainingJob): RoundUsage {
		const { bytesSent, bytesReceived, sinceMs, cpu } = this.#usage;
		const { user, system } = process.cpuUsage(cpu);
		this.#resetUsage();
		return {
			bytesSent,
			bytesReceived,
			seconds: (this.#around.nowMs() - sinceMs) / 1000,
			cpuSeconds: (user + system) / 1e6,
			...(job === undefined ? {} : { coordinator: job.coordinator, term: job.term }),
		};
	}

	#resetUsage(): void {
		this.#usage = { bytesSent: 0, bytesReceived: 0, sinceMs: this.#around.nowMs(), cpu: process.cpuUsage() };
	}

	/** A message that does not decode is the sender's fault and nothing else's. */
	#decoded<T>(from: PeerId, decode: () => T, use: (message: T) => void): void {
		let message: T;
		try {
			message = decode();
		} catch (error) {
			const fault: Fault = {
				peer: from,
				code: "job.malformed_message",
				message: error instanceof Error ? error.message : String(error),
				proof: false,
			};
			void this.#around.onEvent(this, { kind: "fault", fault });
			return;
		}
		use(message);
	}
}

/** Said to the sender, who repeats what matters: this job alone is behind with its work. */
function busy(jobId: string): AlthingError {
	return new AlthingError(
		"network.busy",
		`job ${jobId} has more messages waiting here than it may; send again later`,
		{ job: jobId },
	);
}
