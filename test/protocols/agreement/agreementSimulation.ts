/** A federation agreeing on one job, in the simulator. */
import type { SigningKey } from "../../../crypto/identity.ts";
import { randomBytes } from "../../../crypto/random.ts";
import {
	type AgreementMessage,
	type AgreementOutput,
	decodeAgreementMessage,
	encodeAgreementMessage,
	JobAgreement,
	type JobAgreementOptions,
	type JobProposal,
	proposalAmong,
	signProposal,
} from "../../../protocols/agreement/index.ts";
import { leaderOf } from "../../../protocols/agreement/validity.ts";
import type { Machine, PeerId } from "../../../protocols/contract.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

type Answer = "accept" | "refuse" | "silent";

export class AgreementSimulation {
	readonly keys: readonly SigningKey[];
	readonly peers: readonly PeerId[];
	readonly proposal: JobProposal;
	readonly simulation: MachineSimulation<AgreementMessage, never, never, AgreementOutput>;
	readonly agreements = new Map<PeerId, JobAgreement>();
	readonly answers: Answer[];
	readonly #options: Omit<JobAgreementOptions, "self" | "promises">;

	constructor(
		settings: {
			readonly members?: number;
			readonly seed?: number;
			readonly minimumCohort?: number;
			readonly lossProbability?: number;
			readonly absent?: (leader: number) => readonly number[];
			readonly answers?: readonly Answer[];
		} = {},
	) {
		const members = settings.members ?? 5;
		this.keys = keysForTests(members);
		this.peers = this.keys.map(({ peer }) => peer);
		this.answers = this.peers.map((_, index) => settings.answers?.[index] ?? "accept");
		this.proposal = signProposal(this.keys[0] as SigningKey, {
			federationId: "cd".repeat(32),
			charterHash: new Uint8Array(32).fill(1),
			spec: new Uint8Array([1, 2, 3]),
			createdAt: "2026-01-01T00:00:00Z",
			nonce: new Uint8Array(16).fill(settings.seed ?? 1),
		});
		this.#options = {
			proposal: this.proposal,
			electorate: { members: this.peers, corruption: Math.floor(members / 5) },
			minimumCohort: settings.minimumCohort ?? 3,
			gatherMs: 2000,
			leaderTimeoutMs: 3000,
			random: randomBytes,
		};
		this.simulation = new MachineSimulation({
			seed: settings.seed ?? 1,
			lossProbability: settings.lossProbability ?? 0,
			encode: encodeAgreementMessage,
			decode: decodeAgreementMessage,
			runTask: () => {
				throw new Error("an agreement has no work");
			},
		});
		this.simulation.onOutput((peer, output) => {
			if (output.kind === "proposed") this.#answer(peer);
		});
		const absent = settings.absent?.(this.leader) ?? [];
		for (const index of this.peers.keys()) {
			this.simulation.add(this.peer(index), this.#machine(index, []));
			if (absent.includes(index)) this.simulation.crash(this.peer(index));
		}
	}

	peer(index: number): PeerId {
		return this.peers[index] as PeerId;
	}

	/** Who may propose the first start. */
	get leader(): number {
		return this.peers.indexOf(leaderOf(this.proposal, this.peers, 0));
	}

	agreement(index: number): JobAgreement {
		return this.agreements.get(this.peer(index)) as JobAgreement;
	}

	restart(index: number): void {
		const peer = this.peer(index);
		this.simulation.restart(peer, (durable) => this.#machine(index, durable));
		for (const other of this.peers) {
			if (other === peer || !this.simulation.isRunning(other)) continue;
			const agreement = this.agreements.get(other) as JobAgreement;
			this.simulation.at(this.simulation.nowMs + 1, () => {
				if (this.simulation.isRunning(other))
					this.simulation.perform(other, agreement.connectivity(peer, true));
			});
		}
	}

	run(untilMs = 60_000, until?: () => boolean): void {
		this.simulation.run({
			untilMs,
			until: until ?? (() => this.running.every((index) => this.started(index) !== undefined)),
		});
	}

	get running(): number[] {
		return [...this.peers.keys()].filter((index) => this.simulation.isRunning(this.peer(index)));
	}

	started(index: number) {
		return this.agreement(index).started;
	}

	participants(index: number): number[] | undefined {
		return this.started(index)?.start.participants.map(({ response }) => this.peers.indexOf(response.peer));
	}

	outputs(index: number, kind: AgreementOutput["kind"]): AgreementOutput[] {
		return this.simulation.outputs(this.peer(index)).filter((output) => output.kind === kind);
	}

	#answer(peer: PeerId): void {
		const answer = this.answers[this.peers.indexOf(peer)] as Answer;
		if (answer === "silent") return;
		this.simulation.at(this.simulation.nowMs, () => {
			if (!this.simulation.isRunning(peer)) return;
			const agreement = this.agreements.get(peer) as JobAgreement;
			const effects = agreement.respond(answer === "accept", `by policy: ${answer}`, this.simulation.nowMs);
			this.simulation.perform(peer, effects);
		});
	}

	#machine(
		index: number,
		durable: readonly Uint8Array[],
	): Machine<AgreementMessage, never, never, AgreementOutput> {
		const promises = [...durable];
		const agreement = new JobAgreement({
			...this.#options,
			proposal: proposalAmong(promises) ?? this.proposal,
			self: this.keys[index] as SigningKey,
			promises,
		});
		this.agreements.set(this.peer(index), agreement);
		return {
			start: (nowMs) => agreement.start(nowMs),
			receive: (from, message, nowMs) => agreement.receive(from, message, nowMs),
			expired: (timerId, nowMs) => agreement.expired(timerId, nowMs),
			completed: () => ({}),
		};
	}
}
