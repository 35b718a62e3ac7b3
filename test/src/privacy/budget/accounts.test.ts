import { beforeEach, describe, expect, it } from "vitest";
import { gaussian, poissonSampled } from "../../../../src/privacy/accounting/events.ts";
import { epsilonOf } from "../../../../src/privacy/accounting/rdp.ts";
import type { ChangeRecord } from "../../../../src/privacy/budget/changes.ts";
import type { ChargeRequest } from "../../../../src/privacy/budget/charges.ts";
import { BudgetLedger } from "../../../../src/privacy/budget/ledger.ts";
import type { AccountKind, LedgerEntry, OpenRecord } from "../../../../src/privacy/budget/records.ts";

const event = poissonSampled(0.05, gaussian(1.5));
let ledger: BudgetLedger;
let journal: LedgerEntry[];
let now: string;
let charges: number;

beforeEach(() => {
	ledger = new BudgetLedger();
	journal = [];
	now = "2026-01-01T00:00:00.000Z";
	charges = 0;
});

const stamp = () => ({ at: now, by: "officer" });
const change = (record: ChangeRecord): void => void journal.push(ledger.prepareChange(record, stamp()));

function open(account: string, kind: AccountKind, more: Partial<OpenRecord> = {}): void {
	change({
		type: "open",
		account,
		kind,
		epsilonLimit: 8,
		deltaLimit: 1e-5,
		composition: "adaptive",
		children: "sequential",
		...more,
	});
}

function charge(dataset: string, more: Partial<ChargeRequest> = {}): string {
	const chargeId = `charge-${charges++}`;
	const request: ChargeRequest = {
		dataset,
		partition: "train",
		jobId: "job-1",
		round: charges,
		chargeId,
		attempt: 0,
		event,
		extraDelta: 0,
		...more,
	};
	journal.push(...ledger.prepareCharges([request], stamp()));
	return chargeId;
}

const spent = (account: string) => ledger.spent(account).epsilon;
const code = (reason: string) => expect.objectContaining({ code: `budget.${reason}` });

/** Every test ends by replaying what it journalled: the same ledger must come of it. */
function expectReplayed(): void {
	const replayed = BudgetLedger.fromEntries(journal.map((entry) => JSON.parse(JSON.stringify(entry))));
	const figures = (one: BudgetLedger) =>
		one.accounts().map(({ id, limits, frozen, expiresAt, parent, period, delegated }) => ({
			id,
			limits,
			frozen,
			expiresAt,
			parent,
			delegated,
			period: period.number,
			spent: one.spent(id).epsilon.toPrecision(11),
			lifetime: one.lifetimeEpsilon(id).toPrecision(11),
		}));
	expect(figures(replayed)).toEqual(figures(ledger));
}

describe("a tree of accounts", () => {
	beforeEach(() => {
		open("share", "federation");
		open("clinic", "organization", { parent: "share" });
		open("cardiology", "unit", { parent: "clinic", epsilonLimit: 4 });
		open("hearts", "dataset", { parent: "cardiology" });
		open("scans", "dataset", { parent: "cardiology" });
		open("bones", "dataset", { parent: "clinic" });
	});

	it("charges every account above, sequentially over data sets that may hold the same person", () => {
		charge("hearts");
		charge("scans");
		charge("bones");
		expect(spent("hearts")).toBe(spent("scans"));
		// Two events, from either side: the same composition, up to the rounding of sums.
		charge("bones");
		expect(spent("cardiology")).toBeGreaterThan(spent("hearts"));
		expect(spent("clinic")).toBeGreaterThan(spent("cardiology"));
		expect(spent("share")).toBeCloseTo(spent("clinic"), 12);
		expectReplayed();
	});

	it("refuses by whichever account is exhausted first, naming it", () => {
		const exhaust = () => {
			for (;;) charge("hearts");
		};
		expect(exhaust).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ account: "cardiology" }) }),
		);
		expect(spent("cardiology")).toBeLessThanOrEqual(4);
		expect(() => charge("scans", { event: gaussian(1) })).toThrow(code("exceeded"));
		charge("bones");
		expectReplayed();
	});

	it("bounds people whose records are in different parts of different data sets", () => {
		charge("hearts", { partition: "train" });
		charge("scans", { partition: "heldOut" });
		const mixed = spent("clinic");
		// One trained on in hearts and held out in scans has lost as much as one charged twice.
		charge("bones");
		charge("bones");
		expect(mixed).toBeCloseTo(spent("bones"), 9);
		expectReplayed();
	});

	it("takes a refund back from every account, exactly", () => {
		charge("hearts");
		const before = ["hearts", "cardiology", "clinic", "share"].map(spent);
		const id = charge("hearts", { event: gaussian(2) });
		expect(spent("share")).toBeGreaterThan(before[3] ?? 0);
		const entry = ledger.refund(id, 0, stamp());
		ledger.apply(entry);
		journal.push(entry);
		expect(["hearts", "cardiology", "clinic", "share"].map(spent)).toEqual(before);
		expectReplayed();
	});

	it("keeps kinds in their order and refuses loops, duplicates and accounts nowhere", () => {
		expect(() => open("x", "organization", { parent: "hearts" })).toThrow(code("bad_place"));
		expect(() => open("x", "job", { parent: "clinic" })).toThrow(code("bad_place"));
		expect(() => open("x", "unit", { parent: "nowhere" })).toThrow(code("not_found"));
		expect(() => open("x", "unit", { composition: "planned" })).toThrow(code("bad_place"));
		expect(() => open("clinic", "unit")).toThrow(code("account_exists"));
		open("ward", "unit", { parent: "cardiology" });
		expect(() => change({ type: "place", account: "cardiology", parent: "ward" })).toThrow(code("bad_place"));
		expectReplayed();
	});

	it("holds a job to a limit of its own", () => {
		open("job-7", "job", { parent: "hearts", epsilonLimit: 1 });
		const exhaust = () => {
			for (;;) charge("hearts", { jobId: "job-7" });
		};
		expect(exhaust).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ account: "job-7" }) }),
		);
		charge("hearts", { jobId: "job-8" });
		expect(spent("hearts")).toBeGreaterThan(spent("job-7"));
		expectReplayed();
	});

	it("lets only the records of data sets be charged for", () => {
		expect(() => charge("cardiology")).toThrow(code("not_found"));
		expect(() => open("x", "job", { parent: "hearts", renewEveryDays: 30 })).toThrow(code("bad_place"));
		expect(() => change({ type: "renew", account: "job-1" })).toThrow(code("not_found"));
	});

	it("states one job alone, by part, whatever else the data set was charged", () => {
		const delta = 1e-6;
		charge("hearts", { jobId: "job-7" });
		const before = ledger.jobSpent("hearts", "job-7", delta);
		expect(before.train.epsilon).toBeCloseTo(epsilonOf(event, delta), 9);
		expect(before.heldOut.epsilon).toBe(0);
		charge("hearts", { jobId: "job-8" });
		expect(ledger.jobSpent("hearts", "job-7", delta)).toEqual(before);
		const id = charge("hearts", { jobId: "job-7", partition: "heldOut", event: gaussian(3) });
		expect(ledger.jobSpent("hearts", "job-7", delta).heldOut.epsilon).toBeCloseTo(
			epsilonOf(gaussian(3), delta),
			9,
		);
		const entry = ledger.refund(id, 0, stamp());
		ledger.apply(entry);
		journal.push(entry);
		expect(ledger.jobSpent("hearts", "job-7", delta)).toEqual(before);
		const [question] = ledger.jobQuestions("hearts", "job-7", delta);
		if (question === undefined) throw new Error("there is nothing to ask about the job");
		ledger.learn(question, { epsilon: 0.01, method: "pld" });
		expect(ledger.jobSpent("hearts", "job-7", delta).train).toEqual({ epsilon: 0.01, method: "pld" });
		expectReplayed();
	});

	it("counts what a job had spent before its account was opened", () => {
		charge("hearts", { jobId: "job-7" });
		open("job-7", "job", { parent: "hearts" });
		expect(spent("job-7")).toBeCloseTo(spent("hearts"), 12);
		expectReplayed();
	});

	it("freezes a subtree, and lets it go on", () => {
		const id = charge("hearts");
		change({ type: "freeze", account: "clinic", reason: "inquiry" });
		expect(() => charge("hearts")).toThrow(
			expect.objectContaining({ message: expect.stringContaining("inquiry") }),
		);
		// A retry is a release, too.
		expect(() => charge("hearts", { chargeId: id, attempt: 1 })).toThrow(code("frozen"));
		change({ type: "unfreeze", account: "clinic" });
		charge("hearts");
		expectReplayed();
	});

	it("lets nothing be charged after an expiry", () => {
		change({ type: "expire", account: "clinic", expiresAt: "2026-06-01T00:00:00.000Z" });
		charge("hearts");
		now = "2026-06-01T00:00:00.000Z";
		expect(() => charge("hearts")).toThrow(code("expired"));
		change({ type: "expire", account: "clinic", expiresAt: "2027-06-01T00:00:00.000Z" });
		charge("hearts");
		expectReplayed();
	});

	it("limits what one analyst may spend, and nobody else by it", () => {
		charge("hearts", { analyst: "ann" });
		change({ type: "analyst", account: "clinic", analyst: "ann", epsilonLimit: 1.5 });
		// What was charged before the limit counts.
		expect(ledger.analystEpsilon("clinic", "ann")).toBeGreaterThan(0.5);
		const exhaust = (analyst: string) => () => {
			for (;;) charge("hearts", { analyst });
		};
		expect(exhaust("ann")).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ analyst: "ann" }) }),
		);
		charge("scans", { analyst: "bob" });
		charge("scans");
		expect(() => charge("bones", { analyst: "ann" })).toThrow(code("exceeded"));
		const costs = [{ partition: "train" as const, event, extraDelta: 0 }];
		expect(ledger.affords("bones", costs, { analyst: "ann" })).toBe(false);
		expect(ledger.affords("bones", costs, { analyst: "bob" })).toBe(true);
		change({ type: "analyst", account: "clinic", analyst: "ann" });
		charge("bones", { analyst: "ann" });
		expectReplayed();
	});

	it("places an account with all that it has spent, and leaves a charged one where it is", () => {
		open("alone", "dataset");
		charge("alone");
		const before = spent("clinic");
		change({ type: "place", account: "alone", parent: "clinic" });
		expect(spent("clinic")).toBeGreaterThan(before);
		expect(spent("clinic")).toBeCloseTo(spent("alone"), 12);
		charge("alone");
		expect(spent("share")).toBeCloseTo(spent("alone"), 9);
		expect(() => change({ type: "place", account: "alone", parent: "cardiology" })).toThrow(code("in_use"));
		expectReplayed();
	});

	it("sets limits no lower than what is spent", () => {
		charge("hearts", { event: gaussian(2) });
		expect(() => change({ type: "limits", account: "hearts", epsilonLimit: 0.5, deltaLimit: 1e-5 })).toThrow(
			code("below_spent"),
		);
		change({ type: "limits", account: "hearts", epsilonLimit: 6, deltaLimit: 1e-5 });
		expect(ledger.account("hearts")?.limits).toEqual({ epsilon: 6, delta: 1e-5 });
		expectReplayed();
	});
});

describe("accounts whose children are declared disjoint", () => {
	beforeEach(() => {
		open("clinic", "organization", { children: "disjoint" });
		open("north", "unit", { parent: "clinic" });
		open("south", "unit", { parent: "clinic" });
		open("n1", "dataset", { parent: "north" });
		open("n2", "dataset", { parent: "north" });
		open("s1", "dataset", { parent: "south" });
	});

	it("state the worst of them, not their sum", () => {
		charge("n1");
		charge("n2");
		charge("s1");
		expect(spent("clinic")).toBeCloseTo(spent("north"), 12);
		for (let i = 0; i < 5; i++) charge("s1");
		expect(spent("clinic")).toBeCloseTo(spent("south"), 12);
		expectReplayed();
	});

	it("are added up by whatever is above, each person once", () => {
		open("share", "federation");
		change({ type: "place", account: "clinic", parent: "share" });
		open("other", "dataset", { parent: "share" });
		charge("n1");
		charge("s1");
		charge("other");
		charge("n2", { event: gaussian(30) });
		// North is the worse everywhere; with the other data set that makes three events for one person.
		open("check", "dataset");
		charge("check");
		charge("check");
		charge("check", { event: gaussian(30) });
		expect(spent("share")).toBeCloseTo(spent("check"), 9);
		expectReplayed();
	});
});

describe("delegation and transfer", () => {
	beforeEach(() => {
		open("clinic", "organization", { epsilonLimit: 3 });
		open("a", "dataset", { parent: "clinic" });
		open("b", "dataset", { parent: "clinic" });
		open("c", "dataset", { parent: "clinic" });
	});

	it("sets a part aside: the rest can no longer be spent on others, and the part only below", () => {
		change({ type: "delegate", account: "a", epsilon: 1, delta: 2e-6 });
		change({ type: "delegate", account: "b", epsilon: 1, delta: 2e-6 });
		expect(ledger.remaining("clinic").epsilon).toBeCloseTo(1, 12);
		expect(ledger.spent("clinic").delegated.delta).toBeCloseTo(4e-6, 18);
		const exhaust = (dataset: string) => () => {
			for (;;) charge(dataset);
		};
		expect(exhaust("c")).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ account: "clinic" }) }),
		);
		expect(exhaust("a")).toThrow(
			expect.objectContaining({ facts: expect.objectContaining({ account: "a" }) }),
		);
		// What is charged below a delegated account counts against what was set aside, once.
		const left = ledger.remaining("clinic").epsilon;
		charge("b");
		expect(ledger.remaining("clinic").epsilon).toBe(left);
		// And over all it is still below the organization's limit by basic composition.
		expect(spent("clinic") + 2).toBeLessThanOrEqual(3);
		expect(ledger.lifetimeEpsilon("clinic")).toBeGreaterThan(spent("clinic"));
		expectReplayed();
	});

	it("refuses to set aside more than there is, what is spent included", () => {
		charge("c", { event: gaussian(4) });
		expect(() => change({ type: "delegate", account: "a", epsilon: 2.5, delta: 1e-6 })).toThrow(
			code("exceeded"),
		);
		change({ type: "delegate", account: "a", epsilon: 1, delta: 1e-6 });
		expect(() => change({ type: "delegate", account: "c", epsilon: 1, delta: 1e-6 })).toThrow(code("in_use"));
		expect(() => change({ type: "delegate", account: "clinic", epsilon: 1, delta: 1e-6 })).toThrow(
			code("bad_place"),
		);
		expect(() => change({ type: "limits", account: "a", epsilonLimit: 2, deltaLimit: 1e-6 })).toThrow(
			code("delegated"),
		);
		expect(() => change({ type: "limits", account: "clinic", epsilonLimit: 1.5, deltaLimit: 1e-5 })).toThrow(
			code("below_spent"),
		);
		expectReplayed();
	});

	it("takes decimals as they are typed: three tenths are three times a tenth", () => {
		change({ type: "limits", account: "clinic", epsilonLimit: 0.3, deltaLimit: 3e-6 });
		for (const account of ["a", "b", "c"]) change({ type: "delegate", account, epsilon: 0.1, delta: 1e-6 });
		expect(() => change({ type: "delegate", account: "c", epsilon: 0.1001, delta: 1e-6 })).toThrow(
			code("exceeded"),
		);
		expectReplayed();
	});

	it("below disjoint accounts sets aside up to the whole for each, and never more", () => {
		open("country", "organization", { epsilonLimit: 3, children: "disjoint" });
		for (const account of ["x", "y"]) {
			open(account, "unit", { parent: "country" });
			change({ type: "delegate", account, epsilon: 2, delta: 1e-6 });
		}
		expect(ledger.remaining("country").epsilon).toBe(3);
		expect(() => change({ type: "delegate", account: "x", epsilon: 3.5, delta: 1e-6 })).toThrow(
			code("exceeded"),
		);
		expect(() => change({ type: "transfer", from: "x", to: "y", epsilon: 1.5, delta: 0 })).toThrow(
			code("exceeded"),
		);
		change({ type: "transfer", from: "x", to: "y", epsilon: 0.5, delta: 0 });
		expectReplayed();
	});

	it("moves limits between siblings, never below what is spent", () => {
		change({ type: "delegate", account: "a", epsilon: 1, delta: 2e-6 });
		change({ type: "delegate", account: "b", epsilon: 1, delta: 2e-6 });
		charge("a", { event: gaussian(10) });
		change({ type: "transfer", from: "a", to: "b", epsilon: 0.2, delta: 0 });
		expect([ledger.account("a")?.limits.epsilon, ledger.account("b")?.limits.epsilon]).toEqual([0.8, 1.2]);
		expect(() => change({ type: "transfer", from: "a", to: "b", epsilon: 0.5, delta: 0 })).toThrow(
			code("below_spent"),
		);
		expect(() => change({ type: "transfer", from: "a", to: "c", epsilon: 0.1, delta: 0 })).toThrow(
			code("bad_transfer"),
		);
		expect(() => change({ type: "transfer", from: "a", to: "a", epsilon: 0.1, delta: 0 })).toThrow(
			code("bad_transfer"),
		);
		expectReplayed();
	});
});

describe("renewal", () => {
	it("counts a period's limits anew; the lifetime figure and the accounts above go on", () => {
		open("clinic", "organization");
		open("a", "dataset", { parent: "clinic", epsilonLimit: 1 });
		charge("a");
		const [own, above] = [spent("a"), spent("clinic")];
		now = "2027-01-01T00:00:00.000Z";
		change({ type: "renew", account: "a" });
		expect(spent("a")).toBe(0);
		expect(ledger.account("a")?.period).toMatchObject({ number: 1, startedAt: now });
		expect(spent("clinic")).toBe(above);
		charge("a");
		expect(spent("a")).toBeCloseTo(own, 12);
		expect(ledger.lifetimeEpsilon("a")).toBeGreaterThan(own);
		expect(spent("clinic")).toBeGreaterThan(above);
		expectReplayed();
	});

	it("does not let a refund of an old period's charge free anything of the new one", () => {
		open("a", "dataset");
		const old = charge("a");
		change({ type: "renew", account: "a" });
		charge("a");
		const present = spent("a");
		const entry = ledger.refund(old, 0, stamp());
		ledger.apply(entry);
		journal.push(entry);
		expect(spent("a")).toBe(present);
		// Charged again, it is a charge of the new period.
		charge("a", { chargeId: old, attempt: 1, round: 1 });
		expect(spent("a")).toBeGreaterThan(present);
		expectReplayed();
	});

	it("is due by itself when a period has ended, the widest account first", () => {
		open("clinic", "organization", { renewEveryDays: 365 });
		open("a", "dataset", { parent: "clinic", renewEveryDays: 30 });
		expect(ledger.dueRenewals("a", "2026-01-30T23:59:59.000Z")).toEqual([]);
		expect(ledger.dueRenewals("a", "2026-02-01T00:00:00.000Z")).toEqual(["a"]);
		expect(ledger.dueRenewals("a", "2027-02-01T00:00:00.000Z")).toEqual(["clinic", "a"]);
	});

	it("of a delegated account needs as much set aside once more; of the parent, frees the old", () => {
		open("clinic", "organization", { epsilonLimit: 2.5 });
		open("a", "dataset", { parent: "clinic" });
		change({ type: "delegate", account: "a", epsilon: 1, delta: 1e-6 });
		charge("a");
		change({ type: "renew", account: "a" });
		expect(ledger.spent("clinic").delegated.epsilon).toBe(2);
		expect(() => change({ type: "renew", account: "a" })).toThrow(code("exceeded"));
		change({ type: "renew", account: "clinic" });
		expect(ledger.spent("clinic").delegated.epsilon).toBe(1);
		change({ type: "renew", account: "a" });
		expectReplayed();
	});
});

describe("planned composition", () => {
	const answer = { epsilon: 2.9, method: "pld" };

	it("asks the tight accountant only where the Renyi bound refuses, and takes its word", () => {
		open("a", "dataset", { composition: "planned", epsilonLimit: 3 });
		const request = (chargeId: string): ChargeRequest => ({
			dataset: "a",
			partition: "train",
			jobId: "j",
			round: 0,
			chargeId,
			attempt: 0,
			event: gaussian(1.4),
			extraDelta: 0,
		});
		expect(ledger.tightQuestions([request("small")].map((one) => ({ ...one, event: gaussian(4) })))).toEqual(
			[],
		);
		const [question] = ledger.tightQuestions([request("big")]);
		expect(question?.delta).toBe(1e-5);
		if (question === undefined) return;
		ledger.learn(question, answer);
		expect(ledger.tightQuestions([request("big")])).toEqual([]);
		journal.push(...ledger.prepareCharges([request("big")], stamp()));
		expect(ledger.spent("a")).toMatchObject(answer);
	});

	it("refuses what even the tight accountant does not let pass", () => {
		open("a", "dataset", { composition: "planned", epsilonLimit: 1 });
		expect(() => charge("a", { event: gaussian(1) })).toThrow(code("exceeded"));
		expect(spent("a")).toBe(0);
	});

	it("is tighter than the filter, which must hold for any choice", () => {
		open("a", "dataset", { composition: "planned" });
		open("b", "dataset");
		for (const dataset of ["a", "b"]) for (let i = 0; i < 20; i++) charge(dataset);
		expect(spent("a")).toBeLessThan(spent("b"));
		expectReplayed();
	});
});
