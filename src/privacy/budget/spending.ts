/** What was charged to the records of one data set, or of a part of it: events counted, losses summed as they come. */
import { encodeCanonical, toHex } from "../../../crypto/encoding.ts";
import { composed, type PrivacyEvent, selfComposed } from "../accounting/events.ts";
import { rdpOf } from "../accounting/rdp.ts";
import { type Loss, LossSum } from "./loss.ts";
import type { Partition } from "./records.ts";

/** An event with its price; equal events share one. */
export interface PricedEvent {
	readonly key: string;
	readonly event: PrivacyEvent;
	readonly loss: Loss;
}

/** Prices events once each: a job charges the same one in every round. */
export class PriceList {
	readonly #known = new Map<string, PricedEvent>();

	/** @throws AlthingError `privacy.unsupported_event` for an event without a Renyi bound */
	price(event: PrivacyEvent, extraDelta: number): PricedEvent {
		const key = `${eventKey(event)}/${extraDelta}`;
		let priced = this.#known.get(key);
		if (priced === undefined) {
			priced = { key, event, loss: { curve: rdpOf(event), slackDelta: extraDelta } };
			this.#known.set(key, priced);
		}
		return priced;
	}
}

/** The same text for the same event, whatever the order of its keys after decoding. */
export function eventKey(event: PrivacyEvent): string {
	return toHex(encodeCanonical(event as never));
}

/** Sequential composition: every event on the same records. */
class Tally {
	#counts = new Map<string, { readonly priced: PricedEvent; count: number }>();
	#loss = new LossSum();

	get loss(): Loss {
		return this.#loss;
	}

	add(priced: PricedEvent): void {
		const known = this.#counts.get(priced.key);
		if (known === undefined) this.#counts.set(priced.key, { priced, count: 1 });
		else known.count++;
		this.#loss.add(priced.loss);
	}

	/** Sums up afresh: subtracting would leave rounding errors behind, in either direction. */
	remove(priced: PricedEvent): void {
		const known = this.#counts.get(priced.key);
		if (known === undefined) return;
		known.count--;
		if (known.count === 0) this.#counts.delete(priced.key);
		this.#loss = new LossSum();
		for (const one of this.#counts.values()) this.#loss.add(one.priced.loss, one.count);
	}

	copy(): Tally {
		const copy = new Tally();
		copy.#counts = new Map([...this.#counts].map(([key, entry]) => [key, { ...entry }]));
		copy.#loss = this.#loss.copy();
		return copy;
	}

	/** One event that stands for all of them: equal ones grouped, in an order that does not depend on theirs. */
	get event(): PrivacyEvent {
		const groups = new Map<string, { event: PrivacyEvent; count: number }>();
		for (const { priced, count } of this.#counts.values()) {
			const key = eventKey(priced.event);
			const group = groups.get(key);
			if (group === undefined) groups.set(key, { event: priced.event, count });
			else group.count += count;
		}
		return composed(
			...[...groups]
				.sort(([a], [b]) => (a < b ? -1 : 1))
				.map(([, { event, count }]) => selfComposed(event, count)),
		);
	}
}

/**
 * The two parts of a data set, in parallel composition. Train and held-out records are disjoint,
 * and the part of a record depends on its own bytes and the site's key alone
 * (src/data/partition.ts), so adding or removing one record changes the input of one part's
 * mechanisms only; the others' outputs are then a function of unchanged data and of what was
 * released already. A record's loss is that of its own part, the data set's epsilon the larger of
 * the two, not their sum.
 */
export class DatasetSpending {
	#parts: Readonly<Record<Partition, Tally>> = { train: new Tally(), heldOut: new Tally() };
	#envelope = new LossSum();

	/** @param growth set to how much the envelope has grown */
	add(partition: Partition, priced: PricedEvent, growth = new LossSum()): void {
		const part = this.#parts[partition];
		part.add(priced);
		this.#envelope.raise(part.loss, growth);
	}

	remove(partition: Partition, priced: PricedEvent): void {
		this.#parts[partition].remove(priced);
		this.#envelope = new LossSum();
		for (const part of this.parts) this.#envelope.raise(part, new LossSum());
	}

	copy(): DatasetSpending {
		const copy = new DatasetSpending();
		copy.#parts = { train: this.#parts.train.copy(), heldOut: this.#parts.heldOut.copy() };
		copy.#envelope = this.#envelope.copy();
		return copy;
	}

	/** The loss of each part's records. */
	get parts(): readonly Loss[] {
		return [this.#parts.train.loss, this.#parts.heldOut.loss];
	}

	/** A bound on the loss of any record, whichever its part: what an account above may add to other losses. */
	get envelope(): Loss {
		return this.#envelope;
	}

	/** For each part one event that stands for all that was charged to it. */
	get events(): readonly PrivacyEvent[] {
		return [this.#parts.train.event, this.#parts.heldOut.event];
	}
}
