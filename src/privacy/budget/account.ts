/** One account of the tree, and what its limits leave. */
import type { AccountKind, ChildrenRule, CompositionRule } from "./records.ts";
import type { Window } from "./window.ts";

export interface Limits {
	/** > 0. */
	readonly epsilon: number;
	/** In (0, 1). */
	readonly delta: number;
}

export interface Account {
	/** Of a job's account: the job's id. */
	readonly id: string;
	readonly kind: AccountKind;
	parent: string | undefined;
	limits: Limits;
	readonly composition: CompositionRule;
	readonly children: ChildrenRule;
	/** Why nothing may be charged at present. */
	frozen: string | undefined;
	/** ISO time from which nothing may be charged. */
	expiresAt: string | undefined;
	readonly renewEveryDays: number | undefined;
	readonly openedAt: string;
	period: Period;
	/** All that was ever charged below: the odometer, which no renewal resets. */
	lifetime: Window;
	/** As the period's `filterEpsilon`, for the lifetime. */
	odometerEpsilon: number;
	/**
	 * Present while the parent has set the limits aside: what the parent's period holds for earlier
	 * periods of this account, beside its present limits.
	 */
	delegated: { earlierEpsilon: number; earlierDelta: number } | undefined;
	readonly analysts: Map<string, { epsilonLimit: number; window: Window }>;
}

/** What an account's limits are for: the charges since it was opened or last renewed. */
interface Period {
	/** 0 for the first one. */
	readonly number: number;
	readonly startedAt: string;
	/** Charges from this place in the ledger on belong to it. */
	readonly firstCharge: number;
	/**
	 * The limit on epsilon when the first charge was made. The filter's weights derive from it and
	 * stay: weights chosen after outputs were seen would void its proof.
	 */
	filterEpsilon: number;
	/** The charges of the period that count against the limits: not those below delegated accounts. */
	window: Window;
}

const DAY_MS = 86_400_000;

/** When the account's period ends by itself, in ms since 1970; undefined where it does not. */
export function periodEndsAt(account: Account): number | undefined {
	if (account.renewEveryDays === undefined) return undefined;
	return Date.parse(account.period.startedAt) + account.renewEveryDays * DAY_MS;
}

/** @param now ISO time */
export function isExpired(account: Account, now: string): boolean {
	return account.expiresAt !== undefined && Date.parse(account.expiresAt) <= Date.parse(now);
}

/** What a parent holds for a delegated account: its present limits and those of periods before. */
export function held(account: Account): { readonly epsilon: number; readonly delta: number } {
	const { delegated, limits } = account;
	if (delegated === undefined) return { epsilon: 0, delta: 0 };
	return {
		epsilon: limits.epsilon + delegated.earlierEpsilon,
		delta: limits.delta + delegated.earlierDelta,
	};
}

/**
 * What is left of an amount. Amounts are decimals that people type: 0.1 and 0.1 and 0.1 leave
 * nothing of 0.3, whatever their binary representations say; a relative 1e-12 is theirs.
 */
export function leftOf(amount: number, taken: number): number {
	const left = amount - taken;
	return Math.abs(left) <= 1e-12 * amount ? 0 : left;
}

/** A sum or difference of decimals, without the digits that its representation adds. */
export function decimal(value: number): number {
	return Number(value.toPrecision(12));
}
