import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { decodeCanonical, encodeCanonical } from "../../../../crypto/encoding.ts";
import {
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import { RdpFilter } from "../../../../src/privacy/accounting/filter.ts";
import { rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import type { ChangeRecord } from "../../../../src/privacy/budget/changes.ts";
import type { ChargeRequest } from "../../../../src/privacy/budget/charges.ts";
import { BudgetLedger } from "../../../../src/privacy/budget/ledger.ts";
import type { LedgerEntry } from "../../../../src/privacy/budget/records.ts";

const event = poissonSampled(0.05, gaussian(1.5));
const limits = { epsilonLimit: 3, deltaLimit: 1e-5 };
const stamp = { at: "2026-01-02T03:04:05.000Z", by: "tester" };
const open: ChangeRecord = {
	type: "open",
	account: "patients",
	kind: "dataset",
	...limits,
	composition: "adaptive",
	children: "sequential",
};
const filter = new RdpFilter(limits);

/** What the account's filter states for events. */
function stated(...events: PrivacyEvent[]): number {
	return filter.epsilonOf(rdpOf({ kind: "composed", events }));
}

function request(round: number, change: Partial<ChargeRequest> = {}): ChargeRequest {
	return {
		dataset: "patients",
		partition: "train",
		jobId: "job-1",
		round,
		chargeId: `job-1/${change.jobId ?? ""}${change.partition ?? ""}${round}`,
		attempt: 0,
		event,
		extraDelta: 1e-20,
		...change,
	};
}

let ledger: BudgetLedger;
beforeEach(() => {
	ledger = new BudgetLedger();
	ledger.prepareChange(open, stamp);
});

/** One charge by itself. */
function charge(one: ChargeRequest): LedgerEntry {
	const [entry] = ledger.prepareCharges([one], stamp);
	if (entry === undefined) throw new Error("a charge gave no entry");
	return entry;
}

describe("BudgetLedger", () => {
	it("composes rounds by the filter, not by adding epsilons", () => {
		expect(ledger.spent("patients")).toMatchObject({ epsilon: 0, delta: 0 });
		for (let round = 0; round < 10; round++) charge(request(round));
		const { epsilon, delta, method } = ledger.spent("patients");
		expect(epsilon).toBeCloseTo(stated(selfComposed(event, 10)), 9);
		expect(epsilon).toBeLessThan(10 * stated(event));
		expect([delta, method]).toEqual([1e-5, "rdp-filter"]);
		expect(ledger.remaining("patients").epsilon).toBeCloseTo(3 - epsilon, 12);
	});

	it("never understates by summing: thousands of charges cost at least their composition", () => {
		const small = poissonSampled(0.001, gaussian(4));
		for (let round = 0; round < 3000; round++) charge(request(round, { event: small }));
		const exact = stated(selfComposed(small, 3000));
		expect(ledger.spent("patients").epsilon).toBeGreaterThanOrEqual(exact);
		expect(ledger.spent("patients").epsilon).toBeLessThan(exact * (1 + 1e-9));
	});

	it("refuses the first round over the limit, says the figures, and charges nothing for it", () => {
		let round = 0;
		const exhaust = (): void => {
			for (; round < 1000; round++) charge(request(round));
		};
		expect(exhaust).toThrow(expect.objectContaining({ code: "budget.exceeded" }));
		const before = ledger.spent("patients").epsilon;
		expect(round).toBeGreaterThan(5);
		expect(before).toBeLessThanOrEqual(3);
		expect(stated(selfComposed(event, round + 1))).toBeGreaterThan(3);
		try {
			charge(request(round));
			expect.unreachable();
		} catch (error) {
			expect(error).toMatchObject({ facts: { limit: 3, dataset: "patients", account: "patients", round } });
			expect((error as { facts: { spent: number } }).facts.spent).toBeCloseTo(before, 9);
			expect((error as Error).message).toMatch(/spent epsilon .* asked .* limit 3/);
		}
		expect(ledger.spent("patients").epsilon).toBeCloseTo(before, 9);
		expect(ledger.history()).toHaveLength(round);
		expect(ledger.affords("patients", [{ partition: "train", event, extraDelta: 0 }])).toBe(false);
		expect(ledger.affords("patients", [{ partition: "heldOut", event, extraDelta: 0 }])).toBe(true);
	});

	it("holds a charge from prepare on, so two charges under way cannot share the last of the budget", () => {
		const big = gaussian(2);
		expect(ledger.affords("patients", [{ partition: "train", event: big, extraDelta: 0 }])).toBe(true);
		charge(request(0, { event: big }));
		expect(() => charge(request(1, { event: big }))).toThrow(
			expect.objectContaining({ code: "budget.exceeded" }),
		);
	});

	it("charges all of a release or nothing: a held-out part that does not fit takes the train part back", () => {
		const both = [request(0), request(0, { partition: "heldOut", event: gaussian(0.1) })];
		expect(() => ledger.prepareCharges(both, stamp)).toThrow(
			expect.objectContaining({ code: "budget.exceeded" }),
		);
		expect(ledger.spent("patients").epsilon).toBe(0);
		expect(ledger.history()).toEqual([]);
		// The id is free again.
		charge(request(0, { chargeId: both[0]?.chargeId ?? "", event: gaussian(9) }));
	});

	it("what-if questions leave no trace, not even in the last bits of what is stated", () => {
		// Enough charges that summing them up afresh, in groups, would round otherwise.
		for (let round = 0; round < 8; round++) charge(request(round, { event: gaussian(20 + (round % 3)) }));
		const before = ledger.spent("patients").epsilon;
		const costs = [{ partition: "train" as const, event: selfComposed(event, 4), extraDelta: 1e-20 }];
		expect(ledger.affords("patients", costs)).toBe(true);
		expect(ledger.spent("patients").epsilon).toBe(before);
		// Refused: what was spent is stated in the error, by asking without the charge that failed.
		expect(() => charge(request(8, { event: gaussian(0.1) }))).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ limit: 3 }) }),
		);
		expect(ledger.spent("patients").epsilon).toBeCloseTo(before, 12);
	});

	it("takes the larger of the two disjoint partitions", () => {
		charge(request(0));
		const train = ledger.spent("patients").epsilon;
		charge(request(0, { partition: "heldOut", event: gaussian(20) }));
		expect(ledger.spent("patients").epsilon).toBe(train);
		charge(request(1, { partition: "heldOut", event: gaussian(2.5) }));
		expect(ledger.spent("patients").epsilon).toBeCloseTo(stated(gaussian(2.5), gaussian(20)), 9);
	});

	it("charges a retry of the same update once, another update of the round again", () => {
		const entry = charge(request(0));
		const once = ledger.spent("patients").epsilon;
		expect(charge(request(0)).record).toEqual(entry.record);
		ledger.apply(entry);
		charge(request(0, { attempt: 1 }));
		expect(ledger.spent("patients").epsilon).toBe(once);
		charge(request(0, { chargeId: "fresh noise" }));
		expect(ledger.spent("patients").epsilon).toBeGreaterThan(once);
	});

	it("refunds only when every attempt is dead, and never after finalisation", () => {
		const { chargeId } = request(0);
		charge(request(0));
		charge(request(0, { attempt: 1 }));
		const once = ledger.spent("patients").epsilon;
		ledger.apply(ledger.refund(chargeId, 0, stamp));
		expect(ledger.spent("patients").epsilon).toBe(once);
		expect(() => charge(request(0))).toThrow(expect.objectContaining({ code: "budget.dead_attempt" }));
		ledger.apply(ledger.refund(chargeId, 1, stamp));
		expect(ledger.spent("patients").epsilon).toBe(0);
		expect(ledger.history()).toMatchObject([{ state: "refunded", deadAttempts: [0, 1] }]);
		charge(request(0, { attempt: 2 }));
		expect(ledger.spent("patients").epsilon).toBe(once);
		ledger.apply(ledger.finalise(chargeId, stamp));
		expect(() => ledger.refund(chargeId, 2, stamp)).toThrow(
			expect.objectContaining({ code: "budget.final" }),
		);
		ledger.apply({ ...stamp, record: { type: "refund", chargeId, attempt: 2, proof: "dead" } });
		expect(ledger.spent("patients").epsilon).toBe(once);
		expect(ledger.history()).toMatchObject([{ state: "released", liveAttempts: [2] }]);
	});

	it("keeps a dead attempt dead when its charge is replayed, and spends it all the same once certified", () => {
		const entry = charge(request(0));
		const { chargeId } = request(0);
		const once = ledger.spent("patients").epsilon;
		ledger.apply(ledger.refund(chargeId, 0, stamp));
		ledger.apply(entry);
		expect(ledger.spent("patients").epsilon).toBe(0);
		// A certificate for a round called dead is a contradiction: the ledger errs towards spent.
		ledger.apply(ledger.finalise(chargeId, stamp));
		expect(ledger.spent("patients").epsilon).toBe(once);
	});

	it("refuses a reused id, an unknown account or charge, and malformed records", () => {
		const { chargeId } = request(0);
		charge(request(0));
		expect(() => charge(request(1, { chargeId }))).toThrow(
			expect.objectContaining({ code: "budget.conflict" }),
		);
		expect(() => charge(request(1, { dataset: "other" }))).toThrow(
			expect.objectContaining({ code: "budget.not_found" }),
		);
		for (const unknown of [
			() => ledger.refund("none", 0, stamp),
			() => ledger.refund(chargeId, 9, stamp),
			() => ledger.finalise("none", stamp),
		]) {
			expect(unknown).toThrow(expect.objectContaining({ code: "budget.unknown_charge" }));
		}
		const badCharge = { ...stamp, record: { ...request(0), type: "charge", extraDelta: -1 } };
		for (const bad of [{ ...stamp, record: { type: "gift" } }, badCharge, { by: "x" }, null]) {
			expect(() => ledger.apply(bad)).toThrow(expect.objectContaining({ code: "budget.bad_record" }));
		}
		expect(() => ledger.prepareChange({ ...open, account: "x", epsilonLimit: -1 }, stamp)).toThrow(
			expect.objectContaining({ code: "budget.bad_record" }),
		);
	});

	it("counts extra delta against the part of delta that the filter keeps for it", () => {
		expect(() => charge(request(0, { extraDelta: 2 * filter.slackLimit }))).toThrow(
			expect.objectContaining({ code: "budget.exceeded" }),
		);
		charge(request(0, { extraDelta: 0.9 * filter.slackLimit }));
		expect(ledger.spent("patients").epsilon).toBeCloseTo(stated(event), 9);
		expect(() => charge(request(1, { extraDelta: 0.9 * filter.slackLimit }))).toThrow(
			expect.objectContaining({
				code: "budget.exceeded",
				message: expect.stringContaining("to delta directly no longer fits delta 0.00001"),
			}),
		);
	});
});

/** What a daemon may do, in any order. */
const anyAction = fc.record({
	kind: fc.constantFrom("charge", "refund", "finalise"),
	round: fc.integer({ min: 0, max: 4 }),
	attempt: fc.integer({ min: 0, max: 2 }),
	partition: fc.constantFrom("train" as const, "heldOut" as const),
	z: fc.constantFrom(1, 2, 5),
});

describe("rebuilding from the journal", () => {
	it("gives the same state from any prefix, twice over, through the encoding; a crash never frees what may be out", () => {
		fc.assert(
			fc.property(fc.array(anyAction, { maxLength: 25 }), fc.nat(), (actions, cut) => {
				const live = new BudgetLedger();
				const journal: LedgerEntry[] = [live.prepareChange(open, stamp)];
				const write = (entry: LedgerEntry): void => {
					journal.push(entry);
					live.apply(entry);
				};
				for (const { kind, round, attempt, partition, z } of actions) {
					const chargeId = `${partition}/${round}/${z}`;
					try {
						if (kind === "charge") {
							const one = request(round, {
								partition,
								attempt,
								chargeId,
								event: poissonSampled(0.2, gaussian(z)),
							});
							journal.push(...live.prepareCharges([one], stamp));
						} else if (kind === "refund") write(live.refund(chargeId, attempt, stamp));
						else write(live.finalise(chargeId, stamp));
					} catch (error) {
						expect((error as { code: string }).code).toMatch(/^budget\./);
					}
				}
				const state = (one: BudgetLedger) => {
					const { epsilon, delta } = one.spent("patients");
					const charges = one.history().map(({ chargeId, state: at, liveAttempts, deadAttempts }) => {
						return { chargeId, at, live: [...liveAttempts].sort(), dead: [...deadAttempts].sort() };
					});
					return { epsilon: epsilon.toPrecision(12), delta, charges };
				};
				expect(live.spent("patients").epsilon).toBeLessThanOrEqual(limits.epsilonLimit);

				const decoded = journal.map((entry) => decodeCanonical(encodeCanonical(entry as never)));
				expect(state(BudgetLedger.fromEntries(decoded))).toEqual(state(live));
				const twice = [...decoded, ...decoded.slice(1)];
				expect(state(BudgetLedger.fromEntries(twice))).toEqual(state(live));

				// A crash after `kept` records: replaying the rest arrives at the same state.
				const kept = 1 + (cut % journal.length);
				const recovered = BudgetLedger.fromEntries(decoded.slice(0, kept));
				for (const entry of decoded.slice(kept)) recovered.apply(entry);
				expect(state(recovered)).toEqual(state(live));

				// Crash between journal and release: whatever was journalled as charged is never cheaper after it.
				const charges = decoded
					.slice(0, kept)
					.filter((entry) => (entry as unknown as LedgerEntry).record.type !== "refund");
				const withoutRefunds = BudgetLedger.fromEntries(charges).spent("patients").epsilon;
				expect(withoutRefunds).toBeGreaterThanOrEqual(
					BudgetLedger.fromEntries(decoded.slice(0, kept)).spent("patients").epsilon * (1 - 1e-12),
				);
			}),
			{ numRuns: 60 },
		);
	});
});
