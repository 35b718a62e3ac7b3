import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../../node/cli/exitCodes.ts";
import { type Harness, startHarness } from "../rpc/harness.ts";
import { runCli } from "./cli.ts";

let harness: Harness;
beforeAll(async () => {
	harness = await startHarness();
});
afterAll(() => harness.stop());
const here = (...args: string[]) => runCli(["budget", ...args, "--data-dir", harness.directory]);
const lastCall = () => harness.fakes.calls.at(-1);

describe("althing budget", () => {
	it("shows accounts as a tree, with what holds them up", async () => {
		const { code, stdout } = await here("tree");
		expect(code).toBe(exitCodes.ok);
		expect(stdout).toMatch(/^ACCOUNT +KIND +EPSILON/);
		expect(stdout).toMatch(/\nclinic +organization +8 /);
		expect(stdout).toMatch(/\n {2}digits +dataset .*frozen: inquiry/);
	});

	it("shows one account with how its figure is proven and its charges", async () => {
		const { stdout } = await here("show", "digits");
		expect(stdout).toContain("Spent epsilon 1.5 by rdp-filter");
		expect(stdout).toMatch(/job-0001 +1 +sampled gaussian +train +released +1.5/);
	});

	it("opens an account with everything that can be said of it", async () => {
		const opened = await here(
			...["open", "clinic", "--kind", "organization", "--parent", "share", "--epsilon", "8"],
			...["--delta", "1e-6", "--disjoint", "--expires", "2027-01-01", "--renew-every", "365"],
		);
		expect(opened.code).toBe(exitCodes.ok);
		expect(lastCall()).toMatchObject({
			method: "budget.open",
			params: {
				account: "clinic",
				kind: "organization",
				parent: "share",
				epsilon: 8,
				delta: 1e-6,
				composition: "adaptive",
				children: "disjoint",
				expiresAt: "2027-01-01T00:00:00.000Z",
				renewEveryDays: 365,
			},
			context: { caller: { role: "admin" } },
		});
	});

	it.each([
		[["place", "digits", "clinic"], { account: "digits", parent: "clinic" }],
		[
			["delegate", "digits", "--epsilon", "2", "--delta", "1e-7"],
			{ account: "digits", epsilon: 2, delta: 1e-7 },
		],
		[
			["transfer", "digits", "others", "--epsilon", "1"],
			{ from: "digits", to: "others", epsilon: 1, delta: 0 },
		],
		[["freeze", "digits", "--reason", "inquiry"], { account: "digits", reason: "inquiry" }],
		[["unfreeze", "digits"], { account: "digits" }],
		[
			["expire", "digits", "--at", "2027-01-01"],
			{ account: "digits", expiresAt: "2027-01-01T00:00:00.000Z" },
		],
		[["renew", "digits"], { account: "digits" }],
		[
			["limit", "digits", "--analyst", "ann", "--epsilon", "1"],
			{ account: "digits", analyst: "ann", epsilon: 1 },
		],
		[["limit", "digits", "--analyst", "ann"], { account: "digits", analyst: "ann" }],
	] as [string[], object][])("%j asks for exactly that", async (args, params) => {
		const { code, stderr } = await here(...args);
		expect([code, stderr]).toEqual([exitCodes.ok, ""]);
		expect(lastCall()).toMatchObject({ method: `budget.${args[0]}`, params });
	});

	it("reports rows as a table, as JSON and as CSV that no spreadsheet runs", async () => {
		const { stdout } = await here("report", "--account", "digits", "--since", "2026-01-01");
		expect(lastCall()).toMatchObject({ params: { account: "digits", since: "2026-01-01T00:00:00.000Z" } });
		expect(stdout).toMatch(/digits +job-0001 +sampled gaussian +train +3 +2 +1 +1.25/);
		expect(stdout).toContain("1.5 by rdp-filter in this period, 1.25 if all was fixed in advance");
		const csv = await here("report", "--csv");
		expect(csv.stdout.split("\r\n")).toEqual([
			expect.stringMatching(/^dataset,job,mechanism,partition,charges,/),
			expect.stringMatching(/^digits,job-0001,sampled gaussian,train,3,2,0,1,1.25,0.000001,pld,2,1500,/),
		]);
		expect(JSON.parse((await here("report", "--json")).stdout)).toMatchObject({ rows: [{ charges: 3 }] });
	});

	it("audits: exit code 0 when all agrees, 1 with every difference named", async () => {
		const clean = await here("audit");
		expect([clean.code, clean.stdout]).toEqual([
			exitCodes.ok,
			expect.stringContaining("What was charged is what was executed."),
		]);
		const message = "Round 3 of job j released a sum, and no final charge pays for it.";
		const { budgetAudit } = harness.fakes;
		harness.fakes.budgetAudit = { ...budgetAudit, differences: [{ code: "uncharged_release", message }] };
		const dirty = await here("audit");
		expect(dirty.code).toBe(exitCodes.failed);
		expect(dirty.stdout).toContain(`uncharged_release: ${message}`);
		harness.fakes.budgetAudit = budgetAudit;
	});

	it.each([
		["no limits", ["open", "x", "--kind", "unit"], exitCodes.usage],
		[
			"an unknown kind",
			["open", "x", "--kind", "king", "--epsilon", "1", "--delta", "1e-6"],
			exitCodes.usage,
		],
		["a delta of 1", ["set", "digits", "--epsilon", "1", "--delta", "1"], exitCodes.usage],
		["no time", ["expire", "digits", "--at", "soon"], exitCodes.usage],
		["an unknown account", ["renew", "none"], exitCodes.notFound],
	] as [string, string[], number][])("refuses %s", async (_, args, code) => {
		expect((await here(...args)).code).toBe(code);
	});
});
