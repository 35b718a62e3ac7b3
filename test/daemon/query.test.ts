/** Questions to one organization and to a federation of whole nodes: answers near the truth, paid for, alike everywhere. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { QueryAnswer } from "../../src/queries/answer.ts";
import { type Run, runCli } from "../node/cli/cli.ts";
import { digitsSlice, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const SET = "digits-8x8";
const DELTA = "1e-6";
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({ budgets: { epsilon: 6, delta: 1e-5 } }));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

function query(node: FleetNode, ...args: string[]): Promise<Run> {
	return runCli(["--data-dir", node.directory, "--json", "query", ...args, "--data", SET]);
}

async function spent(node: FleetNode): Promise<number> {
	return (await node.call("budget.show", { dataset: SET })).budgets[0]?.epsilonSpent ?? Number.NaN;
}

/** Records of a digit among every `count`th row from `index` on. */
function trueCount(digit: string, index: number, count: number): number {
	return digitsSlice(index, count)
		.split("\n")
		.filter((line) => line.endsWith(`,${digit}`)).length;
}

/** Seven standard errors: a false alarm once in 10^11 for Gaussian noise; Laplace noise needs more. */
function expectNear(answer: QueryAnswer, truth: number, standardErrors = 7): void {
	if (answer.kind !== "count") throw new Error(`asked for a count, got ${answer.kind}`);
	expect(Math.abs(answer.count.value - truth)).toBeLessThan(standardErrors * answer.count.standardError + 1);
	expect(answer.count.standardError).toBeGreaterThan(0);
}

describe("a query of one organization", () => {
	it("is answered near the truth with pure epsilon, charged, and recorded for the analyst", {
		timeout: TEST_MS,
	}, async () => {
		const node = fleet.node(2);
		const before = await spent(node);
		const { code, stdout, stderr } = await query(node, "count", "--where", "digit=7", "--epsilon", "0.5");
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const { answer, charged, id } = JSON.parse(stdout);
		expectNear(answer, trueCount("7", 2, 3), 40);
		expect(charged).toEqual({ epsilon: 0.5, delta: 0 });
		expect(await spent(node)).toBeGreaterThan(before);
		const { budgets } = await node.call("budget.show", { dataset: SET });
		expect(budgets[0]?.charges.some(({ job }) => job === id)).toBe(true);
		expect(await spent(fleet.node(0))).toBe(0);
	});

	it("releases several answers chosen by the exponential mechanism", { timeout: TEST_MS }, async () => {
		const node = fleet.node(1);
		const file = join(node.directory, "release.yaml");
		await writeFile(
			file,
			stringify({
				epsilon: 1,
				queries: [
					{ kind: "count", answers: { least: 0, largest: 2000, step: 1 } },
					{ kind: "mode", by: { column: "digit", categories: ["0", "1"] } },
				],
			}),
		);
		const run = await runCli([
			...["--data-dir", node.directory, "--json", "query", "release", file, "--data", SET],
		]);
		expect(run.code).toBe(0);
		const { answers, charged } = JSON.parse(run.stdout);
		expect(charged).toEqual({ epsilon: 1, delta: 0 });
		// Twelve times the 95 % bound: a false alarm once in 10^15.
		expect(Math.abs(answers[0].answer - 599)).toBeLessThan(12 * answers[0].error95);
		expect(["0", "1"]).toContain(answers[1].answer);
		await writeFile(file, "epsilon: 1\nqueries:\n  - kind: median\n");
		const wrong = await runCli(["--data-dir", node.directory, "query", "release", file, "--data", SET]);
		expect(wrong.code).toBe(2);
		expect(wrong.stderr).toContain("release.yaml:3");
	});

	it("costs nothing when it cannot be asked", { timeout: TEST_MS }, async () => {
		const node = fleet.node(2);
		const before = await spent(node);
		for (const [wrong, code, what] of [
			[["sum", "--column", "nothing", "--bounds", "0,16", "--epsilon", "1"], 1, "nothing"],
			[["mean", "--column", "digit", "--bounds", "0,9", "--epsilon", "1"], 1, "classes"],
			[["histogram", "--by", "digit", "--epsilon", "1"], 2, "--by"],
			[["count", "--epsilon", "60"], 6, "budget"],
		] as const) {
			const run = await query(node, ...wrong);
			expect(run.code).toBe(code);
			expect(JSON.parse(run.stdout).detail).toContain(what);
		}
		expect(await spent(node)).toBe(before);
	});
});

describe("a query of the federation", () => {
	it("is answered near the truth, alike at every node, and charged at every node", {
		timeout: TEST_MS,
	}, async () => {
		const asker = fleet.node(0);
		const { code, stdout, stderr } = await query(
			asker,
			...["count", "--where", "digit=3", "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const { job, survivors, answer } = JSON.parse(stdout);
		expect(survivors).toBe(3);
		expectNear(answer, trueCount("3", 0, 1));
		for (const node of fleet.nodes) {
			const detail = await node.untilJob(job, ({ state }) => state === "completed");
			expect(detail.answer).toEqual(answer);
			expect(detail.technique).toBe("query");
			expect(detail.model).toBeUndefined();
			expect(await spent(node)).toBeGreaterThan(0.5);
		}
	});

	it("answers a histogram over the classes", { timeout: TEST_MS }, async () => {
		const by = "digit=0,1,2,3,4,5,6,7,8,9";
		const { code, stdout } = await query(
			fleet.node(1),
			...["histogram", "--by", by, "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(0);
		const { answer } = JSON.parse(stdout);
		for (const [digit, count] of answer.counts.entries())
			expect(Math.abs(count - trueCount(String(digit), 0, 1))).toBeLessThan(7 * answer.standardError + 1);
	});

	it("is refused before anything leaves when the budget does not allow it", {
		timeout: TEST_MS,
	}, async () => {
		const before = await spent(fleet.node(2));
		const { code, stdout } = await query(
			fleet.node(2),
			...["count", "--epsilon", "7.9", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(6);
		expect(JSON.parse(stdout)).toMatchObject({ code: "policy.query_refused" });
		expect(await spent(fleet.node(2))).toBe(before);
	});

	it("is refused with the key that is wrong", { timeout: TEST_MS }, async () => {
		const { code, stdout } = await query(
			fleet.node(0),
			...["mean", "--column", "digit", "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(2);
		expect(JSON.parse(stdout).detail).toContain("query.bounds");
	});
});
