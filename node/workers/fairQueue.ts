/**
 * A queue that shares a server among its groups, whatever the size of their items: start-time fair
 * queueing (Goyal, Vin and Cheng, SIGCOMM 1996), with the cost of an item, in any one unit, known
 * only after it was served. Each group has a tag, what it has used; the least tag is served next,
 * and the queue's own clock is the tag that was served last.
 *
 * What holds for one server: an item at the head of a group that has used no more than its share
 * is served after at most one item of each other group, and two groups that wait all the while
 * differ in what they used by at most the costliest item of each. A group that was idle does not save up.
 */

/** Before anything is known of a group, and the least an item counts as: equal groups take turns. */
const LEAST_COST = 1;
/** Weight of the latest cost in the expectation of the next. */
const SMOOTHING = 0.25;

interface Group<T> {
	readonly waiting: T[];
	/** On the queue's own clock: the tag of the group's next item. */
	used: number;
	/** What its next item is expected to cost. */
	expected: number;
	/** Items handed out whose cost is not known yet. */
	inService: number;
}

export interface Served<T> {
	readonly group: string;
	readonly item: T;
	/** Says once what serving the item took. */
	readonly settle: (cost: number) => void;
}

export class FairQueue<T> {
	/** Those that wait come in the order in which they began to, or were last served. */
	readonly #groups = new Map<string, Group<T>>();
	#length = 0;
	#clock = 0;

	get length(): number {
		return this.#length;
	}

	/** Items of one group that wait. */
	waiting(group: string): number {
		return this.#groups.get(group)?.waiting.length ?? 0;
	}

	push(name: string, item: T): void {
		const known = this.#groups.get(name);
		const group = known ?? { waiting: [], used: this.#clock, expected: LEAST_COST, inService: 0 };
		if (group.waiting.length === 0) {
			group.used = Math.max(group.used, this.#clock);
			this.#toTheBack(name, group);
		}
		group.waiting.push(item);
		this.#length += 1;
	}

	/** The oldest item of the group that has used least; undefined when none waits. */
	shift(): Served<T> | undefined {
		let name: string | undefined;
		let next: Group<T> | undefined;
		for (const [candidate, group] of this.#groups) {
			if (group.waiting.length === 0 || (next !== undefined && next.used <= group.used)) continue;
			name = candidate;
			next = group;
		}
		const item = next?.waiting.shift();
		if (name === undefined || next === undefined || item === undefined) return undefined;
		this.#length -= 1;
		this.#clock = Math.max(this.#clock, next.used);
		const charged = next.expected;
		next.used += charged;
		next.inService += 1;
		this.#toTheBack(name, next);
		return { group: name, item, settle: this.#settlement(name, next, charged) };
	}

	/** Removes one item; false when it is not waiting (any more). */
	remove(name: string, item: T): boolean {
		const group = this.#groups.get(name);
		const at = group?.waiting.indexOf(item) ?? -1;
		if (group === undefined || at < 0) return false;
		group.waiting.splice(at, 1);
		this.#length -= 1;
		this.#forgetIfSettled(name, group);
		return true;
	}

	#settlement(name: string, group: Group<T>, charged: number): (cost: number) => void {
		let settled = false;
		return (cost) => {
			if (settled) return;
			settled = true;
			const known = Math.max(LEAST_COST, cost);
			group.inService -= 1;
			group.expected += SMOOTHING * (known - group.expected);
			// Not before the queue's own clock: with several servers the group could save up otherwise.
			group.used = Math.max(group.used + known - charged, this.#clock);
			this.#forgetIfSettled(name, group);
		};
	}

	/** Behind the groups with the same tag. */
	#toTheBack(name: string, group: Group<T>): void {
		this.#groups.delete(name);
		this.#groups.set(name, group);
	}

	/** A group that would begin anew as it stands need not be remembered; the others are at the next push. */
	#forgetIfSettled(name: string, group: Group<T>): void {
		if (group.waiting.length > 0 || group.inService > 0) return;
		for (const [other, { waiting, inService, used }] of this.#groups)
			if (waiting.length === 0 && inService === 0 && used <= this.#clock) this.#groups.delete(other);
		// Nobody else is there to be fair to.
		if (this.#length === 0 && [...this.#groups.values()].every(({ inService }) => inService === 0))
			this.#groups.clear();
		else if (group.used <= this.#clock) this.#groups.delete(name);
	}
}
