/** Privacy budgets of real nodes: charged, refused, killed, audited. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digitsJob, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const SET = "digits-8x8";
const ROUNDS = 8;
let fleet: Fleet;

/** Three members of which one may be away. */
beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({ budgets: { epsilon: 40, delta: 1e-5 } }));
	await fleet.found({ minimumSurvivorFraction: 0.6 });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

async function submitted(rounds: number): Promise<string> {
	const { id } = await fleet.node(0).call("job.submit", { spec: digitsJob({ rounds, epsilon: 4 }) });
	return id;
}

async function expectClean(node: FleetNode): Promise<void> {
	const audit = await node.call("budget.audit", {});
	expect({ node: node.organization, ...audit }).toMatchObject({ differences: [], overdrawn: [] });
	expect(audit.charges.released).toBeGreaterThan(0);
	expect(audit.executions).toBe(audit.charges.released);
	expect(audit.charges.open).toBe(0);
}

describe("the ledgers of nodes", () => {
	it("pay for every release once, over kills in mid-round and restarts", { timeout: TEST_MS }, async () => {
		const job = await submitted(ROUNDS);
		const victim = fleet.node(2);
		await fleet.node(0).untilJob(job, ({ history }) => history.length >= 2);
		await victim.kill();
		await victim.start();
		await fleet.node(0).untilJob(job, ({ history }) => history.length >= 4);
		await fleet.node(1).kill();
		await fleet.node(1).start();
		await Promise.all(fleet.nodes.map((node) => node.untilJob(job, ({ state }) => state === "completed")));
		for (const node of fleet.nodes) await expectClean(node);
	});

	it("report what each job cost, and state it below what was promised", { timeout: TEST_MS }, async () => {
		const job = await submitted(3);
		await Promise.all(fleet.nodes.map((node) => node.untilJob(job, ({ state }) => state === "completed")));
		const node = fleet.node(0);
		const { rows, totals } = await node.call("budget.report", { job });
		expect(rows.map(({ partition }) => partition).sort()).toEqual(["heldOut", "train"]);
		for (const row of rows) {
			expect(row).toMatchObject({ dataset: SET, job, refunded: 0, executions: row.released });
			expect(row.epsilon).toBeGreaterThan(0);
			// Stated at the data set's delta, which is larger than the job's.
			expect(row.epsilon).toBeLessThanOrEqual(4);
			expect(row.durationMs).toBeGreaterThan(0);
		}
		expect(totals[0]?.epsilonPlanned ?? 99).toBeLessThan(totals[0]?.epsilonSpent ?? 0);
		const [shown] = (await node.call("budget.show", { dataset: SET })).budgets;
		expect(shown?.charges.every(({ analyst }) => analyst === node.peer)).toBe(true);
		expect(shown?.changes?.[0]).toMatchObject({ by: "node" });
	});

	it("keep a frozen account out of a job that the others finish", { timeout: TEST_MS }, async () => {
		const node = fleet.node(2);
		await node.call("budget.open", {
			account: "clinic",
			kind: "organization",
			epsilon: 40,
			delta: 1e-5,
		});
		await node.call("budget.place", { account: SET, parent: "clinic" });
		await node.call("budget.freeze", { account: "clinic", reason: "inquiry" });
		const job = await submitted(3);
		const withdrawn = await node.untilEvent("job.withdrawn", (event) => event.job === job);
		expect(withdrawn.data).toMatchObject({
			code: "budget.frozen",
			reason: expect.stringContaining("inquiry"),
		});
		await Promise.all(fleet.nodes.map((one) => one.untilJob(job, ({ state }) => state === "completed")));
		const { accounts } = await node.call("budget.tree", {});
		expect(accounts.map(({ account }) => account)).toEqual(["clinic", SET]);
		expect(accounts[0]?.epsilonSpent).toBeGreaterThan(0);
		await expectClean(node);
	});
});
