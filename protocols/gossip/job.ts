/** One participant of a job without a coordinator: trains, exchanges models with its neighbours, averages. */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { Machine } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import type {
	Collector,
	GossipJobOptions,
	GossipOutput,
	GossipTask,
	GossipTaskResult,
	Step,
} from "./contract.ts";
import { type GossipMessage, type GossipSession, type ModelMessage, signModel } from "./messages.ts";
import { Neighbourhood } from "./neighbourhood.ts";
import { type PersistedStep, releases, standingIn, standsAt } from "./promises.ts";

/** How often what is missing is asked for again. */
const TICK_MS = 2000;

/** A model that this node has released, kept for neighbours that ask. */
interface Released {
	readonly round: number;
	readonly model: Uint8Array;
	readonly message: ModelMessage;
}

type Phase = "training" | "charging" | "exchanging" | "mixing" | "done";

export class GossipJob
	implements Machine<GossipMessage, GossipTask, GossipTaskResult, GossipOutput, PersistedStep>
{
	readonly #options: GossipJobOptions;
	readonly #session: GossipSession;
	readonly #neighbourhood: Neighbourhood;
	#round: number;
	#state: Uint8Array;
	#phase: Phase = "training";
	/** Trained, not released yet. */
	#trained: Uint8Array | undefined;
	/** Of this round; undefined before the release, and when there is none. */
	#released: Released | undefined;
	/** Of the round before, for a neighbour that is a round behind. */
	#before: Released | undefined;
	#metrics: Readonly<Record<string, number>> = {};
	/** The exchange's time is over. */
	#overdue = false;
	#isolated = false;

	/** @throws AlthingError `gossip.bad_record`, `gossip.lost_state` when what a record names is not stored */
	constructor(options: GossipJobOptions) {
		this.#options = options;
		const { federationId, jobId, configHash, neighbours, modelBytes, rounds } = options;
		this.#session = { federationId, jobId, configHash };
		this.#neighbourhood = new Neighbourhood(this.#session, neighbours, { modelBytes, rounds });
		const { round, state, model } = standingIn(options.promises);
		this.#round = round;
		this.#state = state === undefined ? options.initialState : this.#stored(state);
		if (model !== undefined) this.#released = this.#signed(this.#stored(model));
	}

	/** The round being worked on; equals `rounds` when the job is done. */
	get round(): number {
		return this.#round;
	}

	get done(): boolean {
		return this.#round >= this.#options.rounds;
	}

	/** This node's own model after its last exchange. */
	get state(): Uint8Array {
		return this.#state;
	}

	start(_nowMs: number): Step {
		const out = this.#collector();
		if (this.done) this.#finish(out);
		else if (this.#released === undefined) this.#begin(out);
		else this.#exchange(out);
		out.timer("tick", TICK_MS);
		return out.effects();
	}

	/** The driver's view of the links: a neighbour that is back is told where we are. */
	connectivity(peer: PeerId, connected: boolean, _nowMs: number): Step {
		if (!this.#neighbourhood.has(peer)) return {};
		const out = this.#collector();
		this.#neighbourhood.link(peer, connected);
		if (connected) this.#show(out, peer);
		this.#advance(out);
		return out.effects();
	}

	receive(from: PeerId, message: GossipMessage, _nowMs: number, blob?: Uint8Array): Step {
		const out = this.#collector();
		if (!this.#neighbourhood.has(from)) {
			out.fault({
				peer: from,
				code: "gossip.stranger",
				message: `${from} is no neighbour in job ${this.#options.jobId}`,
				proof: false,
			});
			return out.effects();
		}
		switch (message.kind) {
			case "model": {
				const fault = this.#neighbourhood.take(from, message, blob, this.#round);
				if (fault !== undefined) out.fault(fault);
				break;
			}
			case "position":
				this.#neighbourhood.heard(from, message.round);
				break;
			case "want":
				this.#neighbourhood.heard(from, message.round);
				this.#answer(out, from, message.round);
				break;
		}
		this.#catchUp(out);
		this.#advance(out);
		return out.effects();
	}

	expired(timerId: string, _nowMs: number): Step {
		const out = this.#collector();
		if (timerId === "tick") {
			if (this.#phase === "exchanging")
				for (const peer of this.#neighbourhood.missing(this.#round))
					out.send(peer, { kind: "want", round: this.#round });
			out.timer("tick", TICK_MS);
		} else if (timerId === `exchange/${this.#round}` && this.#phase === "exchanging") {
			this.#overdue = true;
			this.#advance(out);
			if (this.#phase === "exchanging" && !this.#isolated) {
				this.#isolated = true;
				out.output({ kind: "isolated", round: this.#round });
			}
		}
		return out.effects();
	}

	completed(workId: string, result: GossipTaskResult | Error, _nowMs: number): Step {
		const out = this.#collector();
		const [kind, round] = workId.split("/");
		if (Number(round) !== this.#round || this.done) return {};
		if (kind === "train" && this.#phase === "training") this.#afterTraining(out, result);
		else if (kind === "charge" && this.#phase === "charging") this.#afterCharge(out, result);
		else if (kind === "mix" && this.#phase === "mixing") this.#afterMixing(out, result);
		return out.effects();
	}

	#begin(out: Collector): void {
		this.#phase = "training";
		this.#trained = undefined;
		this.#metrics = {};
		out.work(`train/${this.#round}`, { kind: "train", round: this.#round, state: this.#state });
	}

	#afterTraining(out: Collector, result: GossipTaskResult | Error): void {
		if (result instanceof Error || result.kind !== "trained") {
			this.#withdraw(out, result);
			return;
		}
		this.#trained = result.model;
		this.#metrics = result.metrics;
		this.#phase = "charging";
		out.work(`charge/${this.#round}`, { kind: "charge", round: this.#round });
	}

	/** The budget is charged: the model is promised, durably, and leaves. */
	#afterCharge(out: Collector, result: GossipTaskResult | Error): void {
		const model = this.#trained;
		if (result instanceof Error || model === undefined) {
			this.#withdraw(out, result);
			return;
		}
		this.#released = this.#signed(model);
		out.persist(releases(this.#round, model));
		for (const peer of this.#neighbourhood.peers) out.send(peer, this.#released.message, model);
		out.output({ kind: "released", round: this.#round });
		this.#exchange(out);
	}

	/** Nothing of this round leaves, trained or not; the neighbours' models are taken all the same. */
	#withdraw(out: Collector, error: GossipTaskResult | Error): void {
		const code = error instanceof AlthingError ? error.code : "gossip.failed";
		const reason = error instanceof Error ? error.message : "another answer than was asked for";
		out.output({ kind: "withdrawn", round: this.#round, code, reason });
		out.sendAll(this.#neighbourhood.peers, { kind: "position", round: this.#round });
		this.#exchange(out);
	}

	#exchange(out: Collector): void {
		this.#phase = "exchanging";
		this.#trained = undefined;
		this.#overdue = false;
		out.timer(`exchange/${this.#round}`, this.#options.phaseTimeoutMs);
		this.#advance(out);
	}

	/**
	 * Ends the exchange when nobody is waited for any more. Nobody goes on alone: training on without a
	 * neighbour would spend budget on a model that nobody shares.
	 */
	#advance(out: Collector): void {
		if (this.#phase !== "exchanging") return;
		const round = this.#round;
		const received = this.#neighbourhood.received(round);
		const met = received.length > 0 || this.#neighbourhood.anyBeyond(round);
		if (!met || (this.#neighbourhood.missing(round).length > 0 && !this.#overdue)) return;
		this.#phase = "mixing";
		out.timer(`exchange/${round}`, null);
		out.work(`mix/${round}`, {
			kind: "mix",
			round,
			state: this.#state,
			...(this.#released === undefined ? {} : { model: this.#released.model }),
			received,
		});
	}

	/** @throws AlthingError `gossip.mixing_failed`: without its own state this node cannot go on */
	#afterMixing(out: Collector, result: GossipTaskResult | Error): void {
		if (result instanceof Error || result.kind !== "mixed") {
			throw new AlthingError(
				"gossip.mixing_failed",
				`the models of round ${this.#round} could not be averaged: ${result instanceof Error ? result.message : result.kind}`,
				{},
				{ cause: result },
			);
		}
		const { rejected, farthest, state } = result;
		for (const peer of rejected)
			out.fault({
				peer,
				code: "gossip.bad_model",
				message: "a model with values that are not finite",
				proof: false,
			});
		const mixed = this.#neighbourhood
			.received(this.#round)
			.map(({ peer }) => peer)
			.filter((peer) => !rejected.includes(peer));
		const round = this.#round;
		const released = this.#released !== undefined;
		this.#moveTo(out, round + 1, state);
		out.output({ kind: "round", round, mixed, released, farthest, metrics: this.#metrics, state });
		this.#proceed(out);
	}

	/** This node was away: it goes on where most of its neighbours are, from its own last model. */
	#catchUp(out: Collector): void {
		const common = this.#neighbourhood.commonRound;
		const ahead = common > this.#round + 1 || (common >= this.#options.rounds && common > this.#round);
		// What is being averaged is finished first.
		if (this.done || this.#phase === "mixing" || !ahead) return;
		out.output({ kind: "skipped", from: this.#round, to: common });
		out.timer(`exchange/${this.#round}`, null);
		this.#moveTo(out, common, this.#state);
		this.#proceed(out);
	}

	#moveTo(out: Collector, round: number, state: Uint8Array): void {
		this.#before = this.#released;
		this.#released = undefined;
		this.#round = round;
		this.#state = state;
		this.#isolated = false;
		this.#neighbourhood.forgetBefore(round);
		out.persist(standsAt(round, state));
	}

	#proceed(out: Collector): void {
		if (this.done) this.#finish(out);
		else this.#begin(out);
	}

	#finish(out: Collector): void {
		this.#phase = "done";
		out.sendAll(this.#neighbourhood.peers, { kind: "position", round: this.#round });
		out.output({ kind: "done", rounds: this.#round });
	}

	/** Where we are, and what we have released there. */
	#show(out: Collector, peer: PeerId): void {
		const { round, message, model } = this.#released ?? {};
		if (round === this.#round && message !== undefined) out.send(peer, message, model);
		else out.send(peer, { kind: "position", round: this.#round });
	}

	#answer(out: Collector, peer: PeerId, round: number): void {
		for (const released of [this.#released, this.#before])
			if (released?.round === round) {
				out.send(peer, released.message, released.model);
				return;
			}
		out.send(peer, { kind: "position", round: this.#round });
	}

	#signed(model: Uint8Array): Released {
		return {
			round: this.#round,
			model,
			message: signModel(this.#options.self, this.#session, this.#round, model),
		};
	}

	#stored(hash: Uint8Array): Uint8Array {
		const bytes = this.#options.stored.get(toHex(hash));
		if (bytes !== undefined) return bytes;
		throw new AlthingError(
			"gossip.lost_state",
			`the job's model ${toHex(hash).slice(0, 12)} is not among the stored ones; the data directory is damaged`,
		);
	}

	#collector(): Collector {
		return new EffectCollector();
	}
}
