/**
 * Buffered rounds: this site trains at its own pace, from the newest version of the model when it begins, and
 * offers what comes out to the rounds that follow, until one takes it or it is too stale.
 */
import type { Checkpoint } from "./checkpoint.ts";
import type { Collector } from "./contract.ts";

export class Preparation {
	readonly #maximumStaleness: number;
	/** The number of the round that starts from it, and the state. */
	#newest: { readonly version: number; readonly state: Uint8Array } | undefined;
	/** Version that a training under way began from. */
	#running: number | undefined;
	/** Version that a contribution, ready to be taken, was trained from. */
	#ready: number | undefined;
	/** It was handed over in the present round: whatever becomes of that, it is never used in another one. */
	#handedOver = false;

	/** @param maximumStaleness rounds that a contribution may have missed */
	constructor(maximumStaleness: number) {
		this.#maximumStaleness = maximumStaleness;
	}

	/** The version that the contribution at hand was trained from, if there is one. */
	get ready(): number | undefined {
		return this.#ready;
	}

	get handedOver(): boolean {
		return this.#handedOver;
	}

	/** A round begins: from the state of its checkpoint, unless something is under way or still to be taken. */
	begin(out: Collector, { round, state }: Checkpoint): void {
		this.#newest = { version: round, state };
		if (this.#handedOver || this.#tooStale(this.#ready)) this.#ready = undefined;
		this.#handedOver = false;
		if (this.#ready === undefined && this.#running === undefined) this.#start(out);
	}

	/** A training has ended. @returns true when its outcome may be offered */
	prepared(out: Collector, version: number): boolean {
		if (version !== this.#running) return false;
		this.#running = undefined;
		if (this.#tooStale(version)) {
			this.#start(out);
			return false;
		}
		this.#ready = version;
		return true;
	}

	/** A training failed; the next round tries again. */
	failed(): void {
		this.#running = undefined;
	}

	/** The contribution is on its way into this round's sum, or was lost on the way there. */
	spend(): void {
		this.#handedOver = true;
	}

	#start(out: Collector): void {
		if (this.#newest === undefined) return;
		const { version, state } = this.#newest;
		this.#running = version;
		out.work(`prepare/${version}`, { kind: "prepare", version, state });
	}

	#tooStale(version: number | undefined): boolean {
		if (version === undefined || this.#newest === undefined) return false;
		return this.#newest.version - version > this.#maximumStaleness;
	}
}
