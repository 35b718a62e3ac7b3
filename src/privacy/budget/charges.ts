/** Every charge ever made, with the attempts at releasing what it paid for. */
import { AlthingError } from "../../../crypto/error.ts";
import type { PrivacyEvent } from "../accounting/events.ts";
import type { ChargeRecord, Partition } from "./records.ts";
import { eventKey, type PricedEvent, type PriceList } from "./spending.ts";

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

/** `released`: final. `refunded`: proven to have released nothing. `held`: counts, and may or may not have been released. */
type ChargeState = "released" | "refunded" | "held";

/** One charge as the ledger knows it. */
export interface ChargeView extends Omit<ChargeRequest, "attempt"> {
	/** ISO time of its first attempt. */
	readonly at: string;
	readonly state: ChargeState;
	/** Attempts charged that no Dead certificate has taken back. */
	readonly liveAttempts: readonly number[];
	readonly deadAttempts: readonly number[];
	/** The data set's epsilon when the charge was made, as stated then. */
	readonly epsilonAfter: number | undefined;
}

export interface Charge {
	readonly record: ChargeRecord;
	readonly priced: PricedEvent;
	readonly at: string;
	epsilonAfter: number | undefined;
	readonly live: Set<number>;
	readonly dead: Set<number>;
	final: boolean;
	/** Its place among the charges, given anew when it counts again after a refund. */
	place: number;
}

/** Told when a charge begins or ceases to count. */
export type CountListener = (charge: Charge, change: "add" | "remove") => void;

export class ChargeBook {
	readonly #charges = new Map<string, Charge>();
	/** Charge ids by job and round. */
	readonly #byRound = new Map<string, Map<number, string[]>>();
	readonly #prices: PriceList;
	readonly #listener: CountListener;
	#nextPlace = 0;

	constructor(prices: PriceList, listener: CountListener) {
		this.#prices = prices;
		this.#listener = listener;
	}

	/** The place of the next charge that begins to count. */
	get nextPlace(): number {
		return this.#nextPlace;
	}

	get(chargeId: string): Charge | undefined {
		return this.#charges.get(chargeId);
	}

	/** @throws AlthingError `budget.unknown_charge` */
	require(chargeId: string): Charge {
		const charge = this.#charges.get(chargeId);
		if (charge !== undefined) return charge;
		throw new AlthingError("budget.unknown_charge", `There is no charge ${chargeId} in the ledger.`, {
			chargeId,
		});
	}

	/** In the order in which they were first made. */
	all(): IterableIterator<Charge> {
		return this.#charges.values();
	}

	*ofJob(jobId: string): Generator<Charge> {
		for (const ids of this.#byRound.get(jobId)?.values() ?? []) for (const id of ids) yield this.require(id);
	}

	ofRound(jobId: string, round: number): readonly Charge[] {
		return (this.#byRound.get(jobId)?.get(round) ?? []).map((id) => this.require(id));
	}

	/**
	 * Books an attempt at a charge, known or new; again changes nothing.
	 * @throws AlthingError `budget.conflict`, `privacy.unsupported_event`
	 */
	enter(record: ChargeRecord, at: string, epsilonAfter?: number): void {
		const known = this.#charges.get(record.chargeId);
		if (known !== undefined) {
			requireSame(known.record, record);
			// A dead attempt stays dead: a replayed journal must not charge it again.
			if (!known.dead.has(record.attempt)) this.#changing(known, () => known.live.add(record.attempt));
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
		this.#listener(charge, "add");
	}

	/** Undoes an attempt that was entered and never journalled. */
	retract(record: ChargeRecord): void {
		const charge = this.require(record.chargeId);
		this.#changing(charge, () => charge.live.delete(record.attempt));
		if (counts(charge) || charge.dead.size > 0) return;
		this.#charges.delete(record.chargeId);
		const rounds = this.#byRound.get(record.jobId);
		const others = (rounds?.get(record.round) ?? []).filter((id) => id !== record.chargeId);
		rounds?.set(record.round, others);
	}

	/** An attempt is proven dead. A final charge stays: the ledger errs towards spent. */
	bury(chargeId: string, attempt: number): void {
		const charge = this.require(chargeId);
		if (charge.final) return;
		this.#changing(charge, () => {
			charge.live.delete(attempt);
			charge.dead.add(attempt);
		});
	}

	/** Counts for good; even one called dead, since a certificate says that it was released. */
	finalise(chargeId: string): void {
		const charge = this.require(chargeId);
		this.#changing(charge, () => {
			charge.final = true;
		});
	}

	#changing(charge: Charge, change: () => void): void {
		const before = counts(charge);
		change();
		const after = counts(charge);
		if (before === after) return;
		// What counts again does so in the period in which it is charged again.
		if (after) charge.place = this.#nextPlace++;
		this.#listener(charge, after ? "add" : "remove");
	}
}

export function counts(charge: Charge): boolean {
	return charge.final || charge.live.size > 0;
}

export function viewOf({ record, at, live, dead, final, epsilonAfter }: Charge): ChargeView {
	const { type: _type, attempt: _attempt, analyst, ...rest } = record;
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
	if (same) return;
	throw new AlthingError(
		"budget.conflict",
		`Charge ${record.chargeId} already stands for round ${known.round} of job ${known.jobId} on data set "${known.dataset}" and cannot be another one too.`,
		{ chargeId: record.chargeId },
	);
}
