/**
 * What this organization keeps of its jobs for itself (see src/training/siteState.ts), sealed in the
 * store: for each job the state that counts, and those that contributions on their way propose.
 *
 * A proposal is durable before its contribution leaves. It counts once a certificate says that the very
 * attempt it went with was opened, with this organization among the survivors; any other certificate of the
 * round, or of a later one, drops it. But for a proposal that stands: it counts whatever becomes of the round,
 * because what the contribution showed of it may have been seen.
 */
import { z } from "zod";
import type { PeerId } from "../../crypto/identity.ts";
import { ownAttempt, type RoundResult } from "../../protocols/training/index.ts";
import type { Collection, Store } from "../store/index.ts";

const blobHash = z.string().regex(/^[0-9a-f]{64}$/);

const recordSchema = z.strictObject({
	/** Blob of the state that counts; none before the first round that did. */
	state: blobHash.optional(),
	/** Everything is done that the job leaves to be done when its rounds are over. */
	finished: z.boolean().optional(),
	proposals: z.array(
		z.strictObject({
			round: z.int(),
			attempt: z.int(),
			state: blobHash,
			standing: z.boolean().optional(),
		}),
	),
});
type Kept = z.infer<typeof recordSchema>;

type SettledRound = Pick<RoundResult, "round" | "attempt" | "outcome" | "survivors">;

export class SiteStates {
	readonly #blobs: Store["blobs"];
	readonly #records: Collection<Kept>;
	readonly #self: PeerId;
	/** Changes take turns: each reads the record that it replaces. */
	#last: Promise<unknown> = Promise.resolve();

	constructor(store: Pick<Store, "blobs" | "collection">, self: PeerId) {
		this.#blobs = store.blobs;
		this.#records = store.collection("site-states", recordSchema);
		this.#self = self;
	}

	/** The state that counts; undefined before there is one. @throws AlthingError `store.corrupt_record` */
	async latest(jobId: string): Promise<Uint8Array | undefined> {
		const { state } = await this.#kept(jobId);
		return state === undefined ? undefined : await this.#blobs.get(state);
	}

	async finished(jobId: string): Promise<boolean> {
		return (await this.#kept(jobId)).finished === true;
	}

	/**
	 * Stores durably what the site keeps if its contribution to this attempt is summed.
	 * @param standing whatever becomes of the round
	 */
	async propose(
		jobId: string,
		round: number,
		attempt: number,
		bytes: Uint8Array,
		standing = false,
	): Promise<void> {
		await this.#change(jobId, async (kept) => {
			const state = await this.#blobs.put(bytes);
			const proposal = { round, attempt, state, ...(standing ? { standing } : {}) };
			const others = kept.proposals.filter((other) => other.round !== round || other.attempt !== attempt);
			return { ...kept, proposals: [...others, proposal] };
		});
	}

	/** Takes up a certified round of the job; again, or for a round without a proposal, it changes nothing. */
	async settle(jobId: string, { round, attempt, outcome, survivors }: SettledRound): Promise<void> {
		await this.#change(jobId, async (kept) => {
			const settled = kept.proposals.filter((proposal) => proposal.round <= round);
			if (settled.length === 0) return kept;
			const ofRound = settled.filter((proposal) => proposal.round === round);
			const own = ownAttempt(
				attempt,
				ofRound.map((proposal) => proposal.attempt),
			);
			const summed =
				outcome === "released" && survivors.includes(this.#self)
					? ofRound.find((proposal) => proposal.attempt === own)
					: undefined;
			const counts = summed ?? settled.findLast(({ standing }) => standing === true);
			return {
				...kept,
				...(counts === undefined ? {} : { state: counts.state }),
				proposals: kept.proposals.filter((proposal) => proposal.round > round),
			};
		});
	}

	/** Stores durably what the site keeps after the job's end. */
	async finish(jobId: string, bytes: Uint8Array): Promise<void> {
		await this.#change(jobId, async () => {
			return { state: await this.#blobs.put(bytes), finished: true, proposals: [] };
		});
	}

	/** Replaces a job's record, the record first: it must never name a state that is gone. */
	async #change(jobId: string, changed: (kept: Kept) => Promise<Kept>): Promise<void> {
		const turn = this.#last.then(async () => {
			const before = await this.#kept(jobId);
			const after = await changed(before);
			if (after === before) return;
			await this.#records.put(jobId, after);
			const named = statesIn(after);
			for (const state of statesIn(before)) if (!named.has(state)) await this.#blobs.delete(state);
		});
		this.#last = turn.catch(() => {});
		await turn;
	}

	async #kept(jobId: string): Promise<Kept> {
		return (await this.#records.get(jobId)) ?? { proposals: [] };
	}
}

function statesIn({ state, proposals }: Kept): Set<string> {
	return new Set([...(state === undefined ? [] : [state]), ...proposals.map((proposal) => proposal.state)]);
}
