/**
 * Finds whose projection is false when they do not add up to the masked sum's. Inputs are not kept, so
 * every survivor is asked for its own again, a few at a time; each is bound by its signed hash. Who does
 * not answer is doubted: the comparison goes on without it.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { isPacked } from "../../crypto/ringPacking.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import type { MessageOf, Projection } from "./messages.ts";
import { SHOWN_INPUTS } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { projectionSeed, vectorHash } from "./sessionId.ts";

/** Inputs that are asked for, or projected, at a time. */
const AT_A_TIME = 4;

export class ProjectionAudit {
	readonly #context: Context;
	readonly #workPrefix: string;
	readonly #proposalHash: Uint8Array;
	readonly #claims: ReadonlyMap<PeerId, Projection>;
	readonly #hashOf: (survivor: PeerId) => Uint8Array | undefined;
	readonly #waiting: PeerId[];
	readonly #asked = new Set<PeerId>();
	readonly #projecting = new Map<PeerId, Uint8Array>();
	readonly #liars = new Map<PeerId, Uint8Array | undefined>();
	readonly #silent = new Set<PeerId>();

	/**
	 * @param workPrefix of the work ids, before the survivor's name
	 * @param hashOf the input hash that a survivor signed, where it is known here
	 */
	constructor(
		context: Context,
		workPrefix: string,
		proposalHash: Uint8Array,
		claims: readonly Projection[],
		hashOf: (survivor: PeerId) => Uint8Array | undefined,
	) {
		this.#context = context;
		this.#workPrefix = workPrefix;
		this.#proposalHash = proposalHash;
		this.#claims = new Map(claims.map((claim) => [claim.author, claim]));
		this.#hashOf = hashOf;
		this.#waiting = [...this.#claims.keys()].filter((peer) => hashOf(peer) !== undefined);
		for (const peer of this.#claims.keys()) if (hashOf(peer) === undefined) this.#silent.add(peer);
	}

	/** Survivors found false, with their input while few enough are shown, and those that gave no answer. */
	get doubted(): ReadonlyMap<PeerId, Uint8Array | undefined> {
		return new Map([...[...this.#silent].map((peer) => [peer, undefined] as const), ...this.#liars]);
	}

	get done(): boolean {
		return this.#waiting.length + this.#asked.size + this.#projecting.size === 0;
	}

	/** Asks on, and repeats what is unanswered. */
	prompt(out: Outbox): void {
		for (const peer of this.#asked) this.#ask(peer, out);
		this.#advance(out);
	}

	#advance(out: Outbox): void {
		while (this.#waiting.length > 0 && this.#asked.size + this.#projecting.size < AT_A_TIME) {
			const next = this.#waiting.shift() as PeerId;
			this.#asked.add(next);
			this.#ask(next, out);
		}
	}

	#ask(peer: PeerId, out: Outbox): void {
		out.send(peer, { kind: "inputRequest", proposalHash: this.#proposalHash });
	}

	/** The phase's time is over: who was asked and is silent stays unconfirmed. */
	deadline(out: Outbox): void {
		for (const peer of this.#asked) this.#silent.add(peer);
		this.#asked.clear();
		this.#advance(out);
	}

	take({ meta }: MessageOf<"input">, from: PeerId, blob: Uint8Array | undefined, out: Outbox): void {
		const { length, modulusBits } = this.#context.config;
		const hash = this.#hashOf(from);
		if (meta.author !== from || blob === undefined || !isPacked(blob, modulusBits, length)) return;
		if (hash === undefined || !equalBytes(vectorHash(blob), hash) || !this.#asked.delete(from)) return;
		this.#projecting.set(from, blob);
		const seed = projectionSeed(this.#proposalHash);
		out.work(this.#workPrefix + from, { kind: "project", packed: blob, seed, length, modulusBits });
	}

	projected(survivor: PeerId, actual: Uint8Array, out: Outbox): void {
		const packed = this.#projecting.get(survivor);
		const claim = this.#claims.get(survivor);
		if (packed === undefined || claim === undefined) return;
		this.#projecting.delete(survivor);
		if (!equalBytes(claim.packed, actual)) {
			this.#liars.set(survivor, this.#liars.size < SHOWN_INPUTS ? packed : undefined);
			out.fault(
				survivor,
				"wrong_projection",
				`${survivor} sent a projection that is not its masked input's.`,
			);
		}
		this.#advance(out);
	}
}
