/** Charges summed up for people: by data set, job, mechanism and part, over some time. */
import type { PrivacyEvent } from "../accounting/events.ts";
import type { ChargeView } from "./charges.ts";
import type { Partition } from "./records.ts";
import { DatasetSpending, PriceList } from "./spending.ts";
import type { TightQuestion } from "./statement.ts";

export interface ReportFilter {
	/** A name such as `gaussian`: see {@link mechanismOf}. */
	readonly mechanism?: string | undefined;
	/** ISO times: charges made from `since` on and before `until`. */
	readonly since?: string | undefined;
	readonly until?: string | undefined;
}

export interface ReportRow {
	readonly dataset: string;
	readonly jobId: string;
	readonly mechanism: string;
	readonly partition: Partition;
	readonly charges: number;
	readonly released: number;
	readonly held: number;
	readonly refunded: number;
	readonly firstAt: string;
	readonly lastAt: string;
	/** At which the data set's epsilon is stated. */
	readonly delta: number;
	/** What these charges alone, the refunded ones left out, have cost: epsilon is the accountant's to say. */
	readonly question: TightQuestion | undefined;
}

/** What an event is called in reports: its innermost mechanism, with `sampled` before it where a secret sample was taken. */
export function mechanismOf(event: PrivacyEvent): string {
	switch (event.kind) {
		case "poissonSampled":
			return `sampled ${mechanismOf(event.event)}`;
		case "selfComposed":
			return mechanismOf(event.event);
		case "composed":
			return [...new Set(event.events.map(mechanismOf))].join(" + ") || "nothing";
		case "repeatAndSelect":
			return `best of ${mechanismOf(event.event)}`;
		default:
			return event.kind;
	}
}

/** @returns true for a charge that the filter lets pass */
export function passes(charge: ChargeView, { mechanism, since, until }: ReportFilter): boolean {
	const at = Date.parse(charge.at);
	return (
		(mechanism === undefined ||
			mechanismOf(charge.event).split(" ").includes(mechanism) ||
			mechanismOf(charge.event) === mechanism) &&
		(since === undefined || at >= Date.parse(since)) &&
		(until === undefined || at < Date.parse(until))
	);
}

/**
 * Rows by data set, job, mechanism and part, in the order of their first charges.
 * @param deltaOf the delta at which a data set's epsilon is stated
 */
export function reportRows(
	charges: readonly ChargeView[],
	filter: ReportFilter,
	deltaOf: (dataset: string) => number,
): ReportRow[] {
	const groups = new Map<string, ChargeView[]>();
	for (const charge of charges) {
		if (!passes(charge, filter)) continue;
		const key = [charge.dataset, charge.jobId, mechanismOf(charge.event), charge.partition].join("\u0000");
		const group = groups.get(key);
		if (group === undefined) groups.set(key, [charge]);
		else group.push(charge);
	}
	const prices = new PriceList();
	return [...groups.values()].map((group) => rowOf(group, deltaOf, prices));
}

function rowOf(
	group: readonly ChargeView[],
	deltaOf: (dataset: string) => number,
	prices: PriceList,
): ReportRow {
	const first = group[0] as ChargeView;
	const { dataset, jobId, partition } = first;
	const spending = new DatasetSpending();
	const inState = (state: ChargeView["state"]) => group.filter((charge) => charge.state === state).length;
	for (const { state, event, extraDelta } of group)
		if (state !== "refunded") spending.add(partition, prices.price(event, extraDelta));
	const part = partition === "train" ? 0 : 1;
	const event = spending.events[part] as PrivacyEvent;
	const delta = deltaOf(dataset) - (spending.parts[part]?.slackDelta ?? 0);
	const times = group.map(({ at }) => at).sort();
	return {
		dataset,
		jobId,
		mechanism: mechanismOf(first.event),
		partition,
		charges: group.length,
		released: inState("released"),
		held: inState("held"),
		refunded: inState("refunded"),
		firstAt: times[0] ?? first.at,
		lastAt: times.at(-1) ?? first.at,
		delta: deltaOf(dataset),
		question: delta > 0 && group.length > inState("refunded") ? { event, delta } : undefined,
	};
}
