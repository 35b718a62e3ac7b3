/** Accounts of the ledger in the shapes of the admin RPC. */
import { type Account, periodEndsAt } from "../../src/privacy/budget/account.ts";
import type { ChargeView } from "../../src/privacy/budget/charges.ts";
import type { BudgetLedger } from "../../src/privacy/budget/ledger.ts";
import { mechanismOf } from "../../src/privacy/budget/report.ts";
import type { Budget, BudgetAccount } from "../rpc/services.ts";

/** An epsilon for people; undefined where nothing finite is proven, since JSON has no infinity. */
export function finite(epsilon: number): number | undefined {
	return Number.isFinite(epsilon) ? epsilon : undefined;
}

/** @param id of an account that exists */
export function accountView(ledger: BudgetLedger, id: string): BudgetAccount {
	const account = ledger.account(id) as Account;
	const { kind, parent, limits, composition, children, frozen, expiresAt, openedAt, period } = account;
	const { epsilon, method, delegated } = ledger.spent(id);
	const endsAt = periodEndsAt(account);
	return {
		account: id,
		kind,
		...(parent === undefined ? {} : { parent }),
		epsilon: limits.epsilon,
		delta: limits.delta,
		composition,
		children,
		epsilonSpent: finite(epsilon),
		method,
		epsilonDelegated: delegated.epsilon,
		epsilonRemaining: ledger.remaining(id).epsilon,
		epsilonLifetime: finite(ledger.lifetimeEpsilon(id)),
		period: {
			number: period.number,
			startedAt: period.startedAt,
			...(endsAt === undefined ? {} : { endsAt: new Date(endsAt).toISOString() }),
		},
		delegated: account.delegated !== undefined,
		...(frozen === undefined ? {} : { frozen }),
		...(expiresAt === undefined ? {} : { expiresAt }),
		analysts: [...account.analysts].map(([analyst, { epsilonLimit }]) => ({
			analyst,
			epsilon: epsilonLimit,
			epsilonSpent: finite(ledger.analystEpsilon(id, analyst)),
		})),
		openedAt,
	};
}

const MOST_CHARGES = 1000;

/**
 * @param id of an account that exists
 * @param charges below it, oldest first
 */
export function budgetView(ledger: BudgetLedger, id: string, charges: readonly ChargeView[]): Budget {
	return {
		...accountView(ledger, id),
		dataset: id,
		chargeCount: charges.length,
		charges: charges.slice(-MOST_CHARGES).map((charge) => ({
			at: charge.at,
			job: charge.jobId,
			round: charge.round,
			mechanism: mechanismOf(charge.event),
			partition: charge.partition,
			state: charge.state,
			...(charge.analyst === undefined ? {} : { analyst: charge.analyst }),
			epsilonAfter: charge.epsilonAfter === undefined ? undefined : finite(charge.epsilonAfter),
		})),
	};
}
