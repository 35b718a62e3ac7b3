/**
 * Error feedback between rounds: what this site did not send of its updates, for its next one. Kept in
 * memory alone and only for the round it is for: it tells about records, and after a restart, or rounds
 * that others certified without this node, nothing is added, which costs some compensation and is safe.
 */
import type { PeerId } from "../../crypto/identity.ts";
import type { RoundResult } from "../../protocols/training/index.ts";

interface Unsent {
	/** Of the last round whose sum this site is in. */
	readonly kept: Float32Array | undefined;
	/** Of the last contribution, until its round is decided. */
	readonly pending?: { readonly round: number; readonly unsent: Float32Array };
}

export class UnsentUpdates {
	readonly #self: PeerId;
	readonly #jobs = new Map<string, Unsent>();

	constructor(self: PeerId) {
		this.#self = self;
	}

	/**
	 * What is to be added to the contribution to `round`.
	 * @param last the last certified round of the job
	 */
	before(jobId: string, round: number, last: RoundResult | undefined): Float32Array | undefined {
		const unsent = this.#jobs.get(jobId);
		if (unsent?.pending === undefined || unsent.pending.round === round) return unsent?.kept;
		if (last?.round !== unsent.pending.round || round !== last.round + 1) {
			this.#jobs.delete(jobId);
			return undefined;
		}
		const sent = last.outcome === "released" && last.survivors.includes(this.#self);
		const kept = sent ? unsent.pending.unsent : unsent.kept;
		this.#jobs.set(jobId, { kept });
		return kept;
	}

	/** What the contribution to `round` left out, should it come into the sum. */
	after(jobId: string, round: number, unsent: Float32Array): void {
		this.#jobs.set(jobId, { kept: this.#jobs.get(jobId)?.kept, pending: { round, unsent } });
	}

	forget(jobId: string): void {
		this.#jobs.delete(jobId);
	}
}
