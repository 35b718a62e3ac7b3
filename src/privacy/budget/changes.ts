/**
 * What a privacy officer does to accounts: checks before, effects after. The effects are also
 * what replaying the journal does, so they ask no questions.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { type Account, decimal, held, type Limits, leftOf } from "./account.ts";
import type { LedgerRecord } from "./records.ts";
import type { AccountTree } from "./tree.ts";

export type ChangeRecord = Exclude<LedgerRecord, { type: "charge" | "refund" | "finalise" | "account" }>;

const NOTHING_EARLIER = { earlierEpsilon: 0, earlierDelta: 0 };

/** What changes need of the ledger around them. */
export interface ChangeContext {
	readonly tree: AccountTree;
	/** The period's epsilon as it would be stated under other limits. */
	epsilonUnder(account: Account, limits: Limits): number;
	/** Whether anything counts in a window of the account. */
	isCharged(account: Account, during: "period" | "lifetime"): boolean;
	/** The number of the next charge. */
	readonly nextCharge: number;
	/** Makes an account's sums again from the charges. */
	recount(account: Account): void;
}

/** @throws AlthingError `budget.*` where the change must not be made; nothing has changed then */
export function requireAllowed(change: ChangeRecord, context: ChangeContext): void {
	const { tree } = context;
	switch (change.type) {
		case "open":
			tree.requireOpenable(change);
			return;
		case "limits":
			requireLimits(tree.require(change.account), change, context);
			return;
		case "place":
			requirePlace(tree.require(change.account), change.parent, context);
			return;
		case "delegate":
			requireDelegation(tree.require(change.account), change, context);
			return;
		case "transfer":
			requireTransfer(change, context);
			return;
		case "renew":
			requireRenewal(tree.require(change.account), context);
			return;
		default:
			tree.require(change.account);
	}
}

/** @param at ISO time of the change @throws AlthingError `budget.not_found` for a journal that contradicts itself */
export function carryOut(change: ChangeRecord, at: string, context: ChangeContext): void {
	const { tree } = context;
	switch (change.type) {
		case "open": {
			const account = tree.insert(change, at);
			if (account.kind === "job") context.recount(account);
			return;
		}
		case "limits":
			setLimits(
				tree.require(change.account),
				{ epsilon: change.epsilonLimit, delta: change.deltaLimit },
				context,
			);
			return;
		case "place": {
			const account = tree.require(change.account);
			tree.place(account, change.parent);
			for (const above of tree.upwards(change.parent)) context.recount(above);
			return;
		}
		case "delegate": {
			const account = tree.require(change.account);
			account.delegated ??= { ...NOTHING_EARLIER };
			setLimits(account, change, context);
			// From now on its charges count in the parent's lifetime, not in its period.
			if (account.parent !== undefined) context.recount(tree.require(account.parent));
			return;
		}
		case "transfer": {
			const from = tree.require(change.from);
			const to = tree.require(change.to);
			setLimits(from, less(from.limits, change), context);
			setLimits(to, more(to.limits, change), context);
			return;
		}
		case "freeze":
			tree.require(change.account).frozen = change.reason;
			return;
		case "unfreeze":
			tree.require(change.account).frozen = undefined;
			return;
		case "expire":
			tree.require(change.account).expiresAt = change.expiresAt;
			return;
		case "renew":
			renew(tree.require(change.account), at, context);
			return;
		case "analyst": {
			const account = tree.require(change.account);
			if (change.epsilonLimit === undefined) account.analysts.delete(change.analyst);
			else {
				const { window } = account.period;
				account.analysts.set(change.analyst, { epsilonLimit: change.epsilonLimit, window });
				context.recount(account);
			}
			return;
		}
	}
}

function requireLimits(
	account: Account,
	change: { readonly epsilonLimit: number; readonly deltaLimit: number },
	context: ChangeContext,
): void {
	if (account.delegated !== undefined) {
		throw new AlthingError(
			"budget.delegated",
			`The limits of "${account.id}" were delegated by "${account.parent}"; delegate other ones, or transfer.`,
			{ account: account.id },
		);
	}
	requireCovered(account, { epsilon: change.epsilonLimit, delta: change.deltaLimit }, context);
}

/** New limits must cover what is spent and what is delegated below. */
function requireCovered(account: Account, limits: Limits, context: ChangeContext): void {
	const changed = { ...account, limits };
	const left = context.tree.undelegated(changed);
	const spent = context.epsilonUnder(account, left);
	const inRange = limits.epsilon > 0 && limits.delta > 0 && limits.delta < 1;
	if (inRange && left.epsilon >= 0 && left.delta >= 0 && spent <= left.epsilon) return;
	throw new AlthingError(
		"budget.below_spent",
		`Budget "${account.id}" has spent epsilon ${spent.toFixed(4)}${left.epsilon < limits.epsilon ? " beside what it has delegated" : ""}; its limits cannot be set to epsilon ${limits.epsilon} at delta ${limits.delta}.`,
		{ account: account.id, spent, asked: limits.epsilon },
	);
}

function requirePlace(account: Account, parent: string, context: ChangeContext): void {
	context.tree.requirePlaceable(account, parent);
	// The old parent's promise covers what was charged below it: it cannot be taken elsewhere.
	if (
		account.parent !== undefined &&
		(context.isCharged(account, "lifetime") || account.delegated !== undefined)
	) {
		throw new AlthingError(
			"budget.in_use",
			`Budget "${account.id}" is charged or delegated below "${account.parent}" and stays there.`,
			{ account: account.id },
		);
	}
}

function requireDelegation(
	account: Account,
	change: { readonly epsilon: number; readonly delta: number },
	context: ChangeContext,
): void {
	const { tree } = context;
	const parent = account.parent === undefined ? undefined : tree.require(account.parent);
	if (parent === undefined || account.kind === "job") {
		throw new AlthingError(
			"budget.bad_place",
			`Nothing can be delegated to "${account.id}": only an account below a group of accounts can get a part of its limits.`,
			{ account: account.id },
		);
	}
	if (account.delegated === undefined && context.isCharged(account, "lifetime")) {
		throw new AlthingError(
			"budget.in_use",
			`Budget "${account.id}" was charged already; a part of "${parent.id}" is delegated before the first charge.`,
			{ account: account.id },
		);
	}
	requireCovered(account, change, context);
	requireHoldable(account, parent, { epsilon: change.epsilon, delta: change.delta }, context);
}

/** The parent must be able to hold the account's limits to come beside what it holds and has spent. */
function requireHoldable(account: Account, parent: Account, limits: Limits, context: ChangeContext): void {
	const { tree } = context;
	const free = tree.undelegated(parent);
	const isDisjoint = parent.children === "disjoint";
	const before = isDisjoint ? { epsilon: 0, delta: 0 } : held(account);
	const after = held({ ...account, limits, delegated: account.delegated ?? NOTHING_EARLIER });
	const left = {
		epsilon: leftOf(free.epsilon + before.epsilon, after.epsilon),
		delta: leftOf(free.delta + before.delta, after.delta),
	};
	// Nobody is in two disjoint children: what is spent in the others takes nothing from this one.
	const spent = isDisjoint ? 0 : context.epsilonUnder(parent, left);
	if (left.epsilon >= 0 && left.delta >= 0 && spent <= left.epsilon) return;
	throw new AlthingError(
		"budget.exceeded",
		`Budget "${parent.id}" cannot set aside epsilon ${limits.epsilon} at delta ${limits.delta} for "${account.id}": it has epsilon ${decimal(free.epsilon)} at delta ${decimal(free.delta)} undelegated, part of which may be spent.`,
		{ account: parent.id, asked: limits.epsilon, undelegated: free.epsilon },
	);
}

function requireTransfer(
	change: { readonly from: string; readonly to: string; readonly epsilon: number; readonly delta: number },
	context: ChangeContext,
): void {
	const from = context.tree.require(change.from);
	const to = context.tree.require(change.to);
	const siblings = from !== to && from.parent !== undefined && from.parent === to.parent;
	if (!siblings || (from.delegated === undefined) !== (to.delegated === undefined) || from.kind === "job") {
		throw new AlthingError(
			"budget.bad_transfer",
			`Limits go from one account to a sibling below the same parent, both delegated or neither: "${from.id}" and "${to.id}" are not.`,
			{ from: from.id, to: to.id },
		);
	}
	requireCovered(from, less(from.limits, change), context);
	const raised = more(to.limits, change);
	requireCovered(to, raised, context);
	const parent = context.tree.require(from.parent ?? "");
	// Where delegated amounts do not add up, each by itself must be within the parent's limits.
	if (to.delegated !== undefined && parent.children === "disjoint")
		requireHoldable(to, parent, raised, context);
}

function requireRenewal(account: Account, context: ChangeContext): void {
	if (account.kind === "job") {
		throw new AlthingError("budget.bad_place", `The budget of job "${account.id}" has no periods.`, {
			account: account.id,
		});
	}
	if (account.delegated === undefined || account.parent === undefined) return;
	// The parent's period has to hold this period beside the ones before.
	requireHoldable(account, context.tree.require(account.parent), doubled(account), context);
}

/** Limits under which an account would be held as much as after a renewal. */
function doubled({ limits }: Account): Limits {
	return { epsilon: 2 * limits.epsilon, delta: 2 * limits.delta };
}

function renew(account: Account, at: string, context: ChangeContext): void {
	const { number } = account.period;
	if (account.delegated !== undefined) {
		account.delegated.earlierEpsilon += account.limits.epsilon;
		account.delegated.earlierDelta += account.limits.delta;
	}
	account.period = {
		...account.period,
		number: number + 1,
		startedAt: at,
		firstCharge: context.nextCharge,
		filterEpsilon: account.limits.epsilon,
	};
	// What delegated accounts spent before is the old period's; what they may still spend is the new one's.
	for (const child of context.tree.delegatedBelow(account.id)) {
		child.delegated = { ...NOTHING_EARLIER };
	}
	context.recount(account);
}

function setLimits(account: Account, limits: Limits, context: ChangeContext): void {
	account.limits = { epsilon: limits.epsilon, delta: limits.delta };
	// Before the first charge no output was seen: the filter may still be fitted to its limit.
	if (!context.isCharged(account, "period")) account.period.filterEpsilon = limits.epsilon;
	if (!context.isCharged(account, "lifetime")) account.odometerEpsilon = limits.epsilon;
}

function less(limits: Limits, amount: Limits): Limits {
	return {
		epsilon: decimal(limits.epsilon - amount.epsilon),
		delta: decimal(limits.delta - amount.delta),
	};
}

function more(limits: Limits, amount: Limits): Limits {
	return {
		epsilon: decimal(limits.epsilon + amount.epsilon),
		delta: decimal(limits.delta + amount.delta),
	};
}
