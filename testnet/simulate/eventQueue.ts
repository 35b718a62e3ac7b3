/** What happens in virtual time, soonest first; of what is due at one time, what was put in first. A binary heap. */
interface Event {
	readonly atMs: number;
	readonly order: number;
	readonly run: () => void;
}

export class EventQueue {
	readonly #queue: Event[] = [];
	#order = 0;

	push(atMs: number, run: () => void): void {
		const event = { atMs, order: this.#order++, run };
		const queue = this.#queue;
		let at = queue.length;
		queue.push(event);
		while (at > 0) {
			const parent = (at - 1) >> 1;
			const above = queue[parent] as Event;
			if (!earlier(event, above)) break;
			queue[at] = above;
			at = parent;
		}
		queue[at] = event;
	}

	/** The next event, left in; undefined when there is none. */
	peek(): Event | undefined {
		return this.#queue[0];
	}

	/** Takes the next event out; undefined when there is none. */
	pop(): Event | undefined {
		const queue = this.#queue;
		const top = queue[0];
		const last = queue.pop();
		if (last === undefined || queue.length === 0) return top;
		let at = 0;
		for (;;) {
			let child = 2 * at + 1;
			if (child >= queue.length) break;
			if (child + 1 < queue.length && earlier(queue[child + 1] as Event, queue[child] as Event)) child++;
			if (!earlier(queue[child] as Event, last)) break;
			queue[at] = queue[child] as Event;
			at = child;
		}
		queue[at] = last;
		return top;
	}
}

function earlier(a: Event, b: Event): boolean {
	return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
