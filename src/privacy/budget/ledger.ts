/**
 * The privacy budgets of an organization, rebuilt from a journal of records.
 *
 * Order of use: `prepareCharges` (refuses, or holds the charges at once), journal the entries
 * durably, and only then let what they pay for leave. A crash before the journal write releases
 * nothing; a crash after it wastes the charge. Nothing spends without a record.
 *
 * A charge is for the records of one data set and has to fit every account above it. What is
 * stated holds for each person whose records are, in each data set, a single one; accounts above
 * compose their children's events sequentially unless these are declared disjoint.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { type Account, isExpired, periodEndsAt } from "./account.ts";
import { Balances, type Cost, largest, questionsOf, type SupposedCharge } from "./balances.ts";
import { type ChangeContext, type ChangeRecord, carryOut, requireAllowed } from "./changes.ts";
import { ChargeBook, type ChargeRequest, type ChargeView, counts, viewOf } from "./charges.ts";
import {
	type ChargeRecord,
	entryOf,
	type LedgerEntry,
	type Partition,
	parseEntry,
	type Stamp,
} from "./records.ts";
import { DatasetSpending, PriceList } from "./spending.ts";
import { adaptiveEpsilon, plannedEpsilon, type Stated, type TightQuestion } from "./statement.ts";
import { AccountTree } from "./tree.ts";

const MAXIMUM_JOB_SUMS = 256;

/** (epsilon, delta)-DP holds for every person below an account, for the charges of its present period. */
export interface Spent extends Stated {
	/** What epsilon is stated at: the limit less what is delegated; 0 while nothing was charged. */
	readonly delta: number;
	/** Set aside for delegated accounts below, beside `epsilon` and `delta`. */
	readonly delegated: { readonly epsilon: number; readonly delta: number };
}

/** Durable budget accounting; holds no clock, file or randomness. */
export class BudgetLedger {
	readonly #tree = new AccountTree();
	readonly #prices = new PriceList();
	readonly #balances = new Balances(this.#tree, this.#prices);
	readonly #charges = new ChargeBook(this.#prices, (charge, change) => {
		this.#balances.count(charge, change);
		const { dataset, jobId, partition } = charge.record;
		this.#jobs.get(`${dataset}/${jobId}`)?.[change](partition, charge.priced);
	});
	/** Sums of the jobs last asked about, by data set and job. */
	readonly #jobs = new Map<string, DatasetSpending>();

	/** The ledger that journal entries describe. @throws as {@link BudgetLedger.apply} */
	static fromEntries(entries: Iterable<unknown>): BudgetLedger {
		const ledger = new BudgetLedger();
		for (const entry of entries) ledger.apply(entry);
		return ledger;
	}

	// --- changes ------------------------------------------------------------------------------

	/**
	 * Checks a change of accounts and carries it out; the entry is to be journalled at once.
	 * @throws AlthingError `budget.bad_record`, `budget.not_found`, `budget.account_exists`,
	 *   `budget.bad_place`, `budget.below_spent`, `budget.exceeded`, `budget.in_use`,
	 *   `budget.bad_transfer`, `budget.delegated`; nothing has changed then
	 */
	prepareChange(change: ChangeRecord, stamp: Stamp): LedgerEntry {
		const entry = entryOf(stamp, change);
		requireAllowed(change, this.#context);
		this.apply(entry);
		return entry;
	}

	/** Accounts above a data set, itself included, whose period has ended: to be renewed before a charge, the widest first. */
	dueRenewals(dataset: string, now: string): readonly string[] {
		return this.#tree
			.upwards(dataset)
			.filter((account) => (periodEndsAt(account) ?? Number.POSITIVE_INFINITY) <= Date.parse(now))
			.map(({ id }) => id)
			.reverse();
	}

	/**
	 * The entries to journal before the updates leave: for all of the requests, or none. They count
	 * from this call on, so that two charges under way cannot both take the last of the budget;
	 * one that never reaches the journal is forgotten with the process, having released nothing.
	 *
	 * The same (chargeId, attempt) again gives the same record and costs nothing more, as does a
	 * further attempt at releasing the same update.
	 * @throws AlthingError `budget.exceeded` (account, spent, asked, limit), `budget.frozen`,
	 *   `budget.expired`, `budget.not_found`, `budget.conflict` when the id stands for another
	 *   charge, `budget.dead_attempt`, `budget.bad_record`, `privacy.unsupported_event`
	 */
	prepareCharges(requests: readonly ChargeRequest[], stamp: Stamp): LedgerEntry[] {
		const undo: (() => void)[] = [];
		try {
			return requests.map((request) => this.#prepareCharge(request, stamp, undo));
		} catch (error) {
			for (const step of undo.reverse()) step();
			throw error;
		}
	}

	#prepareCharge(request: ChargeRequest, stamp: Stamp, undo: (() => void)[]): LedgerEntry {
		const entry = entryOf(stamp, { ...request, type: "charge" });
		const record = entry.record as ChargeRecord;
		const path = this.#tree.pathOf(record.dataset, record.jobId);
		requireOpen(path, stamp.at);
		const known = this.#charges.get(record.chargeId);
		if (known?.dead.has(record.attempt)) {
			throw new AlthingError(
				"budget.dead_attempt",
				`Attempt ${record.attempt} of round ${record.round} of job ${record.jobId} is proven dead and refunded; release it under a new attempt.`,
				{ chargeId: record.chargeId, attempt: record.attempt },
			);
		}
		const isLive = known?.live.has(record.attempt) ?? false;
		const isCounted = known !== undefined && counts(known);
		this.#charges.enter(record, stamp.at);
		if (!isLive) undo.push(() => this.#charges.retract(record));
		if (isCounted) return entry;
		this.#requireRoom(path, record);
		const epsilonAfter = this.spent(record.dataset).epsilon;
		this.#charges.require(record.chargeId).epsilonAfter = epsilonAfter;
		return { ...entry, epsilonAfter };
	}

	/**
	 * Questions whose answers would spare {@link prepareCharges} tens of milliseconds: planned
	 * accounts whose Renyi bound does not let the requests pass. Answer them with `learn` and ask
	 * again, for another charge may have come between.
	 */
	tightQuestions(requests: readonly SupposedCharge[]): TightQuestion[] {
		return this.#balances.supposing(requests, () => {
			const paths = requests.flatMap(({ dataset, jobId }) => this.#tree.pathOf(dataset, jobId));
			return this.#balances.openQuestions([...new Set(paths)]);
		});
	}

	/** @param answer a proven upper bound */
	learn(question: TightQuestion, answer: Stated): void {
		this.#balances.tight.learn(question, answer);
	}

	/**
	 * The entry that takes an attempt back because a Dead certificate proves it released
	 * nothing. The charge itself is returned when no attempt at it is left alive. It takes
	 * effect through `apply`, after it is durable.
	 * @throws AlthingError `budget.unknown_charge`, or `budget.final` after finalisation
	 */
	refund(chargeId: string, attempt: number, stamp: Stamp): LedgerEntry {
		const charge = this.#charges.require(chargeId);
		if (charge.final) {
			throw new AlthingError(
				"budget.final",
				`Charge ${chargeId} is final: its round was released and is never refunded.`,
				{ chargeId },
			);
		}
		if (!charge.live.has(attempt) && !charge.dead.has(attempt)) {
			throw new AlthingError(
				"budget.unknown_charge",
				`Attempt ${attempt} of charge ${chargeId} was never charged.`,
				{ chargeId, attempt },
			);
		}
		return entryOf(stamp, { type: "refund", chargeId, attempt, proof: "dead" });
	}

	/** The entry that makes a charge final: its round was certified. @throws AlthingError `budget.unknown_charge` */
	finalise(chargeId: string, stamp: Stamp): LedgerEntry {
		this.#charges.require(chargeId);
		return entryOf(stamp, { type: "finalise", chargeId });
	}

	/**
	 * Take a journalled entry into account; a charge, refund or finalisation again changes nothing.
	 * Limits are not enforced here: what the journal says was charged was charged.
	 * @throws AlthingError `budget.bad_record`, `budget.conflict`, `budget.not_found`,
	 *   `budget.unknown_charge` for an entry that contradicts the ledger
	 */
	apply(input: unknown): void {
		const { at, record, epsilonAfter } = parseEntry(input);
		switch (record.type) {
			case "account":
				carryOut(this.#modern(record), at, this.#context);
				return;
			case "charge":
				this.#charges.enter(record, at, epsilonAfter);
				return;
			case "refund":
				this.#charges.bury(record.chargeId, record.attempt);
				return;
			case "finalise":
				this.#charges.finalise(record.chargeId);
				return;
			default:
				carryOut(record, at, this.#context);
		}
	}

	// --- what is asked of it ------------------------------------------------------------------

	/** What the account has spent in its present period. @throws AlthingError `budget.not_found` */
	spent(id: string): Spent {
		const account = this.#tree.require(id);
		const left = this.#tree.undelegated(account);
		const { epsilon, method } = this.#balances.state(account, left);
		const delegated = {
			epsilon: account.limits.epsilon - left.epsilon,
			delta: account.limits.delta - left.delta,
		};
		return { epsilon, delta: epsilon === 0 ? 0 : left.delta, method, delegated };
	}

	/** Limit less what is spent and delegated, never negative. Epsilon does not compose by addition: a plan is checked with `affords`. */
	remaining(id: string): { readonly epsilon: number; readonly delta: number } {
		const account = this.#tree.require(id);
		const left = this.#tree.undelegated(account);
		const slack = largest(account.period.window.branches().map(({ slackDelta }) => slackDelta));
		return {
			epsilon: Math.max(0, left.epsilon - this.#balances.state(account, left).epsilon),
			delta: Math.max(0, left.delta - slack),
		};
	}

	/**
	 * Whether a whole plan would fit beside what is spent, in the data set's account and in every
	 * one above: for accepting a job before its first round, and for what-if questions. Charges nothing.
	 * @throws AlthingError `budget.not_found`, `privacy.unsupported_event`
	 */
	affords(dataset: string, costs: readonly Cost[], who: { jobId?: string; analyst?: string } = {}): boolean {
		const { jobId = "" } = who;
		const analyst = who.analyst === undefined ? {} : { analyst: who.analyst };
		const supposed = costs.map((cost) => ({ ...cost, ...analyst, dataset, jobId }));
		return this.#balances.supposing(supposed, () =>
			this.#tree
				.pathOf(dataset, jobId)
				.every((account) => this.#balances.exceeded(account, { dataset, ...analyst }) === undefined),
		);
	}

	/** All accounts by name. */
	accounts(): readonly Account[] {
		return this.#tree.all();
	}

	account(id: string): Account | undefined {
		return this.#tree.get(id);
	}

	/** Accounts whose limits are exceeded, as can come of a limit that did not exist when it was charged. */
	overdrawn(): readonly string[] {
		return this.#tree
			.all()
			.filter((account) => this.#balances.exceeded(account) !== undefined)
			.map(({ id }) => id);
	}

	/** Epsilon of all that was ever charged below, by the filter: what no renewal resets. @throws AlthingError `budget.not_found` */
	lifetimeEpsilon(id: string): number {
		return this.#balances.lifetimeEpsilon(this.#tree.require(id));
	}

	/** What an analyst has spent of a limit of their own; 0 without one. @throws AlthingError `budget.not_found` */
	analystEpsilon(id: string, analyst: string): number {
		return this.#balances.analystEpsilon(this.#tree.require(id), analyst);
	}

	/**
	 * What the period of a data set or job has cost if its parameters were fixed in advance:
	 * questions for the tight accountant, one for each partition; none for other accounts.
	 * @throws AlthingError `budget.not_found`
	 */
	periodQuestions(id: string): readonly TightQuestion[] {
		const account = this.#tree.require(id);
		return this.#balances.questions(account, account.limits.delta);
	}

	/** Charges in the order in which they were first made. @param id of a data set, a job or any account above; all without it */
	history(id?: string): readonly ChargeView[] {
		const chosen = [...this.#charges.all()].filter(
			({ record }) =>
				id === undefined ||
				record.jobId === id ||
				this.#tree.upwards(record.dataset).some((account) => account.id === id),
		);
		return chosen.map(viewOf);
	}

	/** Charges of one round of a job. */
	chargesOf(jobId: string, round: number): readonly ChargeView[] {
		return this.#charges.ofRound(jobId, round).map(viewOf);
	}

	/**
	 * Epsilon of one job alone, over all periods, for the records of each part of one data set. A
	 * signed job's parameters are fixed before its data is touched, so planned composition is right
	 * for it. Answers to {@link BudgetLedger.jobQuestions} make it tight.
	 * @param filterEpsilon given where the updates' noise was chosen from what earlier rounds released:
	 *   the epsilon of the filter that training records are stated by
	 */
	jobSpent(
		dataset: string,
		jobId: string,
		delta: number,
		filterEpsilon?: number,
	): Readonly<Record<Partition, Stated>> {
		const spending = this.#spendingOfJob(dataset, jobId);
		const questions = questionsOf(spending, delta);
		const [train, heldOut] = spending.parts.map((loss, i) =>
			this.#balances.planned(plannedEpsilon(loss, delta), questions[i]),
		);
		const nothing = { epsilon: 0, method: "rdp" };
		if (filterEpsilon === undefined) return { train: train ?? nothing, heldOut: heldOut ?? nothing };
		const loss = spending.parts[0];
		const chosen = loss === undefined ? 0 : adaptiveEpsilon(loss, { epsilon: filterEpsilon, delta });
		return { train: { epsilon: chosen, method: "rdp-filter" }, heldOut: heldOut ?? nothing };
	}

	/** What a tight accountant is asked for {@link BudgetLedger.jobSpent}; answers are given by `learn`. */
	jobQuestions(dataset: string, jobId: string, delta: number): readonly TightQuestion[] {
		return questionsOf(this.#spendingOfJob(dataset, jobId), delta).filter(
			(question) => question.delta > 0 && this.#balances.tight.known(question) === undefined,
		);
	}

	// --- inside -------------------------------------------------------------------------------

	/** The record of a time before accounts formed a tree, as it would be written today. */
	#modern(record: { readonly dataset: string; epsilonLimit: number; deltaLimit: number }): ChangeRecord {
		const { dataset: account, epsilonLimit, deltaLimit } = record;
		if (this.#tree.get(account) !== undefined) return { type: "limits", account, epsilonLimit, deltaLimit };
		return {
			type: "open",
			account,
			kind: "dataset",
			epsilonLimit,
			deltaLimit,
			composition: "adaptive",
			children: "sequential",
		};
	}

	get #context(): ChangeContext {
		return {
			tree: this.#tree,
			epsilonUnder: (account, limits) => this.#balances.state(account, limits).epsilon,
			isCharged: (account, during) => this.#balances.isCharged(account, during),
			nextCharge: this.#charges.nextPlace,
			recount: (account) => this.#balances.recount(account, this.#charges.all()),
		};
	}

	#requireRoom(path: readonly Account[], record: ChargeRecord): void {
		for (const account of path) {
			const excess = this.#balances.exceeded(account, record);
			if (excess === undefined) continue;
			const { limit, epsilon: after, analyst } = excess;
			const spent = this.#balances.without(this.#charges.require(record.chargeId), () =>
				analyst === undefined ? this.spent(account.id).epsilon : this.analystEpsilon(account.id, analyst),
			);
			const asked = after - spent;
			// No finite epsilon: the deltas beside the curves have used up what is kept for them.
			const reason = Number.isFinite(asked)
				? `asked ${asked.toFixed(4)} more, limit ${limit.epsilon} at delta ${limit.delta}`
				: `limit ${limit.epsilon}, and what mechanisms charge to delta directly no longer fits delta ${limit.delta}`;
			const whose =
				analyst === undefined ? "The privacy budget" : `The limit of ${analyst} on the privacy budget`;
			throw new AlthingError(
				"budget.exceeded",
				`${whose} of ${account.kind === "dataset" ? "data set" : account.kind} "${account.id}" does not allow round ${record.round} of job ${record.jobId}: spent epsilon ${spent.toFixed(4)}, ${reason}. Nothing was released. Raise the limit or end the job.`,
				{
					account: account.id,
					dataset: record.dataset,
					partition: record.partition,
					jobId: record.jobId,
					round: record.round,
					spent,
					...(Number.isFinite(asked) ? { asked } : {}),
					limit: limit.epsilon,
					delta: limit.delta,
					...(analyst === undefined ? {} : { analyst }),
				},
			);
		}
	}

	#spendingOfJob(dataset: string, jobId: string): DatasetSpending {
		const key = `${dataset}/${jobId}`;
		const known = this.#jobs.get(key);
		if (known !== undefined) return known;
		const spending = new DatasetSpending();
		if (this.#jobs.size >= MAXIMUM_JOB_SUMS) this.#jobs.delete(this.#jobs.keys().next().value ?? "");
		this.#jobs.set(key, spending);
		for (const charge of this.#charges.ofJob(jobId)) {
			if (counts(charge) && charge.record.dataset === dataset)
				spending.add(charge.record.partition, charge.priced);
		}
		return spending;
	}
}

function requireOpen(path: readonly Account[], now: string): void {
	for (const account of path) {
		if (account.frozen !== undefined) {
			throw new AlthingError(
				"budget.frozen",
				`The privacy budget "${account.id}" is frozen${account.frozen === "" ? "" : `: ${account.frozen}`}. Nothing was released.`,
				{ account: account.id },
			);
		}
		if (isExpired(account, now)) {
			throw new AlthingError(
				"budget.expired",
				`The privacy budget "${account.id}" expired at ${account.expiresAt}. Nothing was released.`,
				{ account: account.id, expiresAt: account.expiresAt },
			);
		}
	}
}
