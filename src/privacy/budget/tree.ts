/** The accounts by name, and who is below whom. */
import { AlthingError } from "../../../crypto/error.ts";
import { type Account, held, type Limits, leftOf } from "./account.ts";
import type { AccountKind, ChildrenRule, OpenRecord } from "./records.ts";
import { type TreeShape, Window } from "./window.ts";

/** From the widest to the narrowest: an account's parent is of an earlier kind, or of the same where kinds nest. */
const KINDS: readonly AccountKind[] = ["federation", "organization", "unit", "dataset", "job"];

export class AccountTree implements TreeShape {
	readonly #accounts = new Map<string, Account>();
	readonly #children = new Map<string, string[]>();

	get(id: string): Account | undefined {
		return this.#accounts.get(id);
	}

	/** @throws AlthingError `budget.not_found` */
	require(id: string): Account {
		const account = this.#accounts.get(id);
		if (account !== undefined) return account;
		throw new AlthingError(
			"budget.not_found",
			`There is no privacy budget named "${id}". Open one, or add the data set, first.`,
			{ account: id },
		);
	}

	/** By name. */
	all(): readonly Account[] {
		return [...this.#accounts.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
	}

	childrenOf(id: string): readonly string[] {
		return this.#accounts.get(id)?.kind === "dataset" ? [] : (this.#children.get(id) ?? []);
	}

	parentOf(id: string): string | undefined {
		return this.#accounts.get(id)?.parent;
	}

	ruleOf(id: string): ChildrenRule {
		return this.#accounts.get(id)?.children ?? "sequential";
	}

	/** The account and all above it, upwards. */
	upwards(id: string): readonly Account[] {
		const path: Account[] = [];
		for (let next = this.#accounts.get(id); next !== undefined; ) {
			path.push(next);
			next = next.parent === undefined ? undefined : this.#accounts.get(next.parent);
		}
		return path;
	}

	/** Every account that a charge of a job on a data set has to fit, upwards. @throws AlthingError `budget.not_found` */
	pathOf(dataset: string, jobId: string): readonly Account[] {
		const { kind } = this.require(dataset);
		if (kind !== "dataset") {
			throw new AlthingError(
				"budget.not_found",
				`"${dataset}" is an account of kind ${kind}; only a data set's records can be charged for.`,
				{ account: dataset },
			);
		}
		const job = this.#accounts.get(jobId);
		const own = job?.kind === "job" && job.parent === dataset ? [job] : [];
		return [...own, ...this.upwards(dataset)];
	}

	/** @throws AlthingError `budget.account_exists`, `budget.not_found`, `budget.bad_place` */
	requireOpenable(record: OpenRecord): void {
		if (this.#accounts.has(record.account)) {
			throw new AlthingError(
				"budget.account_exists",
				`There is a privacy budget named "${record.account}" already. Choose another name, or change that one's limits.`,
				{ account: record.account },
			);
		}
		if (record.kind === "job" && record.parent === undefined)
			throw badPlace(record.account, "a job's budget belongs below its data set's");
		if (record.kind === "job" && record.renewEveryDays !== undefined)
			throw badPlace(record.account, "a job's budget has no periods");
		if (record.composition === "planned" && record.kind !== "dataset" && record.kind !== "job")
			throw badPlace(record.account, "only data sets and jobs can be planned; what groups them is a filter");
		if (record.children === "disjoint" && (record.kind === "dataset" || record.kind === "job"))
			throw badPlace(record.account, "only an account that groups others can have disjoint ones below it");
		if (record.parent !== undefined)
			this.#requirePlace(record.account, record.kind, this.require(record.parent));
	}

	/** @throws AlthingError `budget.not_found`, `budget.bad_place` */
	requirePlaceable(account: Account, parentId: string): void {
		const parent = this.require(parentId);
		this.#requirePlace(account.id, account.kind, parent);
		if (account.kind === "job") throw badPlace(account.id, "a job's budget stays with its data set");
		if (this.upwards(parentId).includes(account)) throw badPlace(account.id, "it cannot be below itself");
	}

	#requirePlace(id: string, kind: AccountKind, parent: Account): void {
		const rank = KINDS.indexOf(kind);
		const above = KINDS.indexOf(parent.kind);
		const nests = kind === "unit" && parent.kind === "unit";
		const fits = kind === "job" ? parent.kind === "dataset" : parent.kind !== "dataset" && above < rank;
		if (!fits && !nests)
			throw badPlace(id, `an account of kind ${kind} cannot be below one of kind ${parent.kind}`);
	}

	/** Adds an account; its limits are not checked against anybody's. */
	insert(record: OpenRecord, at: string): Account {
		const { account: id, kind, parent } = record;
		const limits = { epsilon: record.epsilonLimit, delta: record.deltaLimit };
		const window = new Window(kind === "job" ? (parent ?? id) : id, this);
		const account: Account = {
			id,
			kind,
			parent,
			limits,
			composition: record.composition,
			children: record.children,
			frozen: undefined,
			expiresAt: record.expiresAt,
			renewEveryDays: record.renewEveryDays,
			openedAt: at,
			period: { number: 0, startedAt: at, firstCharge: 0, filterEpsilon: limits.epsilon, window },
			lifetime: window,
			odometerEpsilon: limits.epsilon,
			delegated: undefined,
			analysts: new Map(),
		};
		this.#accounts.set(id, account);
		if (parent !== undefined) this.#adopt(id, parent);
		return account;
	}

	place(account: Account, parent: string): void {
		if (account.parent !== undefined) {
			const siblings = this.#children.get(account.parent) ?? [];
			this.#children.set(
				account.parent,
				siblings.filter((id) => id !== account.id),
			);
			this.#reshaped(account.parent);
		}
		account.parent = parent;
		this.#adopt(account.id, parent);
	}

	#adopt(child: string, parent: string): void {
		this.#children.set(parent, [...(this.#children.get(parent) ?? []), child]);
		this.#reshaped(parent);
	}

	#reshaped(parent: string): void {
		for (const account of this.upwards(parent)) {
			account.period.window.reshaped();
			account.lifetime.reshaped();
			for (const { window } of account.analysts.values()) window.reshaped();
		}
	}

	/** The children whose limits the account has set aside. */
	delegatedBelow(id: string): readonly Account[] {
		return this.childrenOf(id).flatMap((child) => {
			const account = this.#accounts.get(child);
			return account?.delegated === undefined ? [] : [account];
		});
	}

	/**
	 * What is left of an account's limits for those below it that have nothing set aside. Delegated
	 * limits compose with the rest by basic composition: epsilons and deltas add. Where the children
	 * are disjoint nobody is in two of them, and nothing has to be taken away.
	 */
	undelegated(account: Account): Limits {
		if (account.children === "disjoint") return account.limits;
		let epsilon = 0;
		let delta = 0;
		for (const child of this.delegatedBelow(account.id)) {
			epsilon += held(child).epsilon;
			delta += held(child).delta;
		}
		return { epsilon: leftOf(account.limits.epsilon, epsilon), delta: leftOf(account.limits.delta, delta) };
	}
}

function badPlace(account: string, why: string): AlthingError {
	return new AlthingError("budget.bad_place", `The privacy budget "${account}" cannot be there: ${why}.`, {
		account,
	});
}
