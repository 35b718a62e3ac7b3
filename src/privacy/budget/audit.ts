/**
 * Whether the events charged are the events executed: the ledger's journal replayed against
 * what the node's other durable records prove was released, retried or dead.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { PrivacyEvent } from "../accounting/events.ts";
import type { ChargeView } from "./charges.ts";
import { BudgetLedger } from "./ledger.ts";
import type { LedgerEntry } from "./records.ts";
import { isStanding, partOf } from "./settlement.ts";
import { eventKey } from "./spending.ts";

/** A round that a quorum has certified. */
export interface CertifiedRound {
	readonly jobId: string;
	readonly round: number;
	readonly outcome: "released" | "void";
	readonly attempt: number;
	/** Whether this site's contribution is in the sum. */
	readonly included: boolean;
	/** Whether the released sum holds an evaluation on held-out records. */
	readonly evaluated: boolean;
	/** False for a job without differential privacy: nothing is charged for it. */
	readonly isPrivate: boolean;
}

/** An attempt that a Dead certificate proves to have released nothing. */
export interface DeadAttempt {
	readonly jobId: string;
	readonly round: number;
	readonly attempt: number;
}

/** A mechanism execution as the node has recorded it. */
export interface RecordedExecution {
	/** Id of the charge that paid for it. */
	readonly chargeId: string;
	/** Absent in records that did not keep it. */
	readonly event?: PrivacyEvent;
}

export interface Executed {
	readonly rounds: readonly CertifiedRound[];
	readonly dead: readonly DeadAttempt[];
	readonly executions: readonly RecordedExecution[];
}

/** Something that ought not to be. */
interface AuditDifference {
	/** `uncharged_release` and so on: stable, for programs. */
	readonly code: string;
	readonly message: string;
	readonly jobId?: string;
	readonly round?: number;
	readonly chargeId?: string;
}

export interface AuditReport {
	/** Charges by what became of them. */
	readonly charges: {
		readonly total: number;
		/** Paid for a release. */
		readonly released: number;
		/** Taken back by a Dead certificate. */
		readonly refunded: number;
		/** Spent, though the round's sum was released without them or not at all, or a crash came before an answer. */
		readonly wasted: number;
		/** Of a round that is not decided yet. */
		readonly open: number;
	};
	/** Certified rounds whose sums hold this site's contribution under differential privacy. */
	readonly releases: number;
	readonly deadAttempts: number;
	readonly executions: number;
	readonly differences: readonly AuditDifference[];
	/** Accounts that state more than their limit: limits were never enforced for what was charged before they existed. */
	readonly overdrawn: readonly string[];
}

/** @param entries all of the ledger's journal, in order */
export function auditLedger(entries: Iterable<LedgerEntry>, executed: Executed): AuditReport {
	const differences: AuditDifference[] = [];
	const ledger = replay(entries, executed, differences);
	const history = ledger.history();
	const rounds = new Map(executed.rounds.map((round) => [keyOf(round), round]));
	const recorded = new Map(executed.executions.map((execution) => [execution.chargeId, execution]));
	const finals = new Map<string, ChargeView[]>();
	const counted = { released: 0, refunded: 0, wasted: 0, open: 0 };
	for (const charge of history) {
		const round = rounds.get(keyOf(charge));
		if (charge.state === "refunded") counted.refunded++;
		else if (charge.state === "held") counted[round === undefined ? "open" : "wasted"]++;
		else if (round === undefined && !recorded.has(charge.chargeId)) {
			// Charged outside of rounds, and a crash came before the answer was written down.
			counted.wasted++;
		} else {
			counted.released++;
			finals.set(keyOf(charge), [...(finals.get(keyOf(charge)) ?? []), charge]);
			if (round !== undefined) differences.push(...unbacked(charge, round));
			differences.push(...unlike(charge, recorded.get(charge.chargeId)));
		}
	}
	const standing = new Map<string, number>();
	for (const charge of history)
		if (isStanding(charge) && !standing.has(charge.jobId)) standing.set(charge.jobId, charge.round);
	for (const round of executed.rounds) {
		const isStandingPaid = (standing.get(round.jobId) ?? Number.POSITIVE_INFINITY) <= round.round;
		differences.push(...unpaid(round, finals.get(keyOf(round)) ?? [], isStandingPaid));
	}
	const known = new Map(history.map((charge) => [charge.chargeId, charge]));
	for (const { chargeId } of executed.executions) {
		if (known.get(chargeId)?.state !== "released")
			differences.push({
				code: "execution_uncharged",
				message: `An execution is recorded under charge ${chargeId}, which is not final in the ledger.`,
				chargeId,
			});
	}
	return {
		charges: { total: history.length, ...counted },
		releases: executed.rounds.filter(isPaidFor).length,
		deadAttempts: executed.dead.length,
		executions: executed.executions.length,
		differences,
		overdrawn: ledger.overdrawn(),
	};
}

/** Replays the journal, noting refunds that nothing proves and entries that contradict earlier ones. */
function replay(
	entries: Iterable<LedgerEntry>,
	executed: Executed,
	differences: AuditDifference[],
): BudgetLedger {
	const ledger = new BudgetLedger();
	const dead = new Set(executed.dead.map((attempt) => `${keyOf(attempt)}/${attempt.attempt}`));
	const charged = new Map<string, { readonly jobId: string; readonly round: number }>();
	const final = new Set<string>();
	for (const entry of entries) {
		const { record } = entry;
		try {
			ledger.apply(entry);
		} catch (error) {
			if (!(error instanceof AlthingError)) throw error;
			differences.push({ code: "contradiction", message: error.message });
			continue;
		}
		if (record.type === "charge") charged.set(record.chargeId, record);
		else if (record.type === "finalise") final.add(record.chargeId);
		if (record.type !== "refund") continue;
		const { chargeId, attempt } = record;
		const charge = charged.get(chargeId);
		if (final.has(chargeId))
			differences.push({
				code: "refund_after_release",
				message: `Charge ${chargeId} was refunded after its round was released.`,
				chargeId,
			});
		else if (charge !== undefined && !dead.has(`${keyOf(charge)}/${attempt}`))
			differences.push({
				code: "refund_without_proof",
				message: `Attempt ${attempt} of charge ${chargeId} was refunded, and no Dead certificate for it is on record.`,
				jobId: charge.jobId,
				round: charge.round,
				chargeId,
			});
	}
	return ledger;
}

function isPaidFor(round: CertifiedRound): boolean {
	return round.outcome === "released" && round.included && round.isPrivate;
}

/** A final charge of a round stands for a release that really was. */
function unbacked(charge: ChargeView, round: CertifiedRound): AuditDifference[] {
	const { jobId, chargeId } = charge;
	const at = { jobId, round: charge.round, chargeId };
	if (!isPaidFor(round)) {
		const message = `Charge ${chargeId} is final, and round ${charge.round} of job ${jobId} released nothing of this site under differential privacy.`;
		return [{ code: "charged_without_release", message, ...at }];
	}
	if (!charge.liveAttempts.includes(round.attempt)) {
		const message = `Charge ${chargeId} was never made for attempt ${round.attempt}, the one that was released.`;
		return [{ code: "attempt_differs", message, ...at }];
	}
	return [];
}

/** What ran must be what was paid for. */
function unlike(charge: ChargeView, execution: RecordedExecution | undefined): AuditDifference[] {
	const { chargeId, jobId, round } = charge;
	if (execution === undefined)
		return [
			{
				code: "execution_missing",
				message: `No mechanism execution is recorded for charge ${chargeId}.`,
				jobId,
				round,
				chargeId,
			},
		];
	if (execution.event === undefined || eventKey(execution.event) === eventKey(charge.event)) return [];
	const message = `The mechanism recorded for charge ${chargeId} has other parameters than the one charged.`;
	return [{ code: "parameters_differ", message, jobId, round, chargeId }];
}

/**
 * Every certified release of this site has exactly one final charge for each part of the data it
 * read, or an earlier one that stands for it.
 */
function unpaid(
	round: CertifiedRound,
	finals: readonly ChargeView[],
	isStandingPaid: boolean,
): AuditDifference[] {
	if (!isPaidFor(round)) return [];
	const { jobId } = round;
	const at = { jobId, round: round.round };
	const found: AuditDifference[] = [];
	const parts = finals.map(partOf);
	for (const part of new Set(parts.filter((one, i) => parts.indexOf(one) !== i)))
		found.push({
			code: "charged_twice",
			message: `Round ${round.round} of job ${jobId} has more than one final charge for ${part}.`,
			...at,
		});
	if (finals.length === 0 && !isStandingPaid)
		found.push({
			code: "uncharged_release",
			message: `Round ${round.round} of job ${jobId} released a sum with this site's contribution, and no final charge pays for it.`,
			...at,
		});
	else if (round.evaluated && !finals.some(({ partition }) => partition === "heldOut"))
		found.push({
			code: "uncharged_release",
			message: `Round ${round.round} of job ${jobId} released an evaluation on held-out records, and no final charge pays for it.`,
			...at,
		});
	return found;
}

function keyOf(at: { readonly jobId: string; readonly round: number }): string {
	return `${at.jobId}/${at.round}`;
}
