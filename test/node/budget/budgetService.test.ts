import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BudgetOffice } from "../../../node/budget/budgetService.ts";
import { Budgets } from "../../../node/budget/budgets.ts";
import { budget, budgetAccount, budgetAudit, budgetReport } from "../../../node/rpc/budgetSchemas.ts";
import type { CallContext } from "../../../node/rpc/services.ts";
import { openStore, type Store } from "../../../node/store/index.ts";
import { gaussian, poissonSampled } from "../../../src/privacy/accounting/events.ts";

const event = poissonSampled(0.1, gaussian(2));
const context: CallContext = {
	caller: { tokenId: "t1", tokenName: "ann", role: "privacy_officer" },
	signal: new AbortController().signal,
};
let directory: string;
let store: Store;
let budgets: Budgets;
let office: BudgetOffice;

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-office-"));
	store = await openStore({ directory, key: new Uint8Array(32).fill(3) });
	budgets = new Budgets({ journal: store.journal, records: [], defaults: { epsilon: 8, delta: 1e-5 } });
	office = new BudgetOffice({ budgets, store, self: "us" });
	await budgets.openAccount("patients");
});
afterEach(async () => {
	await store.close();
	await rm(directory, { recursive: true, force: true });
});

/** A question outside of rounds: charged, final, and, unless a crash came first, written down. */
async function asked(id: string, recorded = true): Promise<void> {
	const chargeId = `${id}/train`;
	await budgets.charge([
		{
			dataset: "patients",
			partition: "train",
			jobId: id,
			round: 0,
			attempt: 0,
			chargeId,
			event,
			extraDelta: 0,
			analyst: "ann",
		},
	]);
	await budgets.finalise(chargeId);
	if (!recorded) return;
	await store.mechanismExecutions.put(chargeId, {
		id: chargeId,
		budgetId: `patients/${id}`,
		mechanism: "gaussian",
		parameters: { event: { ...event, event: { ...event.event } } },
		epsilonConsumed: 0.5,
		deltaConsumed: 0,
		utilityMetrics: { error95: 3 },
		durationMs: 20,
		executedAt: "2026-01-02T03:04:05.000Z",
	});
}

describe("the budgets as the admin RPC sees them", () => {
	it("fit their schemas, for data sets, groups, and one account in detail", async () => {
		await office.open(
			{
				account: "clinic",
				kind: "organization",
				epsilon: 9,
				delta: 1e-5,
				composition: "adaptive",
				children: "sequential",
				renewEveryDays: 30,
			},
			context,
		);
		await office.place({ account: "patients", parent: "clinic" }, context);
		await office.limit({ account: "clinic", analyst: "ann", epsilon: 4 }, context);
		await asked("query-1");
		const tree = await office.tree();
		expect(tree.map((account) => budgetAccount.parse(account))).toEqual(tree);
		expect(tree.map(({ account, parent }) => [account, parent])).toEqual([
			["clinic", undefined],
			["patients", "clinic"],
		]);
		expect(tree[0]?.analysts[0]?.epsilonSpent).toBeGreaterThan(0);
		const [detail] = await office.show({ dataset: "patients" });
		expect(budget.parse(detail)).toEqual(detail);
		expect(detail?.epsilonPlanned).toBeLessThan(detail?.epsilonSpent ?? 0);
		expect(detail?.changes?.map(({ by }) => by)).toEqual(["node", "ann (t1)"]);
		expect(await office.show({})).toMatchObject([{ dataset: "patients" }]);
	});

	it("are written down with who changed them", async () => {
		await office.set({ dataset: "patients", epsilon: 6, delta: 1e-6 }, context);
		await office.freeze({ account: "patients", reason: "inquiry" }, context);
		await office.expire({ account: "patients", expiresAt: "2030-01-01T00:00:00.000Z" }, context);
		await office.unfreeze({ account: "patients" }, context);
		await office.renew({ account: "patients" }, context);
		const shown = await office.renew({ account: "patients" }, context);
		expect(shown).toMatchObject({ epsilon: 6, period: { number: 2 }, expiresAt: "2030-01-01T00:00:00.000Z" });
		expect(budgets.changesOf("patients").map(({ by, change }) => `${by} ${change.split(" ")[0]}`)).toEqual([
			"node open",
			"ann (t1) limits",
			"ann (t1) freeze",
			"ann (t1) expire",
			"ann (t1) unfreeze",
			"ann (t1) renew",
			"ann (t1) renew",
		]);
	});

	it("of an unknown account are not found, whatever is asked", async () => {
		const missing = { code: "budget.not_found" };
		await expect(office.show({ dataset: "x" })).rejects.toMatchObject(missing);
		await expect(office.report({ account: "x" })).rejects.toMatchObject(missing);
		await expect(office.renew({ account: "x" }, context)).rejects.toMatchObject(missing);
		await expect(
			office.transfer({ from: "patients", to: "x", epsilon: 1, delta: 0 }, context),
		).rejects.toMatchObject(missing);
	});

	it("are reported with the executions that the charges paid for", async () => {
		await asked("query-1");
		await asked("query-2");
		const report = await office.report({ account: "patients" });
		expect(budgetReport.parse(report)).toEqual(report);
		expect(report.rows).toMatchObject([
			{ job: "query-1", charges: 1, executions: 1, durationMs: 20, metrics: { error95: 3 } },
			{ job: "query-2" },
		]);
		expect(report.rows[0]?.epsilon).toBeGreaterThan(0);
		expect(report.totals).toMatchObject([{ dataset: "patients", method: "rdp-filter", delta: 1e-5 }]);
		expect((await office.report({ job: "query-2" })).rows).toHaveLength(1);
		expect((await office.report({ since: "2100-01-01T00:00:00.000Z" })).rows).toEqual([]);
	});

	it("are audited: a question that a crash cut off is waste, an execution without a charge a difference", async () => {
		await asked("query-1");
		await asked("query-2", false);
		const clean = await office.audit();
		expect(budgetAudit.parse(clean)).toEqual(clean);
		expect(clean).toMatchObject({ charges: { released: 1, wasted: 1 }, differences: [] });
		const execution = await store.mechanismExecutions.get("query-1/train");
		if (execution === undefined) throw new Error("no execution was recorded");
		await store.mechanismExecutions.put("query-3/train", { ...execution, id: "query-3/train" });
		expect((await office.audit()).differences).toMatchObject([{ code: "execution_uncharged" }]);
	});
});
