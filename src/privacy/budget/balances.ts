/** The sums that every charge belongs to, and what the accounts' limits say of them. */
import type { Account, Limits } from "./account.ts";
import { type Charge, type ChargeRequest, counts } from "./charges.ts";
import type { DatasetSpending, PriceList } from "./spending.ts";
import {
	adaptiveEpsilon,
	plannedEpsilon,
	type Stated,
	TightBounds,
	type TightQuestion,
} from "./statement.ts";
import type { AccountTree } from "./tree.ts";
import { Window } from "./window.ts";

/** What a plan would cost the records of one partition. */
export type Cost = Pick<ChargeRequest, "partition" | "event" | "extraDelta">;

/** A cost that is not charged, only asked about. */
export type SupposedCharge = Omit<ChargeRequest, "round" | "chargeId" | "attempt">;

/** A limit that is exceeded. */
export interface Excess {
	readonly limit: Limits;
	readonly epsilon: number;
	/** Present where the limit is an analyst's own. */
	readonly analyst?: string;
}

interface Charged {
	readonly dataset: string;
	readonly jobId: string;
	readonly analyst?: string | undefined;
}

export class Balances {
	readonly tight = new TightBounds();
	readonly #tree: AccountTree;
	readonly #prices: PriceList;

	constructor(tree: AccountTree, prices: PriceList) {
		this.#tree = tree;
		this.#prices = prices;
	}

	/** A charge begins or ceases to count. */
	count(charge: Charge, change: "add" | "remove"): void {
		const { record, priced, place } = charge;
		for (const { window } of this.#windowsOf(record, place))
			window[change](record.dataset, record.partition, priced);
	}

	/** Makes an account's sums again. @param charges all of the ledger's */
	recount(account: Account, charges: Iterable<Charge>): void {
		const top = account.kind === "job" ? (account.parent ?? account.id) : account.id;
		const fresh = () => new Window(top, this.#tree);
		account.period.window = fresh();
		const isWhole = account.period.number === 0 && this.#tree.delegatedBelow(account.id).length === 0;
		account.lifetime = isWhole ? account.period.window : fresh();
		for (const [analyst, { epsilonLimit }] of account.analysts)
			account.analysts.set(analyst, { epsilonLimit, window: fresh() });
		for (const charge of charges) {
			if (!counts(charge)) continue;
			const { record, priced, place } = charge;
			for (const { owner, window } of this.#windowsOf(record, place))
				if (owner === account) window.add(record.dataset, record.partition, priced);
		}
	}

	/** Counts supposed charges, asks, and takes them back. @throws AlthingError `budget.not_found`, `privacy.unsupported_event` */
	supposing<T>(supposed: readonly SupposedCharge[], ask: () => T): T {
		const takeBack: (() => void)[] = [];
		try {
			for (const one of supposed) {
				const priced = this.#prices.price(one.event, one.extraDelta);
				for (const { window } of [...this.#windowsOf(one, Number.POSITIVE_INFINITY)]) {
					takeBack.push(window.remember(one.dataset));
					window.add(one.dataset, one.partition, priced);
				}
			}
			return ask();
		} finally {
			for (const step of takeBack.reverse()) step();
		}
	}

	/** Asks as if a charge did not count. */
	without<T>(charge: Charge, ask: () => T): T {
		const { record, place } = charge;
		const putBack = [...this.#windowsOf(record, place)].map(({ window }) => window.remember(record.dataset));
		this.count(charge, "remove");
		try {
			return ask();
		} finally {
			for (const step of putBack) step();
		}
	}

	/**
	 * What the period's losses come to under limits.
	 * @param through only what a charge to this data set can have changed
	 */
	state(account: Account, limits: Limits, through?: string): Stated {
		const losses = account.period.window.branches(through);
		if (account.composition === "adaptive") {
			const fitted = { epsilon: account.period.filterEpsilon, delta: limits.delta };
			const epsilon = largest(losses.map((loss) => adaptiveEpsilon(loss, fitted)));
			return { epsilon, method: "rdp-filter" };
		}
		const questions = this.questions(account, limits.delta);
		return losses
			.map((loss, i) => this.planned(plannedEpsilon(loss, limits.delta), questions[i]))
			.reduce((a, b) => (b.epsilon > a.epsilon ? b : a), { epsilon: 0, method: "rdp" });
	}

	/** The better of a Renyi bound and what the tight accountant has answered, if it was asked. */
	planned(rdp: number, question: TightQuestion | undefined): Stated {
		const tight = question === undefined ? undefined : this.tight.known(question);
		return tight !== undefined && tight.epsilon < rdp ? tight : { epsilon: rdp, method: "rdp" };
	}

	/** What an analyst with a limit of their own has spent of it. */
	analystEpsilon(account: Account, analyst: string): number {
		const limited = account.analysts.get(analyst);
		if (limited === undefined) return 0;
		const limits = { epsilon: limited.epsilonLimit, delta: account.limits.delta };
		return largest(limited.window.branches().map((loss) => adaptiveEpsilon(loss, limits)));
	}

	/** Epsilon over all periods, by the filter. */
	lifetimeEpsilon(account: Account): number {
		const limits = { epsilon: account.odometerEpsilon, delta: account.limits.delta };
		return largest(account.lifetime.branches().map((loss) => adaptiveEpsilon(loss, limits)));
	}

	/** Whether anything counts in a window of the account. */
	isCharged(account: Account, during: "period" | "lifetime"): boolean {
		const window = during === "period" ? account.period.window : account.lifetime;
		return window.branches().some(({ curve }) => curve.some((value) => value > 0));
	}

	/**
	 * Which limit of an account is exceeded, if any; the tight accountant is asked where it decides.
	 * @param charged looks only at what a charge to this data set, for this analyst, can have changed
	 */
	exceeded(account: Account, { dataset, analyst }: Partial<Charged> = {}): Excess | undefined {
		const limit = this.#tree.undelegated(account);
		const { epsilon } = this.state(account, limit, dataset);
		if (epsilon > limit.epsilon && !this.#isTightlyWithin(account, limit)) return { limit, epsilon };
		const limited = analyst === undefined ? undefined : account.analysts.get(analyst);
		if (analyst === undefined || limited === undefined) return undefined;
		const own = this.analystEpsilon(account, analyst);
		if (own <= limited.epsilonLimit) return undefined;
		return { limit: { epsilon: limited.epsilonLimit, delta: account.limits.delta }, epsilon: own, analyst };
	}

	/** For each partition of a data set's or job's period the question that a tight accountant would answer. */
	questions(account: Account, delta: number): readonly TightQuestion[] {
		const spending = account.period.window.spendingOf(datasetOf(account));
		return spending === undefined ? [] : questionsOf(spending, delta);
	}

	/** Questions of planned accounts whose Renyi bound exceeds their limit, not answered yet. */
	openQuestions(path: readonly Account[]): TightQuestion[] {
		return path
			.filter(({ composition }) => composition === "planned")
			.flatMap((account) => {
				const { epsilon, delta } = account.limits;
				const losses = account.period.window.branches();
				return this.questions(account, delta).filter((question, i) => {
					const loss = losses[i];
					if (loss === undefined || question.delta <= 0 || plannedEpsilon(loss, delta) <= epsilon)
						return false;
					return this.tight.known(question) === undefined;
				});
			});
	}

	/** The tight accountant's word on the parts of a planned account that the Renyi bound would refuse. */
	#isTightlyWithin(account: Account, { epsilon, delta }: Limits): boolean {
		if (account.composition !== "planned") return false;
		const losses = account.period.window.branches();
		return this.questions(account, delta).every((question, i) => {
			const loss = losses[i];
			if (loss === undefined || question.delta <= 0) return false;
			return plannedEpsilon(loss, delta) <= epsilon || this.tight.answer(question).epsilon <= epsilon;
		});
	}

	/** Every sum that a charge belongs to, once. @param place among all charges: decides about periods */
	*#windowsOf(
		charged: Charged,
		place: number,
	): Generator<{ readonly owner: Account; readonly window: Window }> {
		const path = this.#tree.pathOf(charged.dataset, charged.jobId);
		for (const [i, owner] of path.entries()) {
			const { period, lifetime, analysts } = owner;
			const isCurrent = place >= period.firstCharge;
			if (lifetime !== period.window) yield { owner, window: lifetime };
			// What is below a delegated account counts against what was set aside for it.
			const isSetAside = i > 0 && path[i - 1]?.delegated !== undefined;
			if (lifetime === period.window || (isCurrent && !isSetAside)) yield { owner, window: period.window };
			const limited = charged.analyst === undefined ? undefined : analysts.get(charged.analyst);
			if (isCurrent && limited !== undefined) yield { owner, window: limited.window };
		}
	}
}

/** For each partition the question that a tight accountant would answer. */
export function questionsOf(spending: DatasetSpending, delta: number): readonly TightQuestion[] {
	const { parts } = spending;
	return spending.events.map((event, i) => ({ event, delta: delta - (parts[i]?.slackDelta ?? 0) }));
}

/** The data set whose records an account of a data set or job is about. */
function datasetOf(account: Account): string {
	return account.kind === "job" ? (account.parent ?? "") : account.id;
}

export function largest(values: readonly number[]): number {
	return values.reduce((a, b) => Math.max(a, b), 0);
}
