/**
 * Which of the started jobs train at this node at the same time: as many as there are slots, first
 * come first served; the others are queued and start by themselves.
 *
 * Members may have different numbers of slots, and queue the same jobs in different orders. So that
 * two of them cannot wait for each other's job, a job that has made no progress for a while does not
 * count as long as others wait: it goes on, but its slot is lent to the next.
 */
export class JobSlots {
	readonly #slots: number;
	readonly #patienceMs: number;
	/** In order of arrival. */
	readonly #queue = new Set<string>();
	/** Jobs that train, with when they last made progress. */
	readonly #training = new Map<string, number>();

	/**
	 * @param slots jobs that train at once, at least 1
	 * @param patienceMs how long a job may hold its slot from others without a certified round
	 */
	constructor(slots: number, patienceMs: number) {
		this.#slots = slots;
		this.#patienceMs = patienceMs;
	}

	/** Jobs that wait for a slot, in the order in which they will get one. */
	get queue(): readonly string[] {
		return [...this.#queue];
	}

	/**
	 * The job wants to train.
	 * @returns whether it may now; otherwise {@link next} names it when its turn comes
	 */
	enter(job: string, nowMs: number): boolean {
		if (this.#training.has(job)) return true;
		this.#queue.add(job);
		return this.next(nowMs, job).includes(job);
	}

	/** Whether the job has a slot. */
	holds(job: string): boolean {
		return this.#training.has(job);
	}

	/** A round of the job was certified. */
	progressed(job: string, nowMs: number): void {
		if (this.#training.has(job)) this.#training.set(job, nowMs);
	}

	/** The job has ended or is stopped here. */
	leave(job: string): void {
		this.#training.delete(job);
		this.#queue.delete(job);
	}

	/** Jobs whose turn has come, taken out of the queue. @param only others stay in it */
	next(nowMs: number, only?: string): string[] {
		const admitted: string[] = [];
		let free = this.#slots - this.#counted(nowMs);
		for (const job of this.#queue) {
			if (free <= 0) break;
			free -= 1;
			if (only !== undefined && job !== only) continue;
			this.#queue.delete(job);
			this.#training.set(job, nowMs);
			admitted.push(job);
		}
		return admitted;
	}

	#counted(nowMs: number): number {
		return [...this.#training.values()].filter((sinceMs) => nowMs - sinceMs < this.#patienceMs).length;
	}
}
