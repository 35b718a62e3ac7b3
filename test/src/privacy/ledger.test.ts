import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { decodeCanonical, encodeCanonical } from "../../../crypto/encoding.ts";
import { gaussian, poissonSampled, selfComposed } from "../../../src/privacy/accounting/events.ts";
import { epsilonOf } from "../../../src/privacy/accounting/rdp.ts";
import { BudgetLedger, type ChargeRequest } from "../../../src/privacy/budget/ledger.ts";
import type { LedgerRecord } from "../../../src/privacy/budget/records.ts";

const event = poissonSampled(0.05, gaussian(1.5));
const limits = { epsilonLimit: 3, deltaLimit: 1e-5 };

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
	ledger.apply(ledger.prepareAccount("patients", limits));
});

describe("BudgetLedger", () => {
	it("composes rounds by the accountant, not by adding epsilons", () => {
		expect(ledger.spent("patients")).toEqual({ epsilon: 0, delta: 0, perJob: new Map() });
		for (let round = 0; round < 10; round++) ledger.apply(ledger.prepareCharge(request(round)));
		const { epsilon, delta, perJob } = ledger.spent("patients");
		expect(epsilon).toBe(epsilonOf(selfComposed(event, 10), 1e-5 - 1e-19));
		expect(epsilon).toBeLessThan(10 * epsilonOf(event, 1e-5));
		expect(delta).toBe(1e-5);
		expect(perJob).toEqual(new Map([["job-1", epsilon]]));
		expect(ledger.remaining("patients").epsilon).toBeCloseTo(3 - epsilon, 12);
	});

	it("refuses the first round over the limit, says the figures, and charges nothing for it", () => {
		let round = 0;
		const exhaust = (): void => {
			for (; round < 1000; round++) ledger.apply(ledger.prepareCharge(request(round)));
		};
		expect(exhaust).toThrow(expect.objectContaining({ code: "budget.exceeded" }));
		const before = ledger.spent("patients").epsilon;
		expect(round).toBeGreaterThan(5);
		expect(before).toBeLessThanOrEqual(3);
		expect(epsilonOf(selfComposed(event, round + 1), 1e-5)).toBeGreaterThan(3);
		try {
			ledger.prepareCharge(request(round));
			expect.unreachable();
		} catch (error) {
			expect(error).toMatchObject({ facts: { spent: before, limit: 3, dataset: "patients", round } });
			expect((error as Error).message).toMatch(/spent epsilon .* asked .* limit 3/);
		}
		expect(ledger.spent("patients").epsilon).toBe(before);
		expect(ledger.affords("patients", "train", event, 0)).toBe(false);
		expect(ledger.affords("patients", "heldOut", event, 0)).toBe(true);
	});

	it("holds a charge from prepare on, so two charges under way cannot share the last of the budget", () => {
		const big = gaussian(1.8);
		expect(ledger.affords("patients", "train", big, 0)).toBe(true);
		ledger.prepareCharge(request(0, { event: big }));
		expect(() => ledger.prepareCharge(request(1, { event: big }))).toThrow(
			expect.objectContaining({ code: "budget.exceeded" }),
		);
	});

	it("takes the larger of the two disjoint partitions", () => {
		ledger.prepareCharge(request(0));
		const train = ledger.spent("patients").epsilon;
		ledger.prepareCharge(request(0, { partition: "heldOut", event: gaussian(20) }));
		expect(ledger.spent("patients").epsilon).toBe(train);
		ledger.prepareCharge(request(1, { partition: "heldOut", event: gaussian(2.5) }));
		expect(ledger.spent("patients").epsilon).toBe(
			epsilonOf({ kind: "composed", events: [gaussian(2.5), gaussian(20)] }, 1e-5 - 2e-20),
		);
	});

	it("charges a retry of the same update once, another update of the round again", () => {
		const record = ledger.prepareCharge(request(0));
		const once = ledger.spent("patients").epsilon;
		expect(ledger.prepareCharge(request(0))).toEqual(record);
		ledger.apply(record);
		ledger.apply(ledger.prepareCharge(request(0, { attempt: 1 })));
		expect(ledger.spent("patients").epsilon).toBe(once);
		ledger.prepareCharge(request(0, { chargeId: "fresh noise" }));
		expect(ledger.spent("patients").epsilon).toBeGreaterThan(once);
	});

	it("refunds only when every attempt is dead, and never after finalisation", () => {
		const { chargeId } = ledger.prepareCharge(request(0));
		ledger.prepareCharge(request(0, { attempt: 1 }));
		const once = ledger.spent("patients").epsilon;
		ledger.apply(ledger.refund(chargeId, 0, "dead"));
		expect(ledger.spent("patients").epsilon).toBe(once);
		expect(() => ledger.prepareCharge(request(0))).toThrow(
			expect.objectContaining({ code: "budget.dead_attempt" }),
		);
		ledger.apply(ledger.refund(chargeId, 1, "dead"));
		expect(ledger.spent("patients").epsilon).toBe(0);
		ledger.apply(ledger.prepareCharge(request(0, { attempt: 2 })));
		expect(ledger.spent("patients").epsilon).toBe(once);
		ledger.apply(ledger.finalise(chargeId));
		expect(() => ledger.refund(chargeId, 2, "dead")).toThrow(
			expect.objectContaining({ code: "budget.final" }),
		);
		ledger.apply({ type: "refund", chargeId, attempt: 2, proof: "dead" });
		expect(ledger.spent("patients").epsilon).toBe(once);
	});

	it("keeps a dead attempt dead when its charge is replayed, and spends it all the same once certified", () => {
		const record = ledger.prepareCharge(request(0));
		const once = ledger.spent("patients").epsilon;
		ledger.apply(ledger.refund(record.chargeId, 0, "dead"));
		ledger.apply(record);
		expect(ledger.spent("patients").epsilon).toBe(0);
		// A certificate for a round called dead is a contradiction: the ledger errs towards spent.
		ledger.apply(ledger.finalise(record.chargeId));
		expect(ledger.spent("patients").epsilon).toBe(once);
	});

	it("refuses a reused id, an unknown account or charge, and malformed records", () => {
		const { chargeId } = ledger.prepareCharge(request(0));
		expect(() => ledger.prepareCharge(request(1, { chargeId }))).toThrow(
			expect.objectContaining({ code: "budget.conflict" }),
		);
		expect(() => ledger.prepareCharge(request(1, { dataset: "other" }))).toThrow(
			expect.objectContaining({ code: "budget.no_account" }),
		);
		for (const unknown of [
			() => ledger.refund("none", 0, "dead"),
			() => ledger.refund(chargeId, 9, "dead"),
			() => ledger.finalise("none"),
		]) {
			expect(unknown).toThrow(expect.objectContaining({ code: "budget.unknown_charge" }));
		}
		for (const bad of [{ type: "gift" }, { ...request(0), type: "charge", extraDelta: -1 }, null]) {
			expect(() => ledger.apply(bad)).toThrow(expect.objectContaining({ code: "budget.bad_record" }));
		}
		expect(() => ledger.prepareAccount("x", { epsilonLimit: -1, deltaLimit: 0.1 })).toThrow(
			expect.objectContaining({ code: "budget.bad_record" }),
		);
	});

	it("counts extra delta: once it reaches the limit no epsilon is left to state", () => {
		expect(() => ledger.prepareCharge(request(0, { extraDelta: 1e-5 }))).toThrow(
			expect.objectContaining({ code: "budget.exceeded" }),
		);
		ledger.prepareCharge(request(0, { extraDelta: 9e-6 }));
		expect(ledger.spent("patients").epsilon).toBe(epsilonOf(event, 1e-5 - 9e-6));
		expect(ledger.remaining("patients").delta).toBeCloseTo(1e-6, 12);
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
				const journal: LedgerRecord[] = [];
				/** Charges whose vector left: they must be in every rebuilt ledger until proven dead. */
				const write = (record: LedgerRecord): void => {
					journal.push(record);
					live.apply(record);
				};
				write(live.prepareAccount("patients", limits));
				for (const { kind, round, attempt, partition, z } of actions) {
					const id = `${partition}/${round}/${z}`;
					try {
						if (kind === "charge") {
							write(
								live.prepareCharge(
									request(round, {
										partition,
										attempt,
										chargeId: id,
										event: poissonSampled(0.2, gaussian(z)),
									}),
								),
							);
						} else if (kind === "refund") write(live.refund(id, attempt, "dead"));
						else write(live.finalise(id));
					} catch (error) {
						expect((error as { code: string }).code).toMatch(/^budget\./);
					}
				}
				expect(live.spent("patients").epsilon).toBeLessThanOrEqual(limits.epsilonLimit);

				const decoded = journal.map((record) => decodeCanonical(encodeCanonical(record as never)));
				expect(BudgetLedger.fromRecords(decoded).spent("patients")).toEqual(live.spent("patients"));
				expect(BudgetLedger.fromRecords([...decoded, ...decoded]).spent("patients")).toEqual(
					live.spent("patients"),
				);

				// A crash after `kept` records: replaying the rest arrives at the same state.
				const kept = 1 + (cut % journal.length);
				const recovered = BudgetLedger.fromRecords(decoded.slice(0, kept));
				for (const record of decoded.slice(kept)) recovered.apply(record);
				expect(recovered.spent("patients")).toEqual(live.spent("patients"));

				// Crash between journal and release: whatever was journalled as charged is never cheaper after it.
				const charges = decoded.slice(0, kept).filter((record) => (record as LedgerRecord).type !== "refund");
				const withoutRefunds = BudgetLedger.fromRecords(charges).spent("patients").epsilon;
				expect(withoutRefunds).toBeGreaterThanOrEqual(
					BudgetLedger.fromRecords(decoded.slice(0, kept)).spent("patients").epsilon,
				);
			}),
			{ numRuns: 60 },
		);
	});
});
