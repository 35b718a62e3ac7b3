/** A queue that serves its groups in turn, so that one job's burst does not starve another. */
export class FairQueue<T> {
	readonly #groups = new Map<string, T[]>();
	#length = 0;

	get length(): number {
		return this.#length;
	}

	push(group: string, item: T): void {
		const waiting = this.#groups.get(group);
		if (waiting) waiting.push(item);
		else this.#groups.set(group, [item]);
		this.#length += 1;
	}

	/** The oldest item of the group whose turn it is; that group then goes to the back. */
	shift(): T | undefined {
		for (const [group, waiting] of this.#groups) {
			const item = waiting.shift();
			this.#groups.delete(group);
			if (waiting.length > 0) this.#groups.set(group, waiting);
			if (item === undefined) continue;
			this.#length -= 1;
			return item;
		}
		return undefined;
	}

	/** Removes one item; false when it is not waiting (any more). */
	remove(group: string, item: T): boolean {
		const waiting = this.#groups.get(group);
		const at = waiting?.indexOf(item) ?? -1;
		if (waiting === undefined || at < 0) return false;
		waiting.splice(at, 1);
		if (waiting.length === 0) this.#groups.delete(group);
		this.#length -= 1;
		return true;
	}
}
