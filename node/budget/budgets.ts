/** The privacy ledger on this node: journalled before anything leaves, shown to the privacy officer. */
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { BudgetLedger, type ChargeRequest } from "../../src/privacy/budget/ledger.ts";
import type { LedgerRecord } from "../../src/privacy/budget/records.ts";
import type { Budget, BudgetLimits, BudgetService } from "../rpc/services.ts";
import type { Store } from "../store/index.ts";

export const BUDGET_KIND = "budget";

interface Entry {
	readonly at: string;
	readonly record: LedgerRecord;
	readonly epsilonAfter: number | undefined;
}

export class Budgets implements BudgetService {
	readonly ledger: BudgetLedger;
	readonly #store: Store;
	readonly #defaults: { readonly epsilon: number; readonly delta: number };
	readonly #entries: Entry[] = [];

	/** @param records bodies of the journal's budget records, in order */
	constructor(store: Store, records: readonly Uint8Array[], defaults: { epsilon: number; delta: number }) {
		this.#store = store;
		this.#defaults = defaults;
		this.ledger = new BudgetLedger();
		for (const body of records) {
			const { at, record, epsilonAfter } = decodeCanonical(body) as unknown as Entry;
			this.ledger.apply(record);
			this.#entries.push({ at, record, epsilonAfter });
		}
	}

	has(dataset: string): boolean {
		return this.ledger.accounts().some((account) => account.dataset === dataset);
	}

	/** Opens the account of a new data set with the configured limits; an account that exists keeps its own. */
	async openAccount(dataset: string): Promise<void> {
		if (this.has(dataset)) return;
		await this.#commit(
			this.ledger.prepareAccount(dataset, {
				epsilonLimit: this.#defaults.epsilon,
				deltaLimit: this.#defaults.delta,
			}),
		);
	}

	/**
	 * Charges both partitions of a round, durably, before its contribution leaves.
	 * @throws AlthingError `budget.exceeded`, `budget.no_account`, `store.journal_failed`
	 */
	async charge(requests: readonly ChargeRequest[]): Promise<void> {
		for (const request of requests) {
			const record = this.ledger.prepareCharge(request);
			await this.#commit(record);
		}
	}

	/** Takes back an attempt that a Dead certificate proves released nothing. */
	async refund(chargeId: string, attempt: number): Promise<void> {
		try {
			await this.#commit(this.ledger.refund(chargeId, attempt, "dead"));
		} catch (error) {
			// Charged by an earlier run of this node or not at all: wasted budget is safe.
			if (!(error instanceof AlthingError) || !error.code.startsWith("budget.")) throw error;
		}
	}

	async finalise(chargeId: string): Promise<void> {
		await this.#commit(this.ledger.finalise(chargeId));
	}

	/** Spent by one job of a data set, at the account's delta. */
	spentBy(dataset: string, jobId: string): number {
		return this.has(dataset) ? (this.ledger.spent(dataset).perJob.get(jobId) ?? 0) : 0;
	}

	async show(params: { dataset?: string | undefined }): Promise<Budget[]> {
		const accounts = this.ledger
			.accounts()
			.filter(({ dataset }) => params.dataset === undefined || dataset === params.dataset);
		if (params.dataset !== undefined && accounts.length === 0) throw noBudget(params.dataset);
		return accounts.map(({ dataset }) => this.#view(dataset));
	}

	async set(params: BudgetLimits): Promise<Budget> {
		const { dataset, epsilon, delta } = params;
		if (!this.has(dataset)) throw noBudget(dataset);
		const spent = this.ledger.spent(dataset).epsilon;
		if (epsilon < spent) {
			throw new AlthingError(
				"budget.below_spent",
				`data set ${dataset} has spent epsilon ${spent.toFixed(4)}; the limit cannot be set below it`,
				{ dataset, spent, asked: epsilon },
			);
		}
		await this.#commit(this.ledger.prepareAccount(dataset, { epsilonLimit: epsilon, deltaLimit: delta }));
		return this.#view(dataset);
	}

	async #commit(record: LedgerRecord): Promise<void> {
		const epsilonAfter = record.type === "charge" ? this.ledger.spent(record.dataset).epsilon : undefined;
		const entry = { at: new Date().toISOString(), record, epsilonAfter };
		await this.#store.journal.append(BUDGET_KIND, encodeCanonical(entry as never));
		this.ledger.apply(record);
		this.#entries.push(entry);
	}

	#view(dataset: string): Budget {
		const account = this.ledger.accounts().find((known) => known.dataset === dataset);
		if (account === undefined) throw noBudget(dataset);
		return {
			dataset,
			epsilon: account.epsilonLimit,
			delta: account.deltaLimit,
			epsilonSpent: this.ledger.spent(dataset).epsilon,
			epsilonRemaining: this.ledger.remaining(dataset).epsilon,
			charges: this.#entries.flatMap(({ at, record, epsilonAfter }) =>
				record.type === "charge" && record.dataset === dataset
					? [
							{
								at,
								job: record.jobId,
								round: record.round,
								mechanism: `${record.event.kind} (${record.partition})`,
								epsilonAfter: epsilonAfter ?? 0,
							},
						]
					: [],
			),
		};
	}
}

function noBudget(dataset: string): AlthingError {
	return new AlthingError("budget.not_found", `there is no data set named ${dataset} with a budget`, {
		dataset,
	});
}
