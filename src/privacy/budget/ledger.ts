/**
 * The privacy budget of each data set, rebuilt from a journal of records.
 *
 * Order of use: `prepareCharge` (refuses, or holds the charge at once), journal the record
 * durably, `apply` it, and only then let the masked vector leave. A crash before the journal
 * write releases nothing; a crash after it wastes the charge. Nothing spends without a record.
 *
 * Two partitions compose in parallel. Train and held-out records are disjoint, and the
 * partition of a record depends on its own bytes and the site's key alone
 * (src/data/partition.ts), so adding or removing one record changes the input of one
 * partition's mechanisms only; the others' outputs are then a function of unchanged data
 * and of what was released already. The epsilon of the data set is therefore the larger
 * of the two, not their sum.
 */
import { encodeCanonical, toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { composed, type PrivacyEvent, selfComposed } from "../accounting/events.ts";
import { epsilonFromRdp, rdpOf } from "../accounting/rdp.ts";
import {
	type AccountRecord,
	type ChargeRecord,
	type FinaliseRecord,
	type LedgerRecord,
	ledgerRecordSchema,
	type Partition,
	type RefundRecord,
} from "./records.ts";

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
}

export interface Spent {
	/** (epsilon, delta)-DP holds for every record of the data set. */
	readonly epsilon: number;
	/** The account's limit once anything was charged, else 0: epsilon is always stated at the limit. */
	readonly delta: number;
	/** Per job alone, at the same delta; composed over jobs they do not simply add. */
	readonly perJob: ReadonlyMap<string, number>;
}

interface Charge {
	readonly record: ChargeRecord;
	readonly live: Set<number>;
	readonly dead: Set<number>;
	final: boolean;
}

/** Durable budget accounting; holds no clock, file or randomness. */
export class BudgetLedger {
	readonly #accounts = new Map<string, AccountRecord>();
	readonly #charges = new Map<string, Charge>();

	/** The ledger the records describe. @throws as {@link BudgetLedger.apply} */
	static fromRecords(records: Iterable<unknown>): BudgetLedger {
		const ledger = new BudgetLedger();
		for (const record of records) ledger.apply(record);
		return ledger;
	}

	/**
	 * The record that opens an account or changes its limits (the owner's decision; what was
	 * spent stays spent). It takes effect through `apply`.
	 * @throws AlthingError `budget.bad_record` for limits out of range
	 */
	prepareAccount(dataset: string, limits: { epsilonLimit: number; deltaLimit: number }): AccountRecord {
		return parse({
			type: "account",
			dataset,
			epsilonLimit: limits.epsilonLimit,
			deltaLimit: limits.deltaLimit,
		}) as AccountRecord;
	}

	/**
	 * The record to journal before the update leaves. The charge counts from this call on, so
	 * that two charges under way cannot both take the last of the budget; one that never
	 * reaches the journal is forgotten with the process, having released nothing.
	 *
	 * The same (chargeId, attempt) again returns the same record and costs nothing more, as
	 * does a further attempt at releasing the same update.
	 * @throws AlthingError `budget.exceeded` (spent, asked, limit), `budget.no_account`,
	 *   `budget.conflict` when the id stands for another charge, `budget.dead_attempt`, `budget.bad_record`
	 */
	prepareCharge(request: ChargeRequest): ChargeRecord {
		const record = parse({ ...request, type: "charge" }) as ChargeRecord;
		const account = this.#account(record.dataset);
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
		}
		if (known === undefined || !counts(known)) this.#requireRoom(account, record);
		this.apply(record);
		return record;
	}

	/**
	 * The record that takes an attempt back because a Dead certificate proves it released
	 * nothing. The charge itself is returned when no attempt at it is left alive. It takes
	 * effect through `apply`, after it is durable.
	 * @throws AlthingError `budget.unknown_charge`, or `budget.final` after finalisation
	 */
	refund(chargeId: string, attempt: number, proof: "dead"): RefundRecord {
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
		return parse({ type: "refund", chargeId, attempt, proof }) as RefundRecord;
	}

	/** The record that makes a charge final: its round was certified. @throws AlthingError `budget.unknown_charge` */
	finalise(chargeId: string): FinaliseRecord {
		this.#charge(chargeId);
		return parse({ type: "finalise", chargeId }) as FinaliseRecord;
	}

	/**
	 * Take a journalled record into account; again with the same record changes nothing.
	 * Limits are not enforced here: what the journal says was charged was charged.
	 * @throws AlthingError `budget.bad_record` or `budget.conflict` for a record that contradicts the ledger
	 */
	apply(input: unknown): void {
		const record = parse(input);
		switch (record.type) {
			case "account":
				this.#accounts.set(record.dataset, record);
				return;
			case "charge": {
				const known = this.#charges.get(record.chargeId);
				if (known === undefined) {
					this.#charges.set(record.chargeId, {
						record,
						live: new Set([record.attempt]),
						dead: new Set(),
						final: false,
					});
					return;
				}
				requireSame(known.record, record);
				// A dead attempt stays dead: a replayed journal must not charge it again.
				if (!known.dead.has(record.attempt)) known.live.add(record.attempt);
				return;
			}
			case "refund": {
				const charge = this.#charge(record.chargeId);
				if (charge.final) return;
				charge.live.delete(record.attempt);
				charge.dead.add(record.attempt);
				return;
			}
			case "finalise":
				this.#charge(record.chargeId).final = true;
				return;
		}
	}

	/** What the data set has spent. @throws AlthingError `budget.no_account` */
	spent(dataset: string): Spent {
		const account = this.#account(dataset);
		const charges = this.#counting(dataset);
		const perJob = new Map<string, number>();
		for (const jobId of [...new Set(charges.map((charge) => charge.jobId))].sort()) {
			perJob.set(
				jobId,
				epsilonOfCharges(
					charges.filter((charge) => charge.jobId === jobId),
					account.deltaLimit,
				),
			);
		}
		return {
			epsilon: epsilonOfCharges(charges, account.deltaLimit),
			delta: charges.length === 0 ? 0 : account.deltaLimit,
			perJob,
		};
	}

	/** Limit less what is spent, never negative. Epsilon does not compose by addition: a plan is checked with `affords`. */
	remaining(dataset: string): { readonly epsilon: number; readonly delta: number } {
		const account = this.#account(dataset);
		const extra = Math.max(
			...PARTITIONS.map((partition) => extraDeltaOf(this.#counting(dataset, partition))),
		);
		return {
			epsilon: Math.max(0, account.epsilonLimit - this.spent(dataset).epsilon),
			delta: Math.max(0, account.deltaLimit - extra),
		};
	}

	/** Whether a whole plan would fit beside what is spent: for accepting a job before its first round. */
	affords(dataset: string, partition: Partition, event: PrivacyEvent, extraDelta: number): boolean {
		const account = this.#account(dataset);
		return this.#epsilonWith(account, partition, event, extraDelta) <= account.epsilonLimit;
	}

	/** Open accounts by name of data set, sorted. */
	accounts(): readonly AccountRecord[] {
		return [...this.#accounts.values()].sort((a, b) => (a.dataset < b.dataset ? -1 : 1));
	}

	#requireRoom(account: AccountRecord, record: ChargeRecord): void {
		const after = this.#epsilonWith(account, record.partition, record.event, record.extraDelta);
		if (after <= account.epsilonLimit) return;
		const { epsilon } = this.spent(record.dataset);
		const asked = after - epsilon;
		throw new AlthingError(
			"budget.exceeded",
			`The privacy budget of data set "${record.dataset}" does not allow round ${record.round} of job ${record.jobId}: spent epsilon ${epsilon.toFixed(4)}, asked ${asked.toFixed(4)} more, limit ${account.epsilonLimit} at delta ${account.deltaLimit}. Nothing was released. Raise the limit or end the job.`,
			{
				dataset: record.dataset,
				partition: record.partition,
				jobId: record.jobId,
				round: record.round,
				spent: epsilon,
				asked,
				limit: account.epsilonLimit,
				delta: account.deltaLimit,
			},
		);
	}

	#epsilonWith(
		account: AccountRecord,
		partition: Partition,
		event: PrivacyEvent,
		extraDelta: number,
	): number {
		return epsilonOfCharges(
			[...this.#counting(account.dataset), { partition, event, extraDelta }],
			account.deltaLimit,
		);
	}

	#counting(dataset: string, partition?: Partition): ChargeRecord[] {
		return [...this.#charges.values()]
			.filter((charge) => charge.record.dataset === dataset && counts(charge))
			.map((charge) => charge.record)
			.filter((record) => partition === undefined || record.partition === partition);
	}

	#account(dataset: string): AccountRecord {
		const account = this.#accounts.get(dataset);
		if (account === undefined) {
			throw new AlthingError(
				"budget.no_account",
				`Data set "${dataset}" has no privacy budget. Set its epsilon and delta limits first.`,
				{ dataset },
			);
		}
		return account;
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

const PARTITIONS: readonly Partition[] = ["train", "heldOut"];

type Cost = Pick<ChargeRecord, "partition" | "event" | "extraDelta">;

function counts(charge: Charge): boolean {
	return charge.final || charge.live.size > 0;
}

function extraDeltaOf(charges: readonly Cost[]): number {
	return charges
		.map((charge) => charge.extraDelta)
		.sort((a, b) => a - b)
		.reduce((sum, delta) => sum + delta, 0);
}

/** Parallel over the partitions; Infinity where the extra deltas alone reach the limit. */
function epsilonOfCharges(charges: readonly Cost[], deltaLimit: number): number {
	return Math.max(
		...PARTITIONS.map((partition) => {
			const own = charges.filter((charge) => charge.partition === partition);
			if (own.length === 0) return 0;
			const delta = deltaLimit - extraDeltaOf(own);
			if (delta <= 0) return Number.POSITIVE_INFINITY;
			return epsilonFromRdp(rdpOf(composedEvent(own)), delta).epsilon;
		}),
	);
}

/** Equal events grouped and sorted, so that the sum does not depend on the order of the records. */
function composedEvent(charges: readonly Cost[]): PrivacyEvent {
	const groups = new Map<string, { event: PrivacyEvent; count: number }>();
	for (const { event } of charges) {
		const key = eventKey(event);
		const group = groups.get(key);
		if (group === undefined) groups.set(key, { event, count: 1 });
		else group.count++;
	}
	return composed(
		...[...groups]
			.sort(([a], [b]) => (a < b ? -1 : 1))
			.map(([, { event, count }]) => selfComposed(event, count)),
	);
}

/** The same text for the same event, whatever the order of its keys after decoding. */
function eventKey(event: PrivacyEvent): string {
	return toHex(encodeCanonical(event as never));
}

/** One id, one charge: a reused id for another update would be a release that is never paid for. */
function requireSame(known: ChargeRecord, record: ChargeRecord): void {
	const same =
		known.dataset === record.dataset &&
		known.partition === record.partition &&
		known.jobId === record.jobId &&
		known.round === record.round &&
		known.extraDelta === record.extraDelta &&
		eventKey(known.event) === eventKey(record.event);
	if (!same) {
		throw new AlthingError(
			"budget.conflict",
			`Charge ${record.chargeId} already stands for round ${known.round} of job ${known.jobId} on data set "${known.dataset}" and cannot be another one too.`,
			{ chargeId: record.chargeId },
		);
	}
}

function parse(input: unknown): LedgerRecord {
	const result = ledgerRecordSchema.safeParse(input);
	if (!result.success) {
		const issue = result.error.issues[0];
		throw new AlthingError(
			"budget.bad_record",
			`A privacy ledger record is not valid at "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "unknown shape"}.`,
			{},
			{ cause: result.error },
		);
	}
	return result.data;
}
