/** What this node knows of its neighbours: who is linked, where each is, and the models that have come. */
import { equalBytes } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { Fault } from "../contract.ts";
import type { ReceivedModel } from "./contract.ts";
import { type GossipSession, type ModelMessage, verifyModel } from "./messages.ts";

/** Models of this many rounds ahead are kept: a neighbour that is further will be met by skipping. */
const WINDOW = 1;

interface Neighbour {
	readonly peer: PeerId;
	readonly weight: number;
	linked: boolean;
	/** The furthest round it was heard in. */
	round: number;
	/** By round, from the present one to WINDOW ahead. */
	readonly models: Map<number, { readonly message: ModelMessage; readonly model: Uint8Array }>;
}

export class Neighbourhood {
	readonly #session: GossipSession;
	readonly #modelBytes: number;
	readonly #rounds: number;
	readonly #neighbours: ReadonlyMap<PeerId, Neighbour>;

	constructor(
		session: GossipSession,
		neighbours: readonly { readonly peer: PeerId; readonly weight: number }[],
		limits: { readonly modelBytes: number; readonly rounds: number },
	) {
		this.#session = session;
		this.#modelBytes = limits.modelBytes;
		this.#rounds = limits.rounds;
		this.#neighbours = new Map(
			neighbours.map(({ peer, weight }) => [
				peer,
				{ peer, weight, linked: false, round: 0, models: new Map() },
			]),
		);
	}

	get peers(): PeerId[] {
		return [...this.#neighbours.keys()];
	}

	has(peer: PeerId): boolean {
		return this.#neighbours.has(peer);
	}

	link(peer: PeerId, linked: boolean): void {
		const neighbour = this.#neighbours.get(peer);
		if (neighbour !== undefined) neighbour.linked = linked;
	}

	/** The neighbour is in this round; never back: what it says is bounded by the job's rounds. */
	heard(peer: PeerId, round: number): void {
		const neighbour = this.#neighbours.get(peer);
		if (neighbour !== undefined) neighbour.round = Math.max(neighbour.round, Math.min(round, this.#rounds));
	}

	/**
	 * Takes a neighbour's model if it is of this round or the next; an older one came too late, and a
	 * later one only tells where its sender is.
	 * @returns what is wrong with it, if anything
	 */
	take(
		from: PeerId,
		message: ModelMessage,
		blob: Uint8Array | undefined,
		present: number,
	): Fault | undefined {
		const neighbour = this.#neighbours.get(from);
		if (neighbour === undefined) return undefined;
		if (message.round >= this.#rounds)
			return fault(from, "gossip.bad_round", `a model of round ${message.round} of ${this.#rounds}`);
		if (!verifyModel(from, this.#session, message))
			return fault(from, "gossip.bad_signature", "a model whose signature does not verify");
		if (blob?.length !== this.#modelBytes)
			return fault(
				from,
				"gossip.bad_model",
				`a model of ${blob?.length ?? 0} bytes where ${this.#modelBytes} were expected`,
			);
		if (!equalBytes(sha256(blob), message.hash))
			return fault(from, "gossip.bad_model", "another model than its signature is for");
		const known = neighbour.models.get(message.round)?.message;
		if (known !== undefined) {
			if (equalBytes(known.hash, message.hash)) return undefined;
			return {
				peer: from,
				code: "gossip.equivocation",
				message: `two different models of round ${message.round}, both signed`,
				proof: true,
				evidence: [known, message].map(({ hash, signature }) => Buffer.concat([hash, signature])),
			};
		}
		this.heard(from, message.round);
		if (message.round >= present && message.round <= present + WINDOW)
			neighbour.models.set(message.round, { message, model: blob });
		return undefined;
	}

	/** Models of a round that are there, in the neighbours' order. */
	received(round: number): ReceivedModel[] {
		return [...this.#neighbours.values()].flatMap(({ peer, weight, models }) => {
			const model = models.get(round)?.model;
			return model === undefined ? [] : [{ peer, weight, model }];
		});
	}

	/** Linked neighbours whose model of the round may still come. */
	missing(round: number): PeerId[] {
		return [...this.#neighbours.values()]
			.filter((one) => one.linked && !one.models.has(round) && one.round <= round)
			.map(({ peer }) => peer);
	}

	/** Whether a neighbour has left the round behind. */
	anyBeyond(round: number): boolean {
		return [...this.#neighbours.values()].some((one) => one.round > round);
	}

	/**
	 * The furthest round that more than half of all neighbours have reached: a minority cannot make this
	 * node leave rounds out.
	 */
	get commonRound(): number {
		const rounds = [...this.#neighbours.values()].map(({ round }) => round).sort((a, b) => b - a);
		return rounds[Math.floor(rounds.length / 2)] ?? 0;
	}

	/** Models of rounds before this one are not needed any more. */
	forgetBefore(round: number): void {
		for (const { models } of this.#neighbours.values())
			for (const known of models.keys()) if (known < round) models.delete(known);
	}
}

/** Not proven to anybody else. */
function fault(peer: PeerId, code: string, message: string): Fault {
	return { peer, code, message, proof: false };
}
