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
import type { PrivacyEvent } from "../accounting/events.ts";
import { type Account, isExpired, type Limits, periodEndsAt } from "./account.ts";
import { type ChangeContext, type ChangeRecord, carryOut, requireAllowed } from "./changes.ts";
import {
	type ChargeRecord,
	entryOf,
	type LedgerEntry,
	type Partition,
	parseEntry,
	type Stamp,
} from "./records.ts";
import { DatasetSpending, eventKey, type PricedEvent, PriceList } from "./spending.ts";
import { adaptiveEpsilon, plannedEpsilon, TightBounds, type TightQuestion } from "./statement.ts";
import { AccountTree } from "./tree.ts";
import { Window } from "./window.ts";

export interface ChargeRequest {
	readonly dataset: string;
	readonly partition: Partition;
	readonly jobId: string;
	/** Integer >= 0. */
	readonly round: number;
	/** Names the noised update itself: a retry that sends the very same update has the same id and is one charge. */
	readonly chargeId: string;
	/** The attempt at releasing it, integer >= 0. */
	readonly attempt: number;
	readonly event: PrivacyEvent;
	/** Delta beyond the accountant's (noiseShares.slackDelta), in [0, 1). */
	readonly extraDelta: number;
	/** On whose behalf: the peer that submitted the job, or the name of the token that asked. */
	readonly analyst?: string;
}

/** What a plan would cost the records of one partition. */
export type Cost = Pick<ChargeRequest, "partition" | "event" | "extraDelta">;

export interface Spent {
	/** (epsilon, delta)-DP holds for every person below, for the charges of the present period. */
	readonly epsilon: number;
	/** What epsilon is stated at: the limit less what is delegated; 0 while nothing was charged. */
	readonly delta: number;
	/** How epsilon is proven: `rdp-filter`, `rdp` or `pld`. */
	readonly method: string;
	/** Set aside for delegated accounts below, beside `epsilon` and `delta`. */
	readonly delegated: { readonly epsilon: number; readonly delta: number };
}

/** `released`: final. `refunded`: proven to have released nothing. `held`: counts, and may or may not have been released. */
export type ChargeState = "released" | "refunded" | "held";

/** One charge as the ledger knows it. */
export interface ChargeView extends ChargeRequest {
	readonly at: string;
	readonly state: ChargeState;
	/** Attempts charged that no Dead certificate has taken back. */
	readonly liveAttempts: readonly number[];
	readonly deadAttempts: readonly number[];
	/** The data set's epsilon when the charge was made, as stated then. */
	readonly epsilonAfter: number | undefined;
}

interface Charge {
	readonly record: ChargeRecord;
	readonly priced: PricedEvent;
	readonly at: string;
	readonly epsilonAfter: number | undefined;
	readonly live: Set<number>;
	readonly dead: Set<number>;
	final: boolean;
	/** Its place among the charges, given anew when it counts again after a refund. */
	place: number;
}

/** Durable budget accounting; holds no clock, file or randomness. */
export class BudgetLedger {
	readonly #tree = new AccountTree();
	readonly #charges = new Map<string, Charge>();
	/** Charge ids by job and round, in the order of the rounds' first charges. */
	readonly #byRound = new Map<string, Map<number, string[]>>();
	readonly #prices = new PriceList();
	readonly #tight = new TightBounds();
	#nextPlace = 0;

	/** The ledger that journal entries describe. @throws as {@link BudgetLedger.apply} */
	static fromEntries(entries: Iterable<unknown>): BudgetLedger {
		const ledger = new BudgetLedger();
		for (const entry of entries) ledger.apply(entry);
		return ledger;
	}

	// --- changes by the owner -----------------------------------------------------------------

	/**
	 * Checks a change of accounts and carries it out; the entry is to be journalled at once.
	 * @throws AlthingError `budget.bad_record`, `budget.no_account`, `budget.account_exists`,
	 *   `budget.bad_place`, `budget.below_spent`, `budget.exceeded`, `budget.in_use`,
	 *   `budget.bad_transfer`, `budget.delegated`; nothing has changed then
	 */
	prepareChange(change: ChangeRecord, stamp: Stamp): LedgerEntry {
		const entry = entryOf(stamp, change);
		requireAllowed(entry.record as ChangeRecord, this.#context);
		this.apply(entry);
		return entry;
	}

	/** Renewals that are due before a charge to the data set: to be prepared, one by one, and journalled. */
	dueRenewals(dataset: string, now: string): readonly string[] {
		return this.#tree
			.upwards(dataset)
			.filter((account) => (periodEndsAt(account) ?? Number.POSITIVE_INFINITY) <= Date.parse(now))
			.map(({ id }) => id)
			.reverse();
	}

	// --- charges ------------------------------------------------------------------------------

	/**
	 * The entries to journal before the updates leave: all of the requests, or none. They count
	 * from this call on, so that two charges under way cannot both take the last of the budget;
	 * one that never reaches the journal is forgotten with the process, having released nothing.
	 *
	 * The same (chargeId, attempt) again gives the same record and costs nothing more, as does a
	 * further attempt at releasing the same update.
	 * @throws AlthingError `budget.exceeded` (account, spent, asked, limit), `budget.frozen`,
	 *   `budget.expired`, `budget.no_account`, `budget.conflict` when the id stands for another
	 *   charge, `budget.dead_attempt`, `budget.bad_record`
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
		if (known !== undefined) {
			requireSame(known.record, record);
			if (known.dead.has(record.attempt)) {
				throw new AlthingError(
					"budget.dead_attempt",
					`Attempt ${record.attempt} of round ${record.round} of job ${record.jobId} is proven dead and refunded; release it under a new attempt.`,
					{ chargeId: record.chargeId, attempt: record.attempt },
				);
			}
			if (known.live.has(record.attempt)) return entry;
		}
		const counted = known !== undefined && counts(known);
		this.#enter(record, stamp.at, undefined);
		undo.push(() => this.#retract(record));
		if (counted) return entry;
		this.#requireRoom(path, record);
		const { epsilon } = this.spent(record.dataset);
		return { ...entry, epsilonAfter: epsilon };
	}

	/**
	 * Questions whose answers would spare {@link prepareCharges} tens of milliseconds: planned
	 * accounts whose Renyi bound does not let the requests pass. Answer them with `learn` and ask
	 * again, for another charge may have come between.
	 */
	tightQuestions(
		requests: readonly Omit<ChargeRequest, "chargeId" | "attempt" | "round">[],
	): TightQuestion[] {
		return this.#tentatively(requests, () =>
			[...new Set(requests.map(({ dataset, jobId }) => `${dataset}\u0000${jobId}`))].flatMap((pair) => {
				const [dataset = "", jobId = ""] = pair.split("\u0000");
				return this.#tree
					.pathOf(dataset, jobId)
					.filter((account) => account.composition === "planned")
					.flatMap((account) => this.#openQuestions(account));
			}),
		);
	}

	/** @param epsilon a proven upper bound that answers the question */
	learn(question: TightQuestion, epsilon: number): void {
		this.#tight.learn(question, epsilon);
	}

	/**
	 * The record that takes an attempt back because a Dead certificate proves it released
	 * nothing. The charge itself is returned when no attempt at it is left alive. It takes
	 * effect through `apply`, after it is durable.
	 * @throws AlthingError `budget.unknown_charge`, or `budget.final` after finalisation
	 */
	refund(chargeId: string, attempt: number, stamp: Stamp): LedgerEntry {
		const charge = this.#charge(chargeId);
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

	/** The record that makes a charge final: its round was certified. @throws AlthingError `budget.unknown_charge` */
	finalise(chargeId: string, stamp: Stamp): LedgerEntry {
		this.#charge(chargeId);
		return entryOf(stamp, { type: "finalise", chargeId });
	}

	/**
	 * Take a journalled entry into account; a charge, refund or finalisation again changes nothing.
	 * Limits are not enforced here: what the journal says was charged was charged.
	 * @throws AlthingError `budget.bad_record`, `budget.conflict`, `budget.no_account` for an entry that contradicts the ledger
	 */
	apply(input: unknown): void {
		const { at, record, epsilonAfter } = parseEntry(input);
		switch (record.type) {
			case "account":
				this.#applyAccount(record, at);
				return;
			case "charge": {
				const known = this.#charges.get(record.chargeId);
				if (known !== undefined) requireSame(known.record, record);
				this.#enter(record, at, epsilonAfter);
				return;
			}
			case "refund": {
				const charge = this.#charge(record.chargeId);
				if (charge.final) return;
				const counted = counts(charge);
				charge.live.delete(record.attempt);
				charge.dead.add(record.attempt);
				if (counted && !counts(charge)) this.#count(charge, "remove");
				return;
			}
			case "finalise": {
				const charge = this.#charge(record.chargeId);
				const counted = counts(charge);
				charge.final = true;
				// A certificate for a round called dead is a contradiction: the ledger errs towards spent.
				if (!counted) this.#recharge(charge);
				return;
			}
			default:
				carryOut(record, at, this.#context);
		}
	}

	// --- what is asked of it ------------------------------------------------------------------

	/** What the account has spent in its present period. @throws AlthingError `budget.no_account` */
	spent(id: string): Spent {
		const account = this.#tree.require(id);
		const left = this.#tree.undelegated(account);
		const { epsilon, method } = this.#state(account, left);
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
		const slack = Math.max(0, ...account.period.window.branches().map(({ slackDelta }) => slackDelta));
		return {
			epsilon: Math.max(0, left.epsilon - this.#state(account, left).epsilon),
			delta: Math.max(0, left.delta - slack),
		};
	}

	/**
	 * Whether a whole plan would fit beside what is spent, in the data set's account and in every
	 * one above: for accepting a job before its first round, and for what-if questions. Charges nothing.
	 * @throws AlthingError `budget.no_account`
	 */
	affords(dataset: string, costs: readonly Cost[], who: { jobId?: string; analyst?: string } = {}): boolean {
		const jobId = who.jobId ?? "";
		const analyst = who.analyst === undefined ? {} : { analyst: who.analyst };
		const requests = costs.map((cost) => ({ ...cost, ...analyst, dataset, jobId }));
		return this.#tentatively(requests, () =>
			this.#tree
				.pathOf(dataset, jobId)
				.every((account) => this.#exceeded(account, dataset, who.analyst) === undefined),
		);
	}

	/** Epsilon that the account would state, in its present period, with costs beside what is spent. Charges nothing. */
	epsilonWith(dataset: string, costs: readonly Cost[]): number {
		const requests = costs.map((cost) => ({ ...cost, dataset, jobId: "" }));
		return this.#tentatively(requests, () => this.spent(dataset).epsilon);
	}

	/** All accounts by name. */
	accounts(): readonly Account[] {
		return this.#tree.all();
	}

	account(id: string): Account | undefined {
		return this.#tree.get(id);
	}

	/** Names of the accounts directly below: jobs' below a data set. */
	childrenOf(id: string): readonly string[] {
		return this.#tree.jobsOf(id);
	}

	/** Epsilon of all that was ever charged below, at the account's delta: what no renewal resets. */
	lifetimeEpsilon(id: string): number {
		const account = this.#tree.require(id);
		const limits = { epsilon: account.period.filterEpsilon, delta: account.limits.delta };
		return largest(account.lifetime.branches().map((loss) => adaptiveEpsilon(loss, limits)));
	}

	/** What an analyst with a limit has spent of it. */
	analystEpsilon(account: Account, analyst: string): number {
		const limited = account.analysts.get(analyst);
		if (limited === undefined) return 0;
		const limits = { epsilon: limited.epsilonLimit, delta: account.limits.delta };
		return largest(limited.window.branches().map((loss) => adaptiveEpsilon(loss, limits)));
	}

	/**
	 * One event for each branch of a data set's or job's period (train, held out): what a tight
	 * accountant is asked about, with the delta left to it.
	 */
	tightQuestionsOf(id: string): readonly TightQuestion[] {
		const account = this.#tree.require(id);
		return this.#questions(account, this.#tree.undelegated(account).delta);
	}

	/** Charges in the order in which they were first made. @param id of a data set, a job or any account above; all without it */
	history(id?: string): readonly ChargeView[] {
		const all = [...this.#charges.values()];
		const chosen = id === undefined ? all : all.filter((charge) => this.#isBelow(charge.record, id));
		return chosen.map(viewOf);
	}

	/** Charges of one round of a job. */
	chargesOf(jobId: string, round: number): readonly ChargeView[] {
		const ids = this.#byRound.get(jobId)?.get(round) ?? [];
		return ids.map((id) => viewOf(this.#charge(id)));
	}

	/**
	 * Epsilon of one job alone, over all periods, for the records of one data set. A signed job's
	 * parameters are fixed before its data is touched, so planned composition is right for it.
	 * Answers learnt from {@link BudgetLedger.jobQuestions} make it tight.
	 */
	jobEpsilon(dataset: string, jobId: string, delta: number): number {
		const spending = this.#spendingOfJob(dataset, jobId);
		const questions = questionsOf(spending, delta);
		return largest(
			spending.parts.map((loss, i) =>
				Math.min(plannedEpsilon(loss, delta), this.#tight.known(questions[i]!) ?? Number.POSITIVE_INFINITY),
			),
		);
	}

	/** What a tight accountant is asked for {@link BudgetLedger.jobEpsilon}; answers are given by `learn`. */
	jobQuestions(dataset: string, jobId: string, delta: number): readonly TightQuestion[] {
		return questionsOf(this.#spendingOfJob(dataset, jobId), delta).filter(
			(question) => question.delta > 0 && this.#tight.known(question) === undefined,
		);
	}

	// --- inside -------------------------------------------------------------------------------

	#applyAccount(
		record: { readonly dataset: string; readonly epsilonLimit: number; readonly deltaLimit: number },
		at: string,
	): void {
		const { dataset: account, epsilonLimit, deltaLimit } = record;
		const change: ChangeRecord =
			this.#tree.get(account) === undefined
				? {
						type: "open",
						account,
						kind: "dataset",
						epsilonLimit,
						deltaLimit,
						composition: "adaptive",
						children: "sequential",
					}
				: { type: "limits", account, epsilonLimit, deltaLimit };
		carryOut(change, at, this.#context);
	}

	/** Books an attempt at a charge, known or new. */
	#enter(record: ChargeRecord, at: string, epsilonAfter: number | undefined): void {
		const known = this.#charges.get(record.chargeId);
		if (known !== undefined) {
			// A dead attempt stays dead: a replayed journal must not charge it again.
			if (known.dead.has(record.attempt)) return;
			const counted = counts(known);
			known.live.add(record.attempt);
			if (!counted) this.#recharge(known);
			return;
		}
		const priced = this.#prices.price(record.event, record.extraDelta);
		const charge: Charge = {
			// Equal events are one object: a long history is mostly repetition.
			record: { ...record, event: priced.event },
			priced,
			at,
			epsilonAfter,
			live: new Set([record.attempt]),
			dead: new Set(),
			final: false,
			place: this.#nextPlace++,
		};
		this.#charges.set(record.chargeId, charge);
		const rounds = this.#byRound.get(record.jobId) ?? new Map<number, string[]>();
		this.#byRound.set(record.jobId, rounds);
		rounds.set(record.round, [...(rounds.get(record.round) ?? []), record.chargeId]);
		this.#count(charge, "add");
	}

	/** Undoes an attempt that was entered and not journalled. */
	#retract(record: ChargeRecord): void {
		const charge = this.#charge(record.chargeId);
		const counted = counts(charge);
		charge.live.delete(record.attempt);
		if (counted && !counts(charge)) this.#count(charge, "remove");
		if (charge.live.size > 0 || charge.dead.size > 0 || charge.final) return;
		this.#charges.delete(record.chargeId);
		const rounds = this.#byRound.get(record.jobId);
		rounds?.set(
			record.round,
			(rounds.get(record.round) ?? []).filter((id) => id !== record.chargeId),
		);
	}

	/** A charge that counted no more counts again: in the period in which that happens. */
	#recharge(charge: Charge): void {
		charge.place = this.#nextPlace++;
		this.#count(charge, "add");
	}

	#count(charge: Charge, change: "add" | "remove"): void {
		const { record, priced, place } = charge;
		const path = this.#tree.pathOf(record.dataset, record.jobId);
		for (const { window } of this.#windowsOf(path, record, place))
			window[change](record.dataset, record.partition, priced);
	}

	/** Every sum that a charge belongs to, once. */
	*#windowsOf(
		path: readonly Account[],
		record: Pick<ChargeRecord, "dataset" | "analyst">,
		place: number,
	): Generator<{ readonly account: Account; readonly window: Window }> {
		for (const [i, account] of path.entries()) {
			const { period, lifetime } = account;
			const isCurrent = place >= period.firstCharge;
			if (lifetime !== period.window) yield { account, window: lifetime };
			// What is below a delegated account counts against what was set aside for it.
			if (isCurrent && !this.#isSetAside(path, i)) yield { account, window: period.window };
			const limited = record.analyst === undefined ? undefined : account.analysts.get(record.analyst);
			if (isCurrent && limited !== undefined) yield { account, window: limited.window };
		}
	}

	#isSetAside(path: readonly Account[], i: number): boolean {
		const below = path[i - 1];
		return below?.delegated !== undefined && below.parent === path[i]?.id;
	}

	/** Makes an account's sums again from the charges. */
	#recount(account: Account): void {
		const top = account.kind === "job" ? (account.parent ?? account.id) : account.id;
		const fresh = () => new Window(top, this.#tree);
		account.period.window = fresh();
		const isWhole = account.period.number === 0 && this.#tree.delegatedBelow(account.id).length === 0;
		account.lifetime = isWhole ? account.period.window : fresh();
		for (const [analyst, { epsilonLimit }] of account.analysts)
			account.analysts.set(analyst, { epsilonLimit, window: fresh() });
		for (const charge of this.#charges.values()) {
			if (!counts(charge)) continue;
			const { record, priced, place } = charge;
			const path = this.#tree.pathOf(record.dataset, record.jobId);
			if (!path.includes(account)) continue;
			for (const { account: owner, window } of this.#windowsOf(path, record, place))
				if (owner === account) window.add(record.dataset, record.partition, priced);
		}
	}

	get #context(): ChangeContext {
		return {
			tree: this.#tree,
			epsilonUnder: (account, limits) => this.#state(account, limits).epsilon,
			isCharged: (account, during) =>
				(during === "period" ? account.period.window : account.lifetime)
					.branches()
					.some(({ curve }) => curve.some((value) => value > 0)),
			nextCharge: this.#nextPlace,
			recount: (account) => this.#recount(account),
		};
	}

	/** What the period's losses come to under limits. @param through only what a charge to this data set can have changed */
	#state(account: Account, limits: Limits, through?: string): { epsilon: number; method: string } {
		const losses = account.period.window.branches(through);
		if (account.composition === "adaptive") {
			const fitted = { epsilon: account.period.filterEpsilon, delta: limits.delta };
			return { epsilon: largest(losses.map((loss) => adaptiveEpsilon(loss, fitted))), method: "rdp-filter" };
		}
		const questions = this.#questions(account, limits.delta);
		const bounds = losses.map((loss, i) => {
			const rdp = plannedEpsilon(loss, limits.delta);
			const question = questions[i];
			const tight = question === undefined ? undefined : this.#tight.known(question);
			return tight !== undefined && tight < rdp
				? { epsilon: tight, method: "pld" }
				: { epsilon: rdp, method: "rdp" };
		});
		return bounds.reduce((a, b) => (b.epsilon > a.epsilon ? b : a), { epsilon: 0, method: "rdp" });
	}

	/** For each partition of a planned account the question that a tight accountant would answer. */
	#questions(account: Account, delta: number): readonly TightQuestion[] {
		const { window } = account.period;
		const dataset = account.kind === "job" ? (account.parent ?? "") : account.id;
		const spending = window.spendingOf(dataset);
		return spending === undefined ? [] : questionsOf(spending, delta);
	}

	/** Questions of a planned account that stand between its Renyi bound and its limit. */
	#openQuestions(account: Account): TightQuestion[] {
		const { epsilon, delta } = account.limits;
		const losses = account.period.window.branches();
		return this.#questions(account, delta).filter((question, i) => {
			const loss = losses[i];
			if (loss === undefined || question.delta <= 0 || plannedEpsilon(loss, delta) <= epsilon) return false;
			return this.#tight.known(question) === undefined;
		});
	}

	#requireRoom(path: readonly Account[], record: ChargeRecord): void {
		for (const account of path) {
			const excess = this.#exceeded(account, record.dataset, record.analyst);
			if (excess === undefined) continue;
			const { limit, after, analyst } = excess;
			const before = this.#tentativelyWithout(record, () =>
				analyst === undefined ? this.spent(account.id).epsilon : this.analystEpsilon(account, analyst),
			);
			const asked = after - before;
			const whose =
				analyst === undefined ? "The privacy budget" : `The limit of ${analyst} on the privacy budget`;
			throw new AlthingError(
				"budget.exceeded",
				`${whose} of ${account.kind === "dataset" ? "data set" : account.kind} "${account.id}" does not allow round ${record.round} of job ${record.jobId}: spent epsilon ${before.toFixed(4)}, asked ${asked.toFixed(4)} more, limit ${limit.epsilon} at delta ${limit.delta}. Nothing was released. Raise the limit or end the job.`,
				{
					account: account.id,
					dataset: record.dataset,
					partition: record.partition,
					jobId: record.jobId,
					round: record.round,
					spent: before,
					asked,
					limit: limit.epsilon,
					delta: limit.delta,
					...(analyst === undefined ? {} : { analyst }),
				},
			);
		}
	}

	/** Which limit of an account a charge to the data set has broken, if any. */
	#exceeded(
		account: Account,
		dataset: string,
		analyst: string | undefined,
	): { readonly limit: Limits; readonly after: number; readonly analyst?: string } | undefined {
		const limit = this.#tree.undelegated(account);
		const { epsilon: after } = this.#state(account, limit, dataset);
		if (after > limit.epsilon && !this.#isTightlyWithin(account, limit)) return { limit, after };
		const limited = analyst === undefined ? undefined : account.analysts.get(analyst);
		if (analyst === undefined || limited === undefined) return undefined;
		const spent = this.analystEpsilon(account, analyst);
		if (spent <= limited.epsilonLimit) return undefined;
		return { limit: { epsilon: limited.epsilonLimit, delta: account.limits.delta }, after: spent, analyst };
	}

	/** The tight accountant's word on a planned account that its Renyi bound would refuse. */
	#isTightlyWithin(account: Account, limit: Limits): boolean {
		if (account.composition !== "planned") return false;
		return this.#questions(account, limit.delta).every(
			(question) => question.delta > 0 && this.#tight.answer(question) <= limit.epsilon,
		);
	}

	/** Counts requests, asks, and takes them back. */
	#tentatively<T>(
		requests: readonly (Cost & {
			readonly dataset: string;
			readonly jobId: string;
			readonly analyst?: string;
		})[],
		ask: () => T,
	): T {
		const booked: (() => void)[] = [];
		try {
			for (const { dataset, jobId, partition, event, extraDelta, analyst } of requests) {
				const priced = this.#prices.price(event, extraDelta);
				const path = this.#tree.pathOf(dataset, jobId);
				const record = analyst === undefined ? { dataset } : { dataset, analyst };
				const windows = [...this.#windowsOf(path, record, this.#nextPlace)].map(({ window }) => window);
				for (const window of windows) window.add(dataset, partition, priced);
				booked.push(() => {
					for (const window of windows) window.remove(dataset, partition, priced);
				});
			}
			return ask();
		} finally {
			for (const takeBack of booked) takeBack();
		}
	}

	#tentativelyWithout<T>(record: ChargeRecord, ask: () => T): T {
		const charge = this.#charge(record.chargeId);
		this.#count(charge, "remove");
		try {
			return ask();
		} finally {
			this.#count(charge, "add");
		}
	}

	#spendingOfJob(dataset: string, jobId: string): DatasetSpending {
		const spending = new DatasetSpending();
		for (const ids of this.#byRound.get(jobId)?.values() ?? []) {
			for (const id of ids) {
				const charge = this.#charge(id);
				if (counts(charge) && charge.record.dataset === dataset)
					spending.add(charge.record.partition, charge.priced);
			}
		}
		return spending;
	}

	#isBelow(record: ChargeRecord, id: string): boolean {
		return record.jobId === id || this.#tree.upwards(record.dataset).some((account) => account.id === id);
	}

	#charge(chargeId: string): Charge {
		const charge = this.#charges.get(chargeId);
		if (charge === undefined) {
			throw new AlthingError("budget.unknown_charge", `There is no charge ${chargeId} in the ledger.`, {
				chargeId,
			});
		}
		return charge;
	}
}

/** For each partition the question that a tight accountant would answer. */
function questionsOf(spending: DatasetSpending, delta: number): readonly TightQuestion[] {
	const { parts } = spending;
	return spending.events.map((event, i) => ({ event, delta: delta - (parts[i]?.slackDelta ?? 0) }));
}

function counts(charge: Charge): boolean {
	return charge.final || charge.live.size > 0;
}

function largest(values: readonly number[]): number {
	return values.reduce((a, b) => Math.max(a, b), 0);
}

function viewOf({ record, at, live, dead, final, epsilonAfter }: Charge): ChargeView {
	const { type: _, analyst, ...rest } = record;
	return {
		...rest,
		...(analyst === undefined ? {} : { analyst }),
		at,
		state: final ? "released" : live.size > 0 ? "held" : "refunded",
		liveAttempts: [...live],
		deadAttempts: [...dead],
		epsilonAfter,
	};
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

/** One id, one charge: a reused id for another update would be a release that is never paid for. */
function requireSame(known: ChargeRecord, record: ChargeRecord): void {
	const same =
		known.dataset === record.dataset &&
		known.partition === record.partition &&
		known.jobId === record.jobId &&
		known.round === record.round &&
		known.extraDelta === record.extraDelta &&
		known.analyst === record.analyst &&
		eventKey(known.event) === eventKey(record.event);
	if (!same) {
		throw new AlthingError(
			"budget.conflict",
			`Charge ${record.chargeId} already stands for round ${known.round} of job ${known.jobId} on data set "${known.dataset}" and cannot be another one too.`,
			{ chargeId: record.chargeId },
		);
	}
}
