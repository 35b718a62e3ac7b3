/**
 * What was charged below one account since some moment: per data set, and summed up the tree.
 * The sums are kept, so that one more charge costs the same after a hundred thousand as after one.
 */
import { type Loss, LossSum } from "./loss.ts";
import type { ChildrenRule, Partition } from "./records.ts";
import { DatasetSpending, type PricedEvent } from "./spending.ts";

/** The shape of the tree, as far as composition needs it. */
export interface TreeShape {
	/** Accounts directly below; none for a data set (its jobs are not added up: their charges are its own). */
	childrenOf(account: string): readonly string[];
	parentOf(account: string): string | undefined;
	ruleOf(account: string): ChildrenRule;
}

export class Window {
	/** The account at the top of it. */
	readonly #top: string;
	readonly #shape: TreeShape;
	readonly #datasets = new Map<string, DatasetSpending>();
	/** Loss of any record below a group; missing where it has to be added up again. */
	readonly #sums = new Map<string, LossSum>();

	/** @param top a data set or a group of accounts */
	constructor(top: string, shape: TreeShape) {
		this.#top = top;
		this.#shape = shape;
	}

	add(dataset: string, partition: Partition, priced: PricedEvent): void {
		let spending = this.#datasets.get(dataset);
		if (spending === undefined) {
			spending = new DatasetSpending();
			this.#datasets.set(dataset, spending);
		}
		let growth = new LossSum();
		spending.add(partition, priced, growth);
		let below: Loss = spending.envelope;
		for (const group of this.#groupsAbove(dataset)) {
			const sum = this.#sums.get(group);
			// What is above a sum that has to be made again has to be made again, too.
			if (sum === undefined) return;
			if (this.#shape.ruleOf(group) === "sequential") sum.add(growth);
			else {
				const raised = new LossSum();
				sum.raise(below, raised);
				growth = raised;
			}
			below = sum;
		}
	}

	remove(dataset: string, partition: Partition, priced: PricedEvent): void {
		this.#datasets.get(dataset)?.remove(partition, priced);
		for (const group of this.#groupsAbove(dataset)) this.#sums.delete(group);
	}

	/**
	 * What charges to a data set can change, as it stands now. Taking a charge back by `remove`
	 * sums up afresh, in another order: the last bits of what is stated would tell of questions asked.
	 * @returns a function that puts it back
	 */
	remember(dataset: string): () => void {
		const spending = this.#datasets.get(dataset)?.copy();
		const sums = this.#groupsAbove(dataset).map((group) => [group, this.#sums.get(group)?.copy()] as const);
		return () => {
			restore(this.#datasets, dataset, spending);
			for (const [group, sum] of sums) restore(this.#sums, group, sum);
		};
	}

	/** The tree has changed: every sum has to be made again. */
	reshaped(): void {
		this.#sums.clear();
	}

	spendingOf(dataset: string): DatasetSpending | undefined {
		return this.#datasets.get(dataset);
	}

	/**
	 * The losses of which a person has one: the account's epsilon is the largest of theirs.
	 * @param through only those that a charge to this data set can have changed
	 */
	branches(through?: string): readonly Loss[] {
		return this.#branchesOf(this.#top, through);
	}

	#branchesOf(account: string, through: string | undefined): readonly Loss[] {
		const spending = this.#datasets.get(account);
		if (spending !== undefined) return spending.parts;
		if (this.#shape.ruleOf(account) === "sequential") return [this.#sumOf(account)];
		const children = this.#shape.childrenOf(account);
		const changed =
			through === undefined ? children : children.filter((child) => this.#isAbove(child, through));
		return changed.flatMap((child) => this.#branchesOf(child, through));
	}

	/** A bound on the loss of anybody below. */
	#sumOf(account: string): Loss {
		const spending = this.#datasets.get(account);
		if (spending !== undefined) return spending.envelope;
		const known = this.#sums.get(account);
		if (known !== undefined) return known;
		const sum = new LossSum();
		const isSequential = this.#shape.ruleOf(account) === "sequential";
		for (const child of this.#shape.childrenOf(account)) {
			if (isSequential) sum.add(this.#sumOf(child));
			else sum.raise(this.#sumOf(child), new LossSum());
		}
		this.#sums.set(account, sum);
		return sum;
	}

	#groupsAbove(dataset: string): string[] {
		const groups: string[] = [];
		for (let account = dataset; account !== this.#top; ) {
			const parent = this.#shape.parentOf(account);
			if (parent === undefined) break;
			groups.push(parent);
			account = parent;
		}
		return groups;
	}

	#isAbove(account: string, dataset: string): boolean {
		return account === dataset || this.#groupsAbove(dataset).includes(account);
	}
}

function restore<T>(map: Map<string, T>, key: string, value: T | undefined): void {
	if (value === undefined) map.delete(key);
	else map.set(key, value);
}
