/**
 * The privacy ledger on this node: whatever changes it is in the journal before anything that
 * depends on it leaves.
 */
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import type { ChangeRecord } from "../../src/privacy/budget/changes.ts";
import type { ChargeRequest } from "../../src/privacy/budget/charges.ts";
import { BudgetLedger } from "../../src/privacy/budget/ledger.ts";
import { type LedgerEntry, parseEntry } from "../../src/privacy/budget/records.ts";
import { type Stated, type TightQuestion, tightAnswer } from "../../src/privacy/budget/statement.ts";
import type { Journal } from "../store/index.ts";

export const BUDGET_KIND = "budget";
/** Who charges, refunds and finalises: no person. */
const NODE = "node";

export interface BudgetsOptions {
	readonly journal: Pick<Journal, "append">;
	/** Bodies of the journal's budget records, in order. */
	readonly records: readonly Uint8Array[];
	/** Limits of a data set's account when the data set is added. */
	readonly defaults: { readonly epsilon: number; readonly delta: number };
	/** Answers a tight accountant's question away from the event loop, in turns by who asks; default: here. */
	readonly tight?: (question: TightQuestion, asking: string) => Promise<Stated>;
	/** Wall clock; default the system's. */
	readonly nowMs?: () => number;
}

export class Budgets {
	readonly ledger: BudgetLedger;
	readonly #options: BudgetsOptions;
	/** Decisions about accounts, in order. */
	readonly #changes: LedgerEntry[] = [];

	/** @throws AlthingError `budget.bad_record`, `budget.conflict` for a journal that contradicts itself */
	constructor(options: BudgetsOptions) {
		this.#options = options;
		this.ledger = new BudgetLedger();
		for (const body of options.records) {
			const entry = parseEntry(decodeCanonical(body));
			this.ledger.apply(entry);
			this.#note(entry);
		}
	}

	has(account: string): boolean {
		return this.ledger.account(account) !== undefined;
	}

	/**
	 * Opens the account of a new data set with the configured limits; one that exists keeps its own.
	 * @throws AlthingError `budget.account_exists` where an account of another kind has the name
	 */
	async openAccount(dataset: string): Promise<void> {
		if (this.ledger.account(dataset)?.kind === "dataset") return;
		const { epsilon, delta } = this.#options.defaults;
		await this.change(
			{
				type: "open",
				account: dataset,
				kind: "dataset",
				epsilonLimit: epsilon,
				deltaLimit: delta,
				composition: "adaptive",
				children: "sequential",
			},
			NODE,
		);
	}

	/**
	 * A change of accounts, checked and durable.
	 * @param by who decided it, for the record
	 * @throws AlthingError as {@link BudgetLedger.prepareChange}, `store.journal_failed`
	 */
	async change(change: ChangeRecord, by: string): Promise<void> {
		await this.#write(this.ledger.prepareChange(change, this.#stamp(by)));
	}

	/**
	 * Charges a release, all of it or nothing, durably, before it leaves.
	 * @throws AlthingError as {@link BudgetLedger.prepareCharges}, `store.journal_failed`
	 */
	async charge(requests: readonly ChargeRequest[]): Promise<void> {
		for (const dataset of new Set(requests.map((request) => request.dataset))) await this.#renewDue(dataset);
		for (;;) {
			const [question] = this.ledger.tightQuestions(requests);
			if (question === undefined) break;
			this.ledger.learn(question, await this.#tight(question, requests[0]?.jobId ?? NODE));
		}
		const entries = this.ledger.prepareCharges(requests, this.#stamp(NODE));
		await Promise.all(entries.map((entry) => this.#write(entry)));
	}

	/**
	 * Charges what nothing can take back, such as an answer of this node alone: whatever happens
	 * from here on, it stays charged.
	 * @param id names what is released: charges are `id/partition`
	 * @throws AlthingError as {@link charge}
	 */
	async chargeForGood(
		dataset: string,
		id: string,
		analyst: string,
		costs: readonly Pick<ChargeRequest, "partition" | "event" | "extraDelta">[],
	): Promise<void> {
		const requests = costs.map(({ partition, event, extraDelta }) => ({
			dataset,
			partition,
			jobId: id,
			round: 0,
			attempt: 0,
			chargeId: `${id}/${partition}`,
			event,
			extraDelta,
			analyst,
		}));
		await this.charge(requests);
		for (const { chargeId } of requests) await this.finalise(chargeId);
	}

	/** Takes back an attempt of a charge that a Dead certificate proves released nothing. */
	async refund(chargeId: string, attempt: number): Promise<void> {
		const entry = this.ledger.refund(chargeId, attempt, this.#stamp(NODE));
		await this.#write(entry);
		this.ledger.apply(entry);
	}

	/** Its round is certified: the charge stays for good. */
	async finalise(chargeId: string): Promise<void> {
		const entry = this.ledger.finalise(chargeId, this.#stamp(NODE));
		await this.#write(entry);
		this.ledger.apply(entry);
	}

	/**
	 * Epsilon of one job alone at a delta, default the data set's limit on it: the larger of its two
	 * parts'. By the tight accountant, as the job's noise was sized: the Renyi bound of a job that
	 * keeps its promise to the letter may state a tenth more than it promises.
	 */
	async spentBy(
		dataset: string,
		jobId: string,
		promise: { readonly delta?: number; readonly filterEpsilon?: number } = {},
	): Promise<number> {
		const account = this.ledger.account(dataset);
		if (account === undefined) return 0;
		const delta = promise.delta ?? account.limits.delta;
		await this.settleJob(dataset, jobId, delta);
		const { train, heldOut } = this.ledger.jobSpent(dataset, jobId, delta, promise.filterEpsilon);
		return Math.max(train.epsilon, heldOut.epsilon);
	}

	/** Has the tight accountant work out what one job has spent, at a delta; charges made meanwhile included. */
	async settleJob(dataset: string, jobId: string, delta: number): Promise<void> {
		for (;;) {
			const questions = this.ledger.jobQuestions(dataset, jobId, delta);
			if (questions.length === 0) return;
			await this.answers(questions, jobId);
		}
	}

	/** The tight accountant's answers, which the ledger keeps. @param asking a job, or this node */
	async answers(questions: readonly TightQuestion[], asking = NODE): Promise<Stated[]> {
		const answers: Stated[] = [];
		for (const question of questions) {
			const answer = await this.#tight(question, asking);
			this.ledger.learn(question, answer);
			answers.push(answer);
		}
		return answers;
	}

	/** Decisions about an account, oldest first. */
	changesOf(account: string): { at: string; by: string; change: string }[] {
		return this.#changes.flatMap(({ at, by, record }) => {
			const { type, ...details } = record;
			if (!Object.values(details).includes(account)) return [];
			return [{ at, by, change: `${type} ${JSON.stringify(details)}` }];
		});
	}

	async #renewDue(dataset: string): Promise<void> {
		for (;;) {
			// Asked anew each time: another charge may have renewed an account in the meantime.
			const [account] = this.ledger.dueRenewals(dataset, this.#stamp(NODE).at);
			if (account === undefined) return;
			await this.change({ type: "renew", account }, NODE);
		}
	}

	async #tight(question: TightQuestion, asking: string): Promise<Stated> {
		const { tight } = this.#options;
		return tight === undefined ? tightAnswer(question) : tight(question, asking);
	}

	/** Entries reach the journal in the order in which they took effect. */
	async #write(entry: LedgerEntry): Promise<void> {
		this.#note(entry);
		await this.#options.journal.append(BUDGET_KIND, encodeCanonical(entry as never));
	}

	#note(entry: LedgerEntry): void {
		const { type } = entry.record;
		if (type !== "charge" && type !== "refund" && type !== "finalise") this.#changes.push(entry);
	}

	#stamp(by: string): { at: string; by: string } {
		return { at: new Date((this.#options.nowMs ?? Date.now)()).toISOString(), by };
	}
}
