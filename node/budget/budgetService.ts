/** The privacy budgets as the admin RPC shows and changes them. */

import { decodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { auditLedger } from "../../src/privacy/budget/audit.ts";
import type { ChangeRecord } from "../../src/privacy/budget/changes.ts";
import { type LedgerEntry, parseEntry } from "../../src/privacy/budget/records.ts";
import type {
	Budget,
	BudgetAccount,
	BudgetAudit,
	BudgetLimits,
	BudgetOpening,
	BudgetReport,
	BudgetReportQuery,
	BudgetService,
	BudgetTransfer,
	CallContext,
} from "../rpc/services.ts";
import type { Store } from "../store/index.ts";
import { accountView, budgetView, finite } from "./accountView.ts";
import { BUDGET_KIND, type Budgets } from "./budgets.ts";
import { readExecuted } from "./executed.ts";
import { reportOf } from "./reporting.ts";

export interface BudgetOfficeOptions {
	readonly budgets: Budgets;
	readonly store: Store;
	/** This site. */
	readonly self: PeerId;
}

export class BudgetOffice implements BudgetService {
	readonly #options: BudgetOfficeOptions;

	constructor(options: BudgetOfficeOptions) {
		this.#options = options;
	}

	async show({ dataset }: { dataset?: string | undefined }): Promise<Budget[]> {
		const { budgets } = this.#options;
		if (dataset !== undefined) return [await this.#detail(dataset)];
		const { ledger } = budgets;
		const charges = Map.groupBy(ledger.history(), (charge) => charge.dataset);
		const datasets = ledger.accounts().filter(({ kind }) => kind === "dataset");
		return datasets.map(({ id }) => budgetView(ledger, id, charges.get(id) ?? []));
	}

	async tree(): Promise<BudgetAccount[]> {
		const { ledger } = this.#options.budgets;
		const accounts = ledger.accounts();
		const below = (parent: string | undefined): BudgetAccount[] =>
			accounts
				.filter((account) => account.parent === parent)
				.flatMap(({ id }) => [accountView(ledger, id), ...below(id)]);
		return below(undefined);
	}

	async set({ dataset, epsilon, delta }: BudgetLimits, context: CallContext): Promise<Budget> {
		await this.#change(context, {
			type: "limits",
			account: dataset,
			epsilonLimit: epsilon,
			deltaLimit: delta,
		});
		return this.#detail(dataset);
	}

	open(params: BudgetOpening, context: CallContext): Promise<BudgetAccount> {
		const { epsilon, delta, parent, expiresAt, renewEveryDays, ...rest } = params;
		return this.#change(context, {
			type: "open",
			...rest,
			epsilonLimit: epsilon,
			deltaLimit: delta,
			...(parent === undefined ? {} : { parent }),
			...(expiresAt === undefined ? {} : { expiresAt }),
			...(renewEveryDays === undefined ? {} : { renewEveryDays }),
		});
	}

	place(params: { account: string; parent: string }, context: CallContext): Promise<BudgetAccount> {
		return this.#change(context, { type: "place", ...params });
	}

	delegate(
		params: { account: string; epsilon: number; delta: number },
		context: CallContext,
	): Promise<BudgetAccount> {
		return this.#change(context, { type: "delegate", ...params });
	}

	async transfer(params: BudgetTransfer, context: CallContext): Promise<BudgetAccount[]> {
		const { budgets } = this.#options;
		for (const account of [params.from, params.to]) this.#require(account);
		await budgets.change({ type: "transfer", ...params }, personOf(context));
		return [params.from, params.to].map((account) => accountView(budgets.ledger, account));
	}

	freeze(params: { account: string; reason: string }, context: CallContext): Promise<BudgetAccount> {
		return this.#change(context, { type: "freeze", ...params });
	}

	unfreeze(params: { account: string }, context: CallContext): Promise<BudgetAccount> {
		return this.#change(context, { type: "unfreeze", ...params });
	}

	expire(params: { account: string; expiresAt: string }, context: CallContext): Promise<BudgetAccount> {
		return this.#change(context, { type: "expire", ...params });
	}

	renew(params: { account: string }, context: CallContext): Promise<BudgetAccount> {
		return this.#change(context, { type: "renew", ...params });
	}

	limit(
		params: { account: string; analyst: string; epsilon?: number | undefined },
		context: CallContext,
	): Promise<BudgetAccount> {
		const { account, analyst, epsilon } = params;
		const limit = epsilon === undefined ? {} : { epsilonLimit: epsilon };
		return this.#change(context, { type: "analyst", account, analyst, ...limit });
	}

	async report(params: BudgetReportQuery): Promise<BudgetReport> {
		if (params.account !== undefined) this.#require(params.account);
		return reportOf(this.#options.budgets, this.#options.store, params);
	}

	/** A round may be settling while records are read: a difference counts if it is still there at a second look. */
	async audit(): Promise<BudgetAudit> {
		const first = await this.#auditOnce();
		if (first.differences.length === 0) return first;
		const second = await this.#auditOnce();
		const before = new Set(first.differences.map(({ message }) => message));
		return { ...second, differences: second.differences.filter(({ message }) => before.has(message)) };
	}

	async #auditOnce(): Promise<BudgetAudit> {
		const { store, self } = this.#options;
		const executed = await readExecuted(store, self);
		const entries: LedgerEntry[] = [];
		for await (const { body } of store.journal.replay(BUDGET_KIND))
			entries.push(parseEntry(decodeCanonical(body)));
		const { differences, overdrawn, ...counted } = auditLedger(entries, executed);
		return { ...counted, differences: differences.map((one) => ({ ...one })), overdrawn: [...overdrawn] };
	}

	/** An account with what only a tight accountant can say of it, and the decisions about it. */
	async #detail(id: string): Promise<Budget> {
		this.#require(id);
		const { budgets } = this.#options;
		const answers = await budgets.answers(budgets.ledger.periodQuestions(id));
		const planned =
			answers.length === 0 ? undefined : finite(Math.max(...answers.map(({ epsilon }) => epsilon)));
		return {
			...budgetView(budgets.ledger, id, budgets.ledger.history(id)),
			...(planned === undefined ? {} : { epsilonPlanned: planned }),
			changes: budgets.changesOf(id),
		};
	}

	async #change(
		context: CallContext,
		change: ChangeRecord & { readonly account: string },
	): Promise<BudgetAccount> {
		if (change.type !== "open") this.#require(change.account);
		const { budgets } = this.#options;
		await budgets.change(change, personOf(context));
		return accountView(budgets.ledger, change.account);
	}

	#require(account: string): void {
		if (this.#options.budgets.has(account)) return;
		throw new AlthingError(
			"budget.not_found",
			`there is no privacy budget named ${account}; \`althing budget tree\` lists them`,
			{ account },
		);
	}
}

/** Who a change is written down for: the token's name and id. */
function personOf({ caller }: CallContext): string {
	return `${caller.tokenName} (${caller.tokenId})`;
}
